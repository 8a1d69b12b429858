"""The state of the viewer: where layers lie in the world, how they are coloured, and the three planes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from multimap_kernel.schema import InputError
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.volumes import Volumes

POSITIVE = ((0.80, 0.12, 0.10), (0.98, 0.55, 0.13), (1.00, 0.96, 0.55))
"""Colours (RGB) of positive values from the threshold up; red to yellow reads as such to colour-blind eyes."""
NEGATIVE = ((0.13, 0.25, 0.80), (0.20, 0.60, 0.95), (0.70, 0.98, 1.00))
"""Colours of negative values from the threshold down."""

_HALF = math.sqrt(0.5)
PLANES = {
    "axial": (1.0, 0.0, 0.0, 0.0),
    "coronal": (_HALF, 0.0, 0.0, -_HALF),
    "sagittal": (0.5, 0.5, -0.5, -0.5),
}
"""Quaternions that turn the viewer's own plane so that anterior or superior is up and left is on the left."""
_MILLIMETRE = (1e-3, "m")
_FOLDER = Path(__file__).parent


def viewer_matrix(affine: np.ndarray) -> np.ndarray:
    """Turn a NIfTI-like affine into the matrix that Neuroglancer wants.

    Two conventions differ. NIfTI's indices name the centres of voxels, Neuroglancer's voxel i fills [i, i + 1):
    the origin moves by half a voxel. And Neuroglancer's linear part acts on lengths, not on indices, because the
    voxel size stands in the dimensions of the source: the columns are direction cosines.

    Parameters
    ----------
    affine : (4, 4) or (3, 4)
        Index of a voxel's centre to RAS+ mm.

    Returns
    -------
    Matrix (3, 4): linear part without unit, last column in mm.
    """
    matrix = np.array(affine, np.float64)[:3, :4]
    matrix[:, 3] -= matrix[:, :3] @ np.full(3, 0.5)
    matrix[:, :3] /= voxel_sizes(affine)
    return matrix


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """Edge lengths (3,) of a voxel along its own axes, mm."""
    return np.asarray(np.sqrt((np.asarray(affine, np.float64)[:3, :3] ** 2).sum(0)))


def peak_position(layer: Layer) -> np.ndarray:
    """World position (3,), mm, of the largest ``|value|``."""
    index = np.unravel_index(np.abs(layer.values).argmax(), layer.values.shape)
    return np.asarray(layer.affine @ np.array([*index, 1.0]))[:3]


def extent(layer: Layer) -> np.ndarray:
    """Lowest and highest world position (2, 3), mm, of the voxels that have a value; of all if none has."""
    index = np.argwhere(layer.values != 0) if np.any(layer.values) else np.array([[0, 0, 0], layer.values.shape])
    world = index @ layer.affine[:3, :3].T + layer.affine[:3, 3]
    return np.array([world.min(0), world.max(0)])


def viewer_state(
    layers: Sequence[Layer], sources: Mapping[str, str], *, volumes: Volumes | None = None
) -> dict[str, Any]:
    """Make the state that a Neuroglancer client draws: three planes through the peak of the map that is shown.

    Parameters
    ----------
    layers
        Anatomy first; all but one heat layer start hidden, because maps that overlap hide one another: the first that
        passes its threshold is shown, else the first.
    sources
        Name of each layer, and of the volumes, to the address of its data.
    volumes
        Volumes of a run below the maps, with time as a fourth axis; hidden at first if there is an anatomy.

    Returns
    -------
    Plain JSON.
    """
    heat = [layer for layer in layers if layer.kind == "heat"]
    first = next((one for one in heat if one.passes), heat[0] if heat else None)
    images = [_layer_state(one, sources[one.name], visible=one.kind == "grey" or one is first) for one in layers]
    start = [*(_start(first or next(iter(layers), volumes)))]
    dimensions = {name: list(_MILLIMETRE) for name in "xyz"}
    if volumes is not None:
        hidden = any(one.kind == "grey" for one in layers)
        images.insert(0, _volumes_state(volumes, sources[volumes.name], visible=not hidden))
        start.append(0.5)  # in the middle of the first volume
        dimensions["t"] = [volumes.repetition_time, "s"]
    names = [image["name"] for image in images]
    return {
        "dimensions": dimensions,
        "position": start,
        "crossSectionScale": 0.65,  # mm per pixel of the screen: a head fits in a third of a window
        "layers": images,
        "layout": {"type": "row", "children": [_plane(names, turn) for turn in PLANES.values()]},
        "crossSectionBackgroundColor": "#000000",
        "showDefaultAnnotations": False,
        "showAxisLines": True,
        "showSlices": False,
    }


