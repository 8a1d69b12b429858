"""What the BOLD of one voxel did, what the EEG predicted for it, and what the experiment did meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.schema import InputError, affine_matrix, require


def voxel_course(ds: xr.Dataset, position: Sequence[float]) -> dict[str, Any]:
    """Take the course of the voxel that holds a point; only that voxel's chunk is read.

    Parameters
    ----------
    ds
        ``series (time, voxel)`` with ``mask (z, y, x)``, ``affine`` (mm) and ``time`` (s); beside it, if there are,
        ``prediction (time, voxel)`` and ``event_onset, event_duration, event_condition (event; s)``.
    position
        World position (x, y, z), mm.

    Returns
    -------
    Plain JSON: ``position`` (mm) of the voxel's centre, ``inside`` (whether the mask holds it), ``unit``, ``time``
    (s), ``measured`` and ``predicted`` (deviation from the voxel's mean; None where nothing was predicted) and
    ``events`` (onset and duration in s, condition).

    Raises
    ------
    SchemaError
        If there is no series, mask or affine.
    InputError
        If the position is not three finite numbers.
    """
    require(ds, "series", "mask", where="voxel_course")
    point = np.asarray(position, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(f"a position must be three numbers in mm, found {list(position)}")
    affine, mask = affine_matrix(ds), np.asarray(ds["mask"].values, bool)
    index = np.rint(np.linalg.solve(affine, np.array([*point, 1.0]))[:3]).astype(int)
    centre = (affine @ np.array([*index, 1.0]))[:3]
    place = tuple(index[::-1])
    on_grid = all(0 <= one < size for one, size in zip(place, mask.shape, strict=True))
    told: dict[str, Any] = {"position": centre.round(3).tolist(), "inside": bool(on_grid and mask[place])}
    if not told["inside"]:
        return told
    voxel = int(mask.ravel()[: np.ravel_multi_index(place, mask.shape)].sum())
    measured = _values(ds["series"], voxel)
    mean = float(np.nanmean(measured))
    # percent of the mean says how large a response is; a series without a mean of its own has no percent
    scale = 100.0 / mean if mean > 3 * float(np.nanstd(measured)) else 1.0
    told |= {"unit": "% of the mean" if scale != 1.0 else "deviation from the mean"}
    told |= {"time": np.asarray(ds["time"].values, float).tolist(), "measured": _plain(scale * (measured - mean))}
    if "prediction" in ds:
        told["predicted"] = _plain(scale * _values(ds["prediction"], voxel))
    return told | {"events": _events(ds)}


def _values(array: xr.DataArray, voxel: int) -> np.ndarray:
    one = array.isel(voxel=voxel).transpose("time").compute(scheduler="synchronous")
    return np.asarray(one.values, np.float64)


def _plain(values: np.ndarray) -> list[float | None]:
    """JSON knows no NaN."""
    return [round(float(one), 5) if np.isfinite(one) else None for one in values]


def _events(ds: xr.Dataset) -> list[dict[str, Any]]:
    if "event_onset" not in ds:
        return []
    columns = (ds[f"event_{name}"].values.tolist() for name in ("onset", "duration", "condition"))
    return [
        {"onset": float(onset), "duration": float(duration), "condition": str(condition)}
        for onset, duration, condition in zip(*columns, strict=True)
    ]
