"""explore.ipynb in a real JupyterLab, run from its menu, seen in a real browser."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from laboratory import run_all, started
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.line]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the notebooks; gives the address of explore."""
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    with started(tmp_path, tmp_path / "notebooks", tmp_path / "store") as address:
        yield address.format("explore.ipynb")


def test_explore__runs_in_lab_and_shows_its_pictures(lab, chromium, tmp_path):
    page = chromium.new_page(viewport={"width": 1500, "height": 1050})
    run_all(page, lab)
    assert page.locator(".jp-Notebook iframe").count() == 1  # the viewer, beside its picture
    pictures = page.locator(".jp-Notebook .jp-RenderedImage img")
    assert pictures.count() == 5  # EEG, volumes, clocks, cleaning, map
    for number in range(pictures.count()):
        picture = pictures.nth(number)
        picture.scroll_into_view_if_needed()
        pixels = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L"), float)
        assert pixels.shape[0] > 100
        assert pixels.std() > 10, f"picture {number} is blank"
    page.screenshot(path=tmp_path / "lab.png")
    page.close()
