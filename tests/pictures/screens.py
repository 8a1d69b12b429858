"""Screenshots of the viewer on the demo study, in both themes.

``python tests/pictures/screens.py`` after ``make demo``; needs Chromium.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import multimap_kernel as mm
from multimap_kernel.view.serving import serve
from multimap_kernel.view.volumes import make_volumes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conftest import CHROMIUM, FLAGS  # noqa: E402
from pages import READY  # noqa: E402

STUDY = "demo"


def viewer(browser: Browser) -> None:
    """The viewer at the peak of the first map that passes, with the course of its voxel."""
    store = mm.Store(mm.Runtime().store, STUDY)
    label, recipe = next(mm.sessions_of(store))
    tree = mm.open_session(store.root, STUDY, label, recipe)
    maps = [tree[f"map/{kind}"].to_dataset() for kind in ("activation", "coupling")]
    layers = mm.map_layers(maps, anatomy=mm.background(maps[0], tree["realign"].to_dataset()))
    series = tree["features"].to_dataset().assign(prediction=tree["fuse"]["prediction"])
    served = serve(layers, series=series, volumes=make_volumes(tree["normalise"].to_dataset()))
    for theme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1400, "height": 800}, color_scheme=theme)
        page.goto(served.url)
        page.wait_for_function(READY, timeout=120_000)
        page.wait_for_selector("figure .measured", timeout=60_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=HERE / f"viewer-{theme}.png")
        page.close()


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        viewer(browser)
        browser.close()
    print(f"screenshots are in {HERE}")


if __name__ == "__main__":
    main()
