"""The report of a session: one HTML file that opens anywhere, without network and without scripts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from multimap_kernel.view.figures import figure_png

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Parameters
    ----------
    title
        Heading.
    text
        What the reader should know, in a sentence or two.
    table
        Rows of a name and a value.
    figure
        Picture, stored inside the file.
    """

    title: str
    text: str = ""
    table: tuple[tuple[str, str], ...] = ()
    figure: Figure | None = None

    @cached_property
    def png(self) -> bytes:
        """The figure, rendered once for the page and for a file of its own; empty without one."""
        return b"" if self.figure is None else figure_png(self.figure)


def report_html(
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, str | Mapping[str, str]],
    *,
    left_out: Sequence[str] = (),
) -> str:
    """Write a report as one self-contained HTML page.

    Parameters
    ----------
    title
        Heading of the page.
    sections
        Parts in the order of reading.
    provenance
        Name to text (a recipe as YAML) or to a table (versions, keys of the steps); shown folded at the end.
    left_out
        What this report does not show and why, said at the top.

    Returns
    -------
    HTML with pictures and style inside. Its own content policy forbids every request.
    """
    return _TEMPLATES.get_template("report.html").render(
        title=title, sections=sections, provenance=provenance, left_out=left_out
    )


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_TEMPLATES.filters["picture"] = _picture
