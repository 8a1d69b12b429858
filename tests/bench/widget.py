"""How long a person waits for the alignment widget in JupyterLab, in Chromium: a row for each wait, median of 20.

``python tests/bench/widget.py``; on a quiet machine, because these are wall-clock times. The session has 64 channels
for ten minutes at 5 kHz, with the pyramids that ingest and cleaning leave. The first drawing counts from running the
cell in a kernel that has imported everything, a zoom from the key to the new window on the canvas.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import xarray as xr
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import CHROMIUM, FLAGS
from laboratory import run_all, started

from multimap_kernel.align import estimate_alignment
from multimap_kernel.io.pyramid import add_overview
from multimap_kernel.io.store import Product, Store, canonical, replace
from multimap_kernel.schema import regular_time, volume_coordinates

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
FIRST_LIMIT_S, ZOOM_LIMIT_S = 3.0, 0.1
CHANNELS, SECONDS, RATE, REPETITION_TIME, CLEAN_RATE = 64, 600, 5_000.0, 2.0, 250
AGAIN = """() => {
  document.querySelector(".multimap-alignment").dataset.old = "yes";
  const { commands, shell } = window.jupyterapp;
  shell.currentWidget.content.activeCellIndex = 1;
  commands.execute("notebook:run-cell");
}"""
DRAWN = "() => Number(document.querySelector('.multimap-alignment:not([data-old])')?.dataset.drawn) > 0"
ZOOM = """(key) => new Promise((done) => {
  const root = document.querySelector(".multimap-alignment");
  const { answered } = root.dataset;
  const begun = performance.now();
  new MutationObserver((_, watch) => {
    if (root.dataset.answered === answered) return; // it changes when the new window is painted
    watch.disconnect();
    done((performance.now() - begun) / 1e3);
  }).observe(root, { attributes: true });
  root.dispatchEvent(new KeyboardEvent("keydown", { key }));
})"""


def recordings() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Raw EEG with its markers, clean EEG, and as many volumes; noise, because only its amount counts."""
    rng = np.random.default_rng(0)
    volumes = int(SECONDS / REPETITION_TIME) - 2
    named = {"channel": [f"E{row}" for row in range(CHANNELS)]}
    kinds = ("channel", ["eeg"] * CHANNELS)
    counts = rng.integers(-3000, 3000, (CHANNELS, int(SECONDS * RATE)), np.int16)
    raw = xr.Dataset(
        {
            "count": (("channel", "time"), counts, {"units": "1"}),
            "scale": ("channel", np.full(CHANNELS, 5e-7)),
            "offset": ("channel", np.zeros(CHANNELS)),
            "channel_type": kinds,
            "marker_onset": ("marker", 1.0 + REPETITION_TIME * np.arange(volumes)),
            "marker_label": ("marker", ["R128"] * volumes),
        },
        coords=named,
        attrs={"clock": "eeg"},
    )
    volts = rng.normal(0, 2e-5, (CHANNELS, SECONDS * CLEAN_RATE)).astype("f4")
    clean = xr.Dataset(
        {"eeg": (("channel", "time"), volts), "channel_type": kinds}, coords=named, attrs={"clock": "scanner"}
    )
    bold = xr.Dataset({"bold": (("time", "z", "y", "x"), np.zeros((volumes, 2, 2, 2), "i2"))})
    return (
        raw.assign_coords(regular_time(0.0, RATE, counts.shape[1])),
        clean.assign_coords(regular_time(-1.0, CLEAN_RATE, volts.shape[1])),
        bold.assign_coords(volume_coordinates(volumes, REPETITION_TIME)).assign_attrs(repetition_time=REPETITION_TIME),
    )


def make_study(root: str) -> None:
    """What the line leaves of a session in the store, without running it."""
    raw, clean, bold = recordings()
    rng = np.random.default_rng(1)
    volumes = bold.sizes["time"]
    moved = xr.Dataset({name: ("time", rng.random(volumes)) for name in ("framewise_displacement", "dvars")})
    series = xr.Dataset({"series": (("time", "voxel"), rng.normal(100, 1, (volumes, 40_000)).astype("f4"))})
    products = {
        "ingest": Product({"bold": bold, "eeg": add_overview(raw)}),
        "align": Product({}, {"alignment": estimate_alignment(raw, bold).to_json()}),
        "clean_eeg": Product({"": add_overview(clean)}),
        "normalise": Product({"confounds": moved}),
        "features": Product({"": series.assign_coords(bold.coords)}),
    }
    store, steps = Store(root, "bench"), {}
    for name, product in products.items():
        place = f"sub-01/task-rest/{name}"
        store.write(place, "key", product, {"step": name, "decisions": [], "created": ""})
        steps[name] = {"place": place, "key": "key"}
    replace(store.url("sub-01/task-rest/current/default.json"), canonical({"recipe": {}, "steps": steps}))


def first_drawing(page: Page) -> float:
    """Seconds from running the cell again to the widget's drawing."""
    begun = time.perf_counter()
    page.evaluate(AGAIN)
    page.wait_for_function(DRAWN, timeout=60_000)
    return time.perf_counter() - begun


def measure(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of each first drawing and of each zoom, in and out between seconds and minutes."""
    root = str(folder / "store")
    make_study(root)
    cells = ["import multimap_kernel as mm", f'mm.review_alignment({root!r}, "bench")']
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "multimap", "display_name": "multimap", "language": "python"}
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "bench.ipynb")
    with sync_playwright() as playwright, started(folder, folder / "notebooks", folder / "store") as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1500, "height": 1400})
        run_all(page, address.format("bench.ipynb"))
        page.wait_for_function(DRAWN, timeout=60_000)
        first = [first_drawing(page) for _ in range(RUNS)]
        zooms = [page.evaluate(ZOOM, "-" if number % 10 < 5 else "+") for number in range(RUNS)]
        browser.close()
    return first, zooms


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        first, zooms = measure(Path(folder))
    print("| what | median s | slowest s | runs | limit s |\n|---|---|---|---|---|")
    what = f"{CHANNELS} channels x {RATE / 1e3:g} kHz x {SECONDS} s"
    for name, took, limit in ((f"{what} first drawn", first, FIRST_LIMIT_S), (f"{what} zoomed", zooms, ZOOM_LIMIT_S)):
        print(f"| {name} | {statistics.median(took):.3f} | {max(took):.3f} | {len(took)} | {limit:g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