def _start(image: Layer | Volumes | None) -> list[float]:
    if image is None:
        raise InputError("there must be a map, an anatomy or volumes to show, found none")
    if isinstance(image, Layer) and image.kind == "heat" and np.any(image.values):
        return [float(one) for one in peak_position(image)]
    middle = (np.array(image.grid) - 1) / 2
    return [float(one) for one in (image.affine @ np.array([*middle, 1.0]))[:3]]


def _plane(names: list[str], turn: tuple[float, ...]) -> dict[str, Any]:
    return {
        "type": "viewer",
        "layers": names,
        "layout": "xy",
        "crossSectionOrientation": {"link": "unlinked", "value": list(turn)},
    }


def _layer_state(layer: Layer, source: str, *, visible: bool) -> dict[str, Any]:
    shader, controls = _shade(layer)
    return {
        "type": "image",
        "name": layer.name,
        "source": {"url": source, "transform": _transform(layer.affine)},
        "shader": shader,
        "shaderControls": controls,
        "opacity": 1.0,  # the client's own 0.5 would dim the map
        "visible": visible,
    }


def _volumes_state(volumes: Volumes, source: str, *, visible: bool) -> dict[str, Any]:
    transform = _transform(volumes.affine)
    for side in ("outputDimensions", "inputDimensions"):
        transform[side]["t"] = [volumes.repetition_time, "s"]
    matrix = np.zeros((4, 5))  # volume i fills the time from i to i + 1 repetition times: time has no half step
    matrix[:3, [0, 1, 2, 4]] = transform["matrix"]
    matrix[3, 3] = 1.0
    return {
        "type": "image",
        "name": volumes.name,
        "source": {"url": source, "transform": {**transform, "matrix": matrix.tolist()}},
        "shader": _read("grey.glsl"),
        "shaderControls": {"normalized": {"range": list(volumes.limits)}},
        "opacity": 1.0,
        "visible": visible,
    }


def _transform(affine: np.ndarray) -> dict[str, Any]:
    scales = (voxel_sizes(affine) * _MILLIMETRE[0]).tolist()
    return {
        "outputDimensions": {name: list(_MILLIMETRE) for name in "xyz"},
        "inputDimensions": {name: [scale, "m"] for name, scale in zip("ijk", scales, strict=True)},
        "matrix": viewer_matrix(affine).tolist(),
    }


def _shade(layer: Layer) -> tuple[str, dict[str, Any]]:
    """Text of the shader and the values of its controls."""
    if layer.kind == "grey":
        return _read("grey.glsl"), {"normalized": {"range": list(layer.limits)}}
    slider = _slider_end(layer.limits[1])
    colours = {"positive": _vectors(POSITIVE), "negative": _vectors(NEGATIVE)}
    shader = Template(_read("heat.glsl")).substitute(slider=f"{slider:.6f}", step=f"{slider / 1000:.6f}", **colours)
    return shader, {"threshold": layer.threshold, "limit": layer.limits[1]}


def _slider_end(limit: float) -> float:
    """The next of 1, 2, 5 times a power of ten above the limit, so that sliders end at a round number."""
    power = 10.0 ** math.floor(math.log10(max(limit, 1e-6)))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0, 20.0) if step * power >= 1.1 * limit)


def _vectors(colours: tuple[tuple[float, ...], ...]) -> str:
    return ", ".join(f"vec3({', '.join(f'{part:.2f}' for part in colour)})" for colour in colours)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
