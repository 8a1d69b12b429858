"""Draws the pictures of the README from the demo study: planted regions found from BOLD and by coupling, the widgets.

``python tests/pictures/pictures.py`` after ``make demo``.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import multimap_kernel as mm

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import CHROMIUM, FLAGS
from laboratory import run_all, started

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PICTURE = Path(__file__).with_name("demo.png")
SHOWN = ("activation-flicker-bold", "activation-tapping-bold", "coupling-alpha")


def main() -> None:
    store = mm.Store(mm.Runtime().store, "demo")
    draw_maps(store)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for theme in ("Light", "Dark"):
            page = browser.new_page(viewport={"width": 1400, "height": 1500})
            draw_alignment(page, store, theme)
            page.close()
        browser.close()


def draw_maps(store: mm.Store) -> None:
    """Three maps of the first session."""
    label = next(session for session, _ in mm.sessions_of(store))
    tree = mm.open_session(store.root, store.study, label)
    maps = [tree[f"map/{kind}"].to_dataset() for kind in ("activation", "coupling")]
    anatomy = mm.background(maps[0], tree["realign"].to_dataset())
    layers = mm.map_layers(maps, anatomy=anatomy)
    kept = [layer for layer in layers if layer.kind == "grey" or layer.name in SHOWN]
    PICTURE.write_bytes(mm.figure_png(mm.map_figure(kept)))
    print(f"{PICTURE} shows {label}: {', '.join(layer.title for layer in kept if layer.kind == 'heat')}")


def draw_alignment(page, store: mm.Store, theme: str) -> None:
    """The alignment widget as it is in JupyterLab, with a shift that is not saved."""
    picture = PICTURE.with_name(f"alignment_{theme.lower()}.png")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "notebooks").mkdir()
        shutil.copy(NOTEBOOKS / "align_qc.ipynb", folder / "notebooks")
        with started(folder, folder / "notebooks", Path(store.root), theme=theme) as address:
            run_all(page, address.format("align_qc.ipynb"))
            widget = page.locator(".multimap-alignment")
            widget.scroll_into_view_if_needed()
            widget.focus()
            for key in ("Home", *["ArrowRight"] * 4, "ArrowDown", "s"):
                page.keyboard.press(key)
            page.keyboard.type("0.2")
            page.wait_for_function("() => document.querySelector('.mm-effect').textContent.includes('→')")
            page.wait_for_function("() => !document.querySelector('.multimap-alignment').dataset.waiting")
            page.wait_for_timeout(300)
            widget.screenshot(path=picture)
    print(f"{picture} shows the alignment widget, {theme.lower()} theme")


if __name__ == "__main__":
    main()
