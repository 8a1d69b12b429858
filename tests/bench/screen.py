"""How long a person waits for the screen, in a real Chromium on software WebGL: a row for each wait, median of 20.

``python tests/bench/screen.py``; on a quiet machine, because these are wall-clock times. The click is the start of
`serve` and of the page; the heatmap is visible when its pixels are.
"""

import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

import planted
from conftest import CHROMIUM, FLAGS
from pages import READY

from multimap_kernel.io.templates import load_template
from multimap_kernel.schema import affine_coordinate, affine_matrix
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.serving import serve

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
LIMIT_S = 6.0


def at_2mm():
    """One map on the template's 2 mm grid, over the template."""
    anatomy = load_template(2.0)
    affine = affine_matrix(anatomy)
    planted.GRIDS["template"] = (affine, anatomy["anatomy"].shape[::-1])
    maps = planted.activation("template").sel(condition=["hand"], modality=["BOLD"])
    return map_layers(maps.assign_coords(affine=affine_coordinate(affine)), anatomy=anatomy.drop_vars("mask"))


def heatmap_visible(browser: Browser, layers) -> float:
    """Seconds from the click to the map's colours on the screen, in a browser without a cache."""
    context = browser.new_context(viewport={"width": 1400, "height": 640})
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(serve(layers).url)
    page.wait_for_function(READY, timeout=60_000)
    while True:
        image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), int)[140:]
        red, green, blue = np.moveaxis(image, -1, 0)
        if ((red > 150) & (green > 40) & (red - blue > 60)).sum() > 100:
            break
    took = time.perf_counter() - begun
    context.close()
    return took


def main() -> int:
    layers = at_2mm()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        took = [heatmap_visible(browser, layers) for _ in range(RUNS)]
        browser.close()
    print("| what | median s | slowest s | runs | limit s |\n|---|---|---|---|---|")
    print(f"| heatmap at 2 mm visible | {statistics.median(took):.1f} | {max(took):.1f} | {RUNS} | {LIMIT_S:g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
