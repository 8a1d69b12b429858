"""Work on a few channels and all their samples at a time, the same for NumPy and for Dask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

BLOCK_BYTES = 2**26
"""Memory of one block of channels; each verb needs a few times as much."""
MOST_CHANNELS = 8
"""Channels in a block at most, which is a chunk of the stored recording."""


def map_channels(
    eeg: xr.DataArray, function: Callable[..., np.ndarray], shape: tuple[int, ...], **options: Any
) -> np.ndarray | da.Array:
    """Apply a function to blocks of channels.

    Parameters
    ----------
    eeg
        Array ``(channel, time)``; Dask arrays are cut into blocks of whole channels, whatever their chunks were.
    function
        Takes ``(channels, time)`` and the options, gives ``(channels, *shape)`` float32. It must treat each channel
        alone, so that the blocks change no result.
    shape
        Shape of one channel's result.
    **options
        Handed on; Dask delayed values are computed within the graph.

    Returns
    -------
    Array ``(channel, *shape)`` float32, lazy if the input is.
    """
    data = eeg.data
    if not isinstance(data, da.Array):
        return function(np.asarray(data), **options)
    channels, samples = data.shape
    rows = max(1, min(MOST_CHANNELS, BLOCK_BYTES // (4 * max(samples, 1)), channels))
    data = data.rechunk((rows, samples))
    result: da.Array = da.map_blocks(
        function,
        data,
        dtype=np.float32,
        meta=np.empty((0,) * (1 + len(shape)), np.float32),
        chunks=(data.chunks[0], *((length,) for length in shape)),
        drop_axis=1 if not shape else None,
        new_axis=list(range(2, 1 + len(shape))) or None,
        **options,
    )
    return result


def channels_of(ds: xr.Dataset, *kinds: str) -> np.ndarray:
    """Indices of the channels of some types; all channels count as ``eeg`` where no type is known."""
    if "channel_type" not in ds:
        return np.arange(ds.sizes["channel"]) if "eeg" in kinds else np.arange(0)
    return np.flatnonzero(np.isin(np.asarray(ds["channel_type"].values, dtype=str), kinds))
