"""A notebook that a batch executed, opened in JupyterLab: its pictures are there, also before anybody trusts it."""

import io

import nbformat
import numpy as np
import pytest
from faulty import write_notebook
from laboratory import started
from nbformat.sign import NotebookNotary
from PIL import Image

from multimap_kernel.batch.runner import Row, run_batch

pytestmark = pytest.mark.browser

PICTURE = """
import matplotlib.pyplot as plt

plt.imshow([[0, 1], [1, 0]]);
"""
TRUSTED = """() => window.jupyterapp.shell.currentWidget.content.widgets.every(
  (cell) => cell.model.type !== "code" || cell.model.trusted)"""


def test_executed_notebook__keeps_its_pictures_in_lab_trusted_or_not(chromium, tmp_path):
    path = write_notebook(tmp_path / "picture.ipynb", PICTURE, parameters='study = ""\nsession = ""', kernel="python3")
    row = Row("sub-01_task-rest", {"study": "demo", "session": "sub-01_task-rest"})
    (record,) = run_batch(path, [row], runs=tmp_path / "runs")
    executed = nbformat.read(f"{record.folder}/notebook.ipynb", as_version=4)
    for folder in ("notebooks", "data"):
        (tmp_path / folder).mkdir()
    for name in ("untrusted", "trusted"):
        executed.metadata["title"] = name  # a signature is of the content
        nbformat.write(executed, tmp_path / "notebooks" / f"{name}.ipynb")
    NotebookNotary(data_dir=str(tmp_path / "data")).sign(executed)
    page = chromium.new_page(viewport={"width": 1500, "height": 1050})
    with started(tmp_path, tmp_path / "notebooks", tmp_path / "store") as lab:
        for name in ("untrusted", "trusted"):
            page.goto(lab.format(f"{name}.ipynb") + "&reset")  # Lab would open the one before it again, and first
            page.wait_for_selector(".jp-Notebook .jp-RenderedImage img", timeout=90_000)
            assert page.evaluate(TRUSTED) == (name == "trusted")
            picture = page.locator(".jp-Notebook .jp-RenderedImage img")
            assert picture.count() == 1
            picture.scroll_into_view_if_needed()
            pixels = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L"), float)
            assert pixels.std() > 10, f"the picture is blank in an {name} notebook"
            assert page.get_by_text("multimap show --study demo --session sub-01_task-rest").is_visible()
    page.close()
