"""Draws the picture of the README from the demo study: planted regions, found from BOLD and by coupling.

``python tests/pictures/pictures.py`` after ``make demo``.
"""

from pathlib import Path

import multimap_kernel as mm
from multimap_kernel.pipeline import open_maps

PICTURE = Path(__file__).with_name("demo.png")
SHOWN = ("activation-flicker-bold", "activation-tapping-bold", "coupling-alpha")


def main() -> None:
    """Three maps of the first session."""
    opened = open_maps(mm.Store(mm.Runtime().store, "demo"), "", "default")
    layers = mm.map_layers(opened.maps, anatomy=opened.anatomy)
    kept = [layer for layer in layers if layer.kind == "grey" or layer.name in SHOWN]
    PICTURE.write_bytes(mm.figure_png(mm.map_figure(kept)))
    print(f"{PICTURE} shows {opened.label}: {', '.join(layer.title for layer in kept if layer.kind == 'heat')}")


if __name__ == "__main__":
    main()
