"""Screenshots of the viewer and the widgets on the demo study, in both themes.

``python tests/pictures/screens.py`` after ``make demo``; needs Chromium.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

import multimap_kernel as mm
from multimap_kernel.pipeline import open_maps
from multimap_kernel.view.serving import serve
from multimap_kernel.view.volumes import make_volumes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conftest import CHROMIUM, FLAGS  # noqa: E402
from faulty import damage  # noqa: E402
from laboratory import THEME, run_all, started  # noqa: E402
from pages import READY  # noqa: E402

ALIGNMENT = HERE.parents[1] / "notebooks" / "align_qc.ipynb"
BIDS, STUDY, RECIPE = "demo/bids", "demo", "notebooks/demo.yaml"
TRAIN = f"""
import multimap_kernel as mm

recipe = mm.Recipe.load({str(Path(RECIPE).resolve())!r})
mm.watch_training({str(Path(BIDS).resolve())!r}, study={STUDY!r}, recipe=recipe)
"""
LEARNING_MS = 1_200_000
BROWSE = """
import multimap_kernel as mm

browser = mm.browse_sessions({bids!r}, study={study!r}, recipe=mm.Recipe.load({recipe!r}))
browser
"""
START = "browser.start('sub-04_task-flicker')"
FAILED = ".multimap-sessions td.mm-failed"


def viewer(browser: Browser) -> None:
    """The viewer at the peak of the first map that passes, with the course of its voxel."""
    opened = open_maps(mm.Store(mm.Runtime().store, STUDY), "", "default")
    layers = mm.map_layers(opened.maps, anatomy=opened.anatomy)
    series = opened.tree["features"].to_dataset().assign(prediction=opened.tree["fuse"]["prediction"])
    volumes = make_volumes(opened.tree["normalise"].to_dataset())
    served = serve(layers, series=series, volumes=volumes)
    for theme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1400, "height": 800}, color_scheme=theme)
        page.goto(served.url)
        page.wait_for_function(READY, timeout=120_000)
        page.wait_for_selector("figure .measured", timeout=60_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=HERE / f"viewer_{theme}.png")
        page.close()


@contextmanager
def in_lab(browser: Browser, cell: str, widget: str, theme: str) -> Iterator[Locator]:
    """A widget in JupyterLab, as a cell gives it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip())])
    notebook.metadata.kernelspec = {"name": "multimap", "display_name": "multimap", "language": "python"}
    with tempfile.TemporaryDirectory() as folder:
        notebooks = Path(folder, "notebooks")
        notebooks.mkdir()
        nbformat.write(notebook, notebooks / "shown.ipynb")
        with started(Path(folder), notebooks, Path(mm.Runtime().store), theme=theme) as address:
            page = browser.new_page(viewport={"width": 1500, "height": 1400})
            run_all(page, address.format("shown.ipynb"))
            shown = page.locator(widget).first
            shown.wait_for(timeout=60_000)
            yield shown
            page.close()


def training(browser: Browser) -> None:
    """The training widget at a run that is done: made for the first picture, found again for the second."""
    for theme in ("Light", "Dark"):
        with in_lab(browser, TRAIN, ".multimap-training", theme) as widget:
            if not widget.get_attribute("data-run"):
                widget.locator("select[name=kind]").select_option("run")
                widget.locator("input[name=folds]").fill("2")
                widget.locator("[data-act=start]").click()
            widget.page.locator('.multimap-training[data-state="done"]').wait_for(timeout=LEARNING_MS)
            widget.focus()
            widget.press("ArrowRight")
            widget.page.wait_for_timeout(700)
            widget.screenshot(path=HERE / f"training_{theme.lower()}.png")


def alignment_and_sessions(browser: Browser) -> None:
    """In JupyterLab the alignment with a shift that is not saved, the sessions as they are."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bids = mixed_study(folder)
        text = BROWSE.format(bids=str(bids), study=STUDY, recipe=str(Path(RECIPE).resolve())).strip()
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (text, START)])
        notebook.metadata.kernelspec = {"name": "multimap", "display_name": "multimap", "language": "python"}
        (folder / "notebooks").mkdir()
        shutil.copy(ALIGNMENT, folder / "notebooks")
        nbformat.write(notebook, folder / "notebooks" / "sessions.ipynb")
        with started(folder, folder / "notebooks", folder / "store") as address:
            page = browser.new_page(viewport={"width": 1400, "height": 1500})
            run_all(page, address.format(ALIGNMENT.name))
            foresee_a_shift(page)
            in_both_themes(page, "alignment")
            page.set_viewport_size({"width": 1800, "height": 700})
            run_all(page, address.format("sessions.ipynb") + "&reset")
            page.wait_for_selector(FAILED, timeout=180_000)
            in_both_themes(page, "sessions")
            page.close()


def mixed_study(folder: Path) -> Path:
    """A copy of the demo study, and what happens in others: corrected, excluded, no markers, not run yet."""
    shutil.copytree(mm.Runtime().store, folder / "store")
    shutil.copytree(BIDS, folder / "bids")
    for subject in ("03", "04", "05"):
        mm.simulate_session(folder / "bids", subject=subject, artifacts=False)
    damage(folder / "bids" / "sub-04", "no markers")
    store = mm.Store(str(folder / "store"), STUDY)
    mm.decide(store, "sub-02_task-flicker", "bad_channel", value="Fp2", reason="gel bridge")
    mm.decide(store, "sub-03_task-flicker", "exclude", reason="fell asleep in the second half")
    return folder / "bids"


def foresee_a_shift(page: Page) -> None:
    """Volumes 4 and later in view, another channel chosen, and what 0.2 ms would do to the residual."""
    page.locator(".multimap-alignment").focus()
    for key in ("Home", *["ArrowRight"] * 4, "ArrowDown", "s"):
        page.keyboard.press(key)
    page.keyboard.type("0.2")
    page.wait_for_function("() => document.querySelector('.mm-effect').textContent.includes('→')")
    page.wait_for_function("() => !document.querySelector('.multimap-alignment').dataset.waiting")


def in_both_themes(page: Page, name: str) -> None:
    for theme in ("light", "dark"):
        page.evaluate(THEME, f"JupyterLab {theme.title()}")
        page.wait_for_timeout(700)
        page.locator(f".multimap-{name}").first.screenshot(path=HERE / f"{name}_{theme}.png")


def shrink(picture: Path) -> None:
    """256 colours, near enough to be the same to the eye: a third of the size."""
    colours = Image.open(picture).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colours.save(picture, optimize=True)


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        viewer(browser)
        alignment_and_sessions(browser)
        training(browser)
        browser.close()
    for picture in HERE.glob("*.png"):
        shrink(picture)
    print(f"screenshots are in {HERE}")


if __name__ == "__main__":
    main()
