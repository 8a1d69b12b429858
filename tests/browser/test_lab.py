"""Notebooks in a real JupyterLab, run from its menu, seen in a real browser; the viewer under any prefix."""

import io
import shutil
from pathlib import Path

import nbformat
import numpy as np
import planted
import pytest
from laboratory import THEME, run_all, started
from pages import READY
from PIL import Image

pytestmark = pytest.mark.browser

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHOW = """
import planted
import multimap_kernel as mm

maps = planted.activation("oblique")
picked = mm.PickedTime(time=3.0)
shown = mm.show(maps, anatomy=planted.anatomy(), series=planted.series(), volumes=planted.volumes(), picked=picked)
shown
"""
QUICK = """
mm.show(maps, anatomy=planted.anatomy(), backend="niivue")
"""


def _pixels(shot: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), int)


def _warm(image: np.ndarray) -> int:
    red, green, blue = np.moveaxis(image, -1, 0)
    return int(((red > 150) & (green > 40) & (red - blue > 60)).sum())


def _drawn(place, path: Path, seen) -> np.ndarray:
    """The pixels of a part of the page as soon as the blob is seen there: a slow machine draws later, not less."""
    for _ in range(120):
        image = _pixels(place.screenshot(path=path))
        if seen(image):
            return image
        place.page.wait_for_timeout(500)
    raise AssertionError(f"the blob must be seen in {path} within a minute")


def _viewer(page):
    """The frame of the viewer's page, ready."""
    page.wait_for_selector(".jp-Notebook iframe", timeout=30_000)
    page.locator(".jp-Notebook iframe").first.scroll_into_view_if_needed()
    for _ in range(200):
        frame = next((one for one in page.frames if "/multimap/" in one.url), None)
        if frame:
            frame.wait_for_function(READY, timeout=60_000)
            return frame
        page.wait_for_timeout(100)
    raise AssertionError("the viewer must be framed in the notebook")


def _pictures(page) -> list[np.ndarray]:
    """The pixels of each picture of a notebook; none is blank."""
    shown, found = page.locator(".jp-Notebook .jp-RenderedImage img"), []
    for number in range(shown.count()):
        shown.nth(number).scroll_into_view_if_needed()
        found.append(_pixels(shown.nth(number).screenshot()))
        assert found[-1].shape[0] > 100
        assert found[-1].std() > 10, f"picture {number} is blank"
    return found


@pytest.mark.line
def test_explore__runs_in_lab_and_shows_its_pictures(chromium, tmp_path):
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    page = chromium.new_page(viewport={"width": 1500, "height": 1050})
    with started(tmp_path, tmp_path / "notebooks", tmp_path / "store") as address:
        run_all(page, address.format("explore.ipynb"))
        assert "/some/prefix/proxy/" in _viewer(page).url
        assert len(_pictures(page)) == 5  # EEG, volumes, clocks, cleaning, map
        page.screenshot(path=tmp_path / "lab.png")
    page.close()


@pytest.fixture(scope="module")
def planted_notebook(tmp_path_factory) -> Path:
    """A folder with one notebook that shows planted maps, in the viewer and with NiiVue."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in (SHOW, QUICK)])
    notebook.metadata.kernelspec = {"name": "multimap", "display_name": "multimap", "language": "python"}
    folder = tmp_path_factory.mktemp("notebooks")
    nbformat.write(notebook, folder / "planted.ipynb")
    shutil.copy(planted.__file__, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "pictures", "maps"),  # how many, and which of them are maps with a blob
    [("maps", 5, [0]), ("train", 1, []), ("session_report", 6, [3]), ("group_report", 3, [1])],
)
def test_notebook__runs_whole_from_its_menu_and_shows_its_pictures(chromium, tmp_path, name, pictures, maps):
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    page = chromium.new_page(viewport={"width": 1500, "height": 1050})
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
    with started(tmp_path, tmp_path / "notebooks", tmp_path / "store") as address:  # nothing is there: each simulates
        run_all(page, address.format(f"{name}.ipynb"))
        if name.endswith("report"):
            _viewer(page)
        found = _pictures(page)
        page.screenshot(path=tmp_path / "lab.png")
        page.close()  # before its server goes, for which Lab would look
    assert len(found) == pictures
    assert [_warm(found[number]) > 100 for number in maps] == [True] * len(maps)
    assert noise == []


@pytest.mark.parametrize(  # explore.ipynb above runs under a base_url
    ("prefix", "environment"),
    [
        ("/", {}),
        ("/user/alice/", {"JUPYTERHUB_SERVICE_PREFIX": "/user/alice/"}),  # what a Hub's own server gives its kernels
    ],
    ids=["plain", "hub"],
)
def test_viewer__shows_the_planted_blob_under_any_prefix(chromium, planted_notebook, tmp_path, prefix, environment):
    page = chromium.new_page(viewport={"width": 1500, "height": 1250})
    noise, refused = [], []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on(
        "response", lambda answer: refused.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    with started(tmp_path, planted_notebook, tmp_path / "store", prefix=prefix, environment=environment) as address:
        run_all(page, address.format("planted.ipynb"))
        # before the themes: NiiVue turns black when the theme is changed while its cell is out of view
        quick = page.locator(".jp-Notebook canvas").last
        quick.scroll_into_view_if_needed()
        image = _drawn(quick, tmp_path / "niivue.png", lambda image: _warm(image[:360]) > 100)
        assert _warm(image[:360]) < 0.03 * image[:360, :, 0].size, "only the blob must be seen in NiiVue"
        base, token = address.split("lab/tree/{}?token=")
        frame = _viewer(page)
        assert frame.url.startswith(f"{base}proxy/")
        shown = page.locator(".jp-Notebook iframe").first
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.evaluate(THEME, theme)
            wanted = theme.rpartition(" ")[2].lower()
            frame.wait_for_function("(name) => document.documentElement.dataset.theme === name", arg=wanted)
            _drawn(
                shown,
                tmp_path / f"viewer-{wanted}.png",
                lambda image, dark=wanted == "dark": (
                    _warm(image[200:560]) > 100 and (image[2:8, :300].mean() < 80) == dark
                ),
            )
        assert frame.text_content("figcaption").startswith("Voxel at −4")
        assert frame.inner_text("#time") == "volume 1 of 20 · 3.00 s"
        away = page.request.get(f"{base}proxy/192.0.2.1:80/", headers={"Authorization": f"token {token}"})
        assert away.status == 403, "the proxy must lead to loopback only"
        stranger = chromium.new_context().request.get(frame.url)
        assert (stranger.status, "/login" in stranger.url) == (200, True)
    page.close()
    assert noise == []
    # 412: kernel and browser changed the state at once; the client then takes the kernel's
    assert [one for one in refused if not one.startswith("412 ")] == []
