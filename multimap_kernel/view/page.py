"""The page around a viewer: choice of the map, threshold, colour bar, cross-hair, and the course of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from multimap_kernel.view.layers import Layer
from multimap_kernel.view.scene import NEGATIVE, PLANES, POSITIVE, extent, peak_position
from multimap_kernel.view.volumes import Volumes

_NAMES = {"delta_r2": "ΔR²", "delta_r": "Δr"}
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
)


def viewer_page(
    layers: Sequence[Layer],
    source: str,
    *,
    courses: str = "",
    volumes: Volumes | None = None,
) -> str:
    """Make the page that frames a Neuroglancer client, whoever serves that client.

    Parameters
    ----------
    layers
        The layers of the client's state, as `viewer_state` got them.
    source
        Address of the client with its state, absolute or relative to the page; of the page's own origin, because the
        page reads and moves what the client shows.
    courses
        Address that answers ``?x=&y=&z=`` (mm) with what `voxel_course` gives, as JSON; without it no course is shown.
    volumes
        The volumes in the client's state, if there are any.

    Returns
    -------
    One HTML document without other parts than ``source`` and ``courses``.
    """
    told = {
        "layers": [_described(layer) for layer in layers if layer.kind == "heat"],
        "anatomy": [layer.name for layer in layers if layer.kind == "grey"],
        "planes": list(PLANES.values()),
        "colours": {"positive": POSITIVE, "negative": NEGATIVE},
        "courses": courses,
        "volumes": None,
    }
    if volumes is not None:
        count = volumes.shape[-1]
        told["volumes"] = {"name": volumes.name, "count": count, "repetition_time": volumes.repetition_time}
    return _ENVIRONMENT.get_template("viewer.html").render(source=source, told=told)


def _described(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "title": layer.title,
        "passes": layer.passes,
        "statistic": _NAMES.get(layer.statistic, layer.statistic),
        "space": "MNI" if layer.space.startswith("MNI") else layer.space,
        "limit": layer.limits[1],
        "fwe": layer.threshold,
        "fdr": layer.fdr_threshold,
        "alpha": f"{layer.alpha:g}".lstrip("0"),
        "legend": "; ".join(filter(None, (layer.legend, layer.note, f"null: {layer.null}"))),
        "peak": peak_position(layer).tolist(),
        "head": extent(layer).tolist(),
    }
