"""Raw EEG beside band power: one patch for each volume, from which a network learns its own bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from dask.base import compute

from multimap_kernel.maps.blocks import array, call, is_lazy
from multimap_kernel.schema import InputError, annotate, require, sampling


def add_patches(ds: xr.Dataset, eeg: xr.Dataset) -> xr.Dataset:
    """Cut the cleaned EEG into the windows of the volumes.

    Parameters
    ----------
    ds
        Features of the run: ``time`` (s, scanner clock), attribute ``repetition_time`` (s), ``channel``.
    eeg
        ``eeg (channel, time; V)`` on the scanner clock, as `eeg.clean` gives it. NumPy or Dask.

    Returns
    -------
    The Dataset with ``eeg_patch (time, channel, sample; V)`` float32: the EEG of one repetition time around each
    volume's sampling time; NaN where it was not measured whole. Lazy if ``eeg`` is.

    Raises
    ------
    SchemaError
        If a variable is missing or the EEG is not on the scanner clock.
    InputError
        If a channel of the features is not in the EEG.
    """
    require(eeg, "eeg", where="fusion.add_patches", clock="scanner")
    missing = sorted(set(map(str, ds["channel"].values)) - set(map(str, eeg["channel"].values)))
    if missing:
        raise InputError(f"each channel of the features must be in the EEG, found none for {missing}; run both again")
    grid, step = sampling(eeg), float(ds.attrs["repetition_time"])
    length = int(step * grid.frequency + 1e-6)
    shift = (float(ds.attrs.get("sampled_at", 0.5)) - 0.5) * step  # the window lies around the sampling time
    first = np.round((ds["time"].values + shift - grid.start) * grid.frequency).astype(int)
    own = eeg["eeg"].sel(channel=ds["channel"].values).data
    shape = (ds.sizes["time"], ds.sizes["channel"], length)
    cut = array(call(is_lazy(eeg, "eeg"), _cut, own, first, length), shape, np.float32)
    patch = xr.DataArray(cut, dims=("time", "channel", "sample"), name="eeg_patch")
    return ds.assign(eeg_patch=annotate(patch)).assign_attrs(patch_hz=grid.frequency)


def _cut(eeg: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    place = first[:, None] + np.arange(length)
    inside = (place >= 0) & (place < eeg.shape[1])
    patches = np.asarray(eeg[:, np.clip(place, 0, eeg.shape[1] - 1)], np.float32).transpose(1, 0, 2)
    patches[~inside.all(axis=1)] = np.nan
    return patches


class Patches(NamedTuple):
    """Patches of all volumes of all runs.

    Parameters
    ----------
    values : (window, channel, sample)
        V, float32, 0 where not measured; no window where no patches are read.
    known : tuple of (time,)
        For each run, whether a volume's windows of all lags were measured.
    place : tuple of (time, lag)
        For each run, position of the windows of each volume in ``values``.
    hz
        Samples in a second.
    """

    values: np.ndarray
    known: tuple[np.ndarray, ...]
    place: tuple[np.ndarray, ...]
    hz: float


def no_patches(runs: Mapping[str, xr.Dataset], lags_s: tuple[float, ...]) -> Patches:
    """Stand in for patches where power alone is read: nothing is missing."""
    counts = [ds.sizes["time"] for ds in runs.values()]
    known = tuple(np.ones(count, bool) for count in counts)
    return Patches(
        np.zeros((0, 0, 0), np.float32), known, tuple(np.zeros((n, len(lags_s)), np.int64) for n in counts), 0.0
    )


def read_patches(runs: Mapping[str, xr.Dataset], channels: Sequence[str], lags_s: tuple[float, ...]) -> Patches:
    """Read the patches of runs that share channels.

    Raises
    ------
    InputError
        If a lag is not a whole number of volumes, or runs differ in the length of a patch.
    """
    step = float(next(iter(runs.values())).attrs["repetition_time"])
    back = np.round(np.asarray(lags_s) / step).astype(int)
    if not np.allclose(back * step, lags_s, atol=1e-3 * step):
        raise InputError(
            f"with raw patches each lag must be a whole number of volumes of {step:g} s, found lags of "
            f"{', '.join(f'{lag:g}' for lag in lags_s)} s; set fuse.lags_s"
        )
    forms = {(ds.sizes["sample"], float(ds.attrs["patch_hz"])) for ds in runs.values()}
    if len(forms) > 1:
        raise InputError(
            f"all runs must have patches of one length, found (samples, Hz) {sorted(forms)}; cut them again"
        )
    values = compute(*(ds["eeg_patch"].sel(channel=list(channels)).data for ds in runs.values()))
    known, place, first = [], [], 0
    for one in values:
        window = np.arange(len(one))[:, None] - back
        inside = (window >= 0) & (window < len(one))
        window = np.where(inside, window, 0)
        measured = np.isfinite(one).all(axis=(1, 2))
        known.append((inside & measured[window]).all(axis=1))
        place.append(first + window)
        first += len(one)
    return Patches(np.nan_to_num(np.concatenate(values)).astype(np.float32), tuple(known), tuple(place), forms.pop()[1])
