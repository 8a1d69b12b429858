"""A quick look with NiiVue: a widget that draws in the notebook itself, without a server beside the kernel."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np

from multimap_kernel.schema import InputError
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.scene import NEGATIVE, POSITIVE, peak_position

_HEIGHT = 420  # pixels


def niivue_view(layers: Sequence[Layer]) -> Any:
    """Make a widget of the anatomy and one map, the first that passes, with the viewer's colours and threshold.

    The images travel whole into the widget's state, and with it into the saved notebook: one map, not all. NiiVue 0.65
    turns black when JupyterLab's theme is changed while the cell is out of view, until the window changes its size.

    Parameters
    ----------
    layers
        What `map_layers` gave; at least one.

    Returns
    -------
    ``ipyniivue.NiiVue``.

    Raises
    ------
    InputError
        If ipyniivue is not installed, or there is nothing to show.
    """
    if importlib.util.find_spec("ipyniivue") is None:
        raise InputError(
            "backend='niivue' needs ipyniivue, found none in this environment; install multimap[niivue], or leave "
            "out backend="
        )
    from ipyniivue import NiiVue, SliceType  # noqa: PLC0415  # an optional extra

    heat = [layer for layer in layers if layer.kind == "heat"]
    grey = next((layer for layer in layers if layer.kind == "grey"), None)
    if not (heat or grey):
        raise InputError("there must be at least one map or an anatomy to show, found none")
    first = next((layer for layer in heat if layer.passes), heat[0] if heat else None)
    view = NiiVue(
        height=_HEIGHT,
        is_colorbar=first is not None,
        is_nearest_interpolation=True,
        crosshair_width=0.5,
        crosshair_color=(0.6, 0.8, 0.6, 1.0),
    )
    view.set_slice_type(SliceType.MULTIPLANAR)
    view.add_colormap("multimap_positive", _colormap(POSITIVE))
    view.add_colormap("multimap_negative", _colormap(NEGATIVE))
    volumes = []
    if grey is not None:
        low, high = grey.limits
        volumes.append(_volume(grey, colormap="gray", cal_min=low, cal_max=high, colorbar_visible=False))
    if first is not None:
        low, high = first.threshold, first.limits[1]
        signs = {"colormap": "multimap_positive", "colormap_negative": "multimap_negative"}
        negative = {"cal_min_neg": -low, "cal_max_neg": -high}
        volumes.append(_volume(first, cal_min=low, cal_max=high, **negative, **signs))
    view.load_volumes(volumes)
    if first is not None:
        view.scene.crosshair_pos = _share_of_box(grey or first, peak_position(first))
    return view


def _share_of_box(layer: Layer, position: np.ndarray) -> list[float]:
    """Where a position (mm) lies in a layer's box, 0 to 1 to the right, to the front and up."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(layer.values, layer.affine))
    index = nib.affines.apply_affine(np.linalg.inv(turned.affine), position)
    return ((index + 0.5) / turned.shape).tolist()  # type: ignore[no-any-return]


def _volume(layer: Layer, **options: Any) -> dict[str, Any]:
    image = nib.Nifti1Image(layer.values, layer.affine)
    image.header.set_xyzt_units("mm")
    packed = gzip.compress(image.to_bytes(), mtime=0)
    return {"data": packed, "name": f"{layer.name}.nii.gz", **options}


def _colormap(colours: Sequence[Sequence[float]]) -> dict[str, list[int]]:
    """Three colours from the threshold up; the very first step, all that lies below, is transparent."""
    table = np.rint(255 * np.array([colours[0], *colours])).astype(int)
    return {**dict(zip("RGB", table.T.tolist(), strict=True)), "A": [0, 255, 255, 255], "I": [0, 1, 128, 255]}
