"""An executed notebook as one HTML file that needs no network."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from nbconvert import HTMLExporter

# The template "lab" loads RequireJS, MathJax, Mermaid and widget code from content networks. A report must open on a
# machine without network, so these blocks are left empty; formulas are shown as they were written.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""
QUIET = logging.getLogger(f"{__name__}.nbconvert")
QUIET.setLevel(logging.ERROR)  # its warnings about a notebook's pictures would run through the table of progress


def write_page(notebook: Path) -> Path:
    """Write a notebook as HTML beside it, pictures inside.

    Parameters
    ----------
    notebook
        An executed notebook.

    Returns
    -------
    Path of the HTML file.
    """
    body, _ = HTMLExporter(raw_template=TEMPLATE, embed_images=True, log=QUIET).from_file(
        io.StringIO(notebook.read_text(encoding="utf-8"))
    )
    page = notebook.with_suffix(".html")
    page.write_text(body, encoding="utf-8")
    return page
