"""What a link to maps shows: layers stored in a folder of their own, and the page and state made from them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import zarr

from multimap_kernel.io.store import create_exclusive
from multimap_kernel.schema import InputError, StorageError
from multimap_kernel.view.layers import Layer, viewer_zarr
from multimap_kernel.view.page import viewer_page
from multimap_kernel.view.scene import viewer_state

ARRAYS, LAYERS = "viewer.zarr", "layers.json"
"""In the folder of a scene: the arrays that the browser reads, and what is known about each; the latter comes last."""
AXES = ("x", "y", "z")
"""Names of the dimensions of the arrays, as `viewer_zarr` writes them."""
_SEPARATE = ("values", "affine")


@dataclass(frozen=True)
class Scene:
    """What a browser needs to draw a scene.

    Parameters
    ----------
    names
        Layers, in the order in which they are drawn; each is an array below ``viewer.zarr``.
    page
        The page around the client, as HTML; its frame asks for ``client``.
    state
        State of the client as JSON; the data of a layer is at ``{data}/viewer.zarr/<name>``.
    """

    names: tuple[str, ...]
    page: str
    state: str


def save_scene(layers: Sequence[Layer], base: str) -> str:
    """Store layers below a folder, under a name made from their content.

    Parameters
    ----------
    layers
        What `map_layers` gave.
    base
        Path or URL.

    Returns
    -------
    Path or URL of the scene. If it is there already nothing is written.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    described = json.dumps([_describe(layer) for layer in layers], sort_keys=True).encode()
    total = hashlib.sha256(described)
    for layer in layers:
        total.update(np.ascontiguousarray(layer.values).tobytes())
    folder = posixpath.join(base, total.hexdigest()[:32])
    try:
        fs, path = fsspec.core.url_to_fs(folder)
        if not fs.exists(posixpath.join(path, LAYERS)):
            local = Path(tempfile.mkdtemp(prefix="multimap-"))
            try:
                viewer_zarr(layers, local / ARRAYS)
                fs.makedirs(path, exist_ok=True)
                fs.put(f"{local}/", f"{path}/", recursive=True)
            finally:
                shutil.rmtree(local)
            create_exclusive(posixpath.join(folder, LAYERS), described)
    except OSError as fault:
        raise StorageError(f"{folder} must be writable, found: {fault}; check space and rights") from fault
    return folder


@functools.lru_cache(maxsize=64)
def read_scene(folder: str) -> Scene:
    """Read what `save_scene` stored; scenes never change, so it is done once for each.

    Everything that a browser will ask for is made here from typed values: a stored text cannot bring an address of
    its own into the state.

    Raises
    ------
    InputError
        If the folder holds no scene.
    """
    layers = _read_layers(folder)
    sources = {layer.name: f"{{data}}/{ARRAYS}/{layer.name}/|zarr3:" for layer in layers}
    state = viewer_state(layers, sources)
    for one in state["layers"]:
        # the client drops a transform whose input has other names than the array, without a word
        transform = one["source"]["transform"]
        transform["inputDimensions"] = dict(zip(AXES, transform["inputDimensions"].values(), strict=True))
    return Scene(tuple(layer.name for layer in layers), viewer_page(layers, "{client}"), json.dumps(state))


def _describe(layer: Layer) -> dict[str, Any]:
    kept = {one.name: getattr(layer, one.name) for one in dataclasses.fields(Layer) if one.name not in _SEPARATE}
    return {**kept, "affine": layer.affine.tolist()}


def _read_layers(folder: str) -> list[Layer]:
    place = posixpath.join(folder, LAYERS)
    try:
        fs, path = fsspec.core.url_to_fs(place)
        stored = json.loads(fs.cat_file(path))
        arrays = zarr.open_group(posixpath.join(folder, ARRAYS), mode="r", zarr_format=3)
        return [_layer(one, np.asarray(arrays[one["name"]][...], np.float32)) for one in stored]  # type: ignore[index]
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise InputError(f"{folder} must hold the layers of a link, found: {fault!r}; share the maps again") from fault


def _layer(stored: dict[str, Any], values: np.ndarray) -> Layer:
    known = {one.name for one in dataclasses.fields(Layer)}
    plain = {name: tuple(given) if isinstance(given, list) else given for name, given in stored.items()}
    affine = np.array(stored["affine"], np.float64).reshape(4, 4)
    return Layer(
        **{name: given for name, given in plain.items() if name in known} | {"values": values, "affine": affine}
    )
