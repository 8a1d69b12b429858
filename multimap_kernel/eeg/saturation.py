"""How much of a recording lies at an end of the amplifier's range, where nothing was measured."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.eeg.spans import overlaps
from multimap_kernel.schema import annotate

_LEAST_RANGE_V = 5e-4
"""No amplifier for use in a scanner has a smaller range: what spans less is a dead channel or plain EEG."""


def saturated_share(eeg: xr.DataArray, edges: NDArray[np.int64], volume: NDArray[np.int64]) -> xr.DataArray:
    """Share of the samples of each volume that have exactly the channel's own least or greatest value.

    A recording that nothing clipped has each of them once, in coarse counts a few times. Zero is a gap or a dead
    electrode, never an end of the range. Samples alone count like those in a row: at 1 kHz most clipped peaks are one
    sample wide.

    Parameters
    ----------
    eeg
        Array ``(channel, time; V)`` as the amplifier gave it: a filter hides where it was clipped.
    edges : (volume + 1,)
        First sample of each volume, and the end of the last; those beyond the recording are cut.
    volume : (volume,)
        Number of each volume.

    Returns
    -------
    ``saturated (channel, volume; 1)``, float32, lazy if the input is.
    """
    share = map_channels(eeg, _share, (len(volume),), edges=np.clip(edges, 0, eeg.sizes["time"]))
    found = xr.DataArray(share, dims=("channel", "volume"), coords={"volume": volume}, name="saturated")
    return annotate(found)


def known_saturation(ds: xr.Dataset) -> np.ndarray:
    """Mean of ``saturated`` over the volumes outside bad spans, (channel, 1); NaN where there is none."""
    if "saturated" in ds:
        repetition_time = float(ds.attrs["repetition_time"])
        begin = ds["volume"].values * repetition_time
        clear = ~overlaps(ds, begin, begin + repetition_time)
        if clear.any():
            known: np.ndarray = ds["saturated"].data[:, clear].mean(1, keepdims=True)
            return known
    return np.full((ds.sizes["channel"], 1), np.nan, np.float32)


def _share(block: np.ndarray, *, edges: NDArray[np.int64]) -> np.ndarray:
    share = np.zeros((len(block), len(edges) - 1), np.float32)
    for row, trace in enumerate(block):
        low, high = trace.min(), trace.max()
        if high - low >= _LEAST_RANGE_V:  # not with a NaN, which is bad by other rules
            places = np.flatnonzero(((trace == low) | (trace == high)) & (trace != 0))
            share[row] = np.diff(np.searchsorted(places, edges)) / np.maximum(np.diff(edges), 1)
    return share
