"""Draws the picture of the README from the demo study: planted regions, found from BOLD and by coupling.

``python tests/pictures/pictures.py`` after ``make demo``.
"""

from pathlib import Path

import multimap_kernel as mm

PICTURE = Path(__file__).with_name("demo.png")
SHOWN = ("activation-flicker-bold", "activation-tapping-bold", "coupling-alpha")


def main() -> None:
    """Three maps of the first session."""
    store = mm.Store(mm.Runtime().store, "demo")
    label = next(session for session, _ in mm.sessions_of(store))
    tree = mm.open_session(store.root, store.study, label)
    maps = [tree[f"map/{kind}"].to_dataset() for kind in ("activation", "coupling")]
    anatomy = mm.background(maps[0], tree["realign"].to_dataset())
    layers = mm.map_layers(maps, anatomy=anatomy)
    kept = [layer for layer in layers if layer.kind == "grey" or layer.name in SHOWN]
    PICTURE.write_bytes(mm.figure_png(mm.map_figure(kept)))
    print(f"{PICTURE} shows {label}: {', '.join(layer.title for layer in kept if layer.kind == 'heat')}")


if __name__ == "__main__":
    main()
