"""Slice timing: bring the slices of a volume to one moment."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr
from scipy.interpolate import make_interp_spline
from scipy.signal import unit_impulse

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, in_blocks, small, volume_axis

REACH = 8
"""Volumes on each side that a value is interpolated from; the spline's weights beyond are below 1e-4."""
MIDDLE = 0.5
"""Moment that slices are brought to, as a fraction of the repetition time."""


def correct_timing(ds: xr.Dataset) -> xr.Dataset:
    """Shift every slice in time to the middle of its volume, by cubic spline interpolation.

    Volumes before the steady state are left as they are and enter no other volume: their signal is much higher, and
    would ring into the first steady ones. ``time`` stays the start of each volume. What is new is the attribute
    ``sampled_at``: the moment that the values of a volume belong to, as a fraction of the repetition time after its
    start, so that a model is evaluated at ``time + sampled_at * repetition_time``. It is 0.5 after a correction; 0.5
    too where slice times are not known, because the slices are then spread over the volume and its middle is the best
    guess; and for a single slice it is that slice's own time (0 if not known), which needs no interpolation.

    Parameters
    ----------
    ds
        Dataset with ``bold (time, z, y, x; 1)``, ``attrs["repetition_time"]`` (s) and, where known, the coordinate
        ``slice_time (z; s)`` after the start of the volume, and ``steady_state (time)``.

    Returns
    -------
    The Dataset with ``bold`` as float32 if slices were shifted and as it was otherwise; lazy if ``bold`` is. At both
    ends the first steady and the last volume are repeated. A value that was missing (NaN) stays missing, and its
    voxel's other values are interpolated from the mean in its place. Shifted data no longer have ``slice_time``;
    ``attrs["slice_time_reference"]`` (s) says what they were shifted to.

    Raises
    ------
    SchemaError
        If ``bold`` is missing.
    InputError
        If the repetition time is missing, or slice times are not finite, negative or beyond the repetition time.

    References
    ----------
    Sladky et al. (2011), NeuroImage 58:588; Unser (1999), IEEE Signal Process Mag 16(6):22 (cardinal splines).
    """
    schema.require(ds, "bold", where="correct_timing")
    repetition_time = float(ds.attrs.get("repetition_time", 0))
    if not repetition_time > 0:
        raise schema.InputError(
            f"bold needs attrs['repetition_time'] > 0 s, found {repetition_time:g}; read it with io.read_bold"
        )
    fraction = _fractions(ds, repetition_time)
    if fraction is None or ds.sizes["z"] == 1:
        alone = 0.0 if fraction is None else float(fraction[0])
        return ds.assign_attrs(sampled_at=alone if ds.sizes["z"] == 1 else MIDDLE)
    bold, first = in_blocks(ds["bold"]), _first_steady(ds)
    reach = min(REACH, ds.sizes["time"] - first)
    shifted = da.map_overlap(
        _shift,
        bold[first:],
        depth=(reach, 0, 0, 0),
        boundary={0: "nearest", 1: "none", 2: "none", 3: "none"},
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
        weights=_weights(MIDDLE - fraction, reach),
    )
    if first:
        shifted = da.concatenate([bold[:first].astype(np.float32), shifted])
    result = ds.drop_vars("slice_time").assign(bold=ds["bold"].variable.copy(data=shifted.rechunk(bold.chunks)))
    result = result.assign_coords(volume_axis(ds)).assign_attrs(
        sampled_at=MIDDLE, slice_time_reference=MIDDLE * repetition_time
    )
    return finish(result, ds)


def _first_steady(ds: xr.Dataset) -> int:
    """Number of volumes before the steady state; 0 where no volume is steady, for then there is none to spare."""
    return int(small(ds["steady_state"]).argmax()) if "steady_state" in ds.variables else 0


def _fractions(ds: xr.Dataset, repetition_time: float) -> np.ndarray | None:
    """Slice times (z,) as fractions of the repetition time; None if not known."""
    if "slice_time" not in ds.variables:
        return None
    times = small(ds["slice_time"]).astype(np.float64)
    # DICOM rounds slice times to 2.5 ms: the last one of a full volume may seem to lie a little beyond its end.
    if not np.isfinite(times).all() or times.min() < 0 or times.max() > repetition_time * 1.01:
        raise schema.InputError(
            f"slice_time must lie within 0 and the repetition time of {repetition_time:g} s, found "
            f"{times.min():g} to {times.max():g}; BIDS SliceTiming is in seconds"
        )
    fractions: np.ndarray = times / repetition_time
    return fractions


def _weights(shift: np.ndarray, reach: int) -> np.ndarray:
    """Weights (z, 2 reach + 1) of the neighbouring volumes: the cardinal cubic spline, read ``shift`` later."""
    taps = np.arange(-reach, reach + 1)
    wide = np.arange(-4 * REACH, 4 * REACH + 1)
    cardinal = make_interp_spline(wide, unit_impulse(len(wide), "mid"), k=3)
    weights = cardinal(shift[:, None] - taps)
    normalised: np.ndarray = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return normalised


def _shift(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolate the inner volumes of a block (time, z, y, x); the borders are cut off by Dask afterwards."""
    reach = weights.shape[1] // 2
    values = np.asarray(block, np.float32)
    count = len(values) - 2 * reach
    missing = ~np.isfinite(values)
    spoilt = bool(missing.any())
    if spoilt:
        known = np.maximum((~missing).sum(0), 1)
        values = np.where(missing, np.where(missing, 0, values).sum(0) / known, values).astype(np.float32)
    result = np.empty(values.shape, np.float32)
    for z, row in enumerate(weights):
        band = np.zeros((count, len(values)), np.float32)
        for volume in range(count):
            band[volume, volume : volume + len(row)] = row
        result[reach : reach + count, z] = np.tensordot(band, np.ascontiguousarray(values[:, z]), axes=1)
    if spoilt:
        result[missing] = np.nan
    return result
