"""Work on a few channels and all their samples at a time, the same for NumPy and for Dask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

BLOCK_BYTES = 2**26
"""Memory of one block of channels; each verb needs a few times as much."""
BLOCK_SAMPLES = 16384
"""Samples in a block of all channels; the chunk of the stored clean EEG."""
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
        Shape of one channel's result, at least one length.
    **options
        Handed on; Dask arrays among them reach the function whole.

    Returns
    -------
    Array ``(channel, *shape)`` float32, lazy if the input is.
    """
    data = eeg.data
    if not isinstance(data, da.Array):
        return function(np.asarray(data), **options)
    samples = data.shape[1]
    rows = max(1, min(MOST_CHANNELS, BLOCK_BYTES // (4 * max(samples, 1))))
    rows = 2 ** int(np.log2(rows))  # so that stored chunks of 8 channels are used up block by block
    return _map(data.rechunk((rows, samples)), function, {"time": shape[0]}, shape[1:], options)


def map_samples(eeg: xr.DataArray, function: Callable[..., np.ndarray], **options: Any) -> np.ndarray | da.Array:
    """Apply a function to blocks of samples of all channels; like `map_channels`, but keeping the shape."""
    data = eeg.data
    if not isinstance(data, da.Array):
        return function(np.asarray(data), **options)
    return _map(data.rechunk((-1, BLOCK_SAMPLES)), function, {}, (), options)


def whole(data: Any, function: Callable[..., np.ndarray], shape: tuple[int, ...], **options: Any) -> Any:
    """Apply a function to a small array as one piece; its float64 result has a shape known before."""
    if not isinstance(data, da.Array):
        return function(np.asarray(data), **options)
    axes = tuple(f"in{axis}" for axis in range(data.ndim))
    made = {f"out{axis}": length for axis, length in enumerate(shape)}
    return da.blockwise(
        function,
        tuple(made),
        data.rechunk(-1),
        axes,
        new_axes=made,
        concatenate=True,
        dtype=np.float64,
        meta=np.empty((0,) * len(shape)),
        **options,
    )


def _map(
    data: da.Array,
    function: Callable[..., np.ndarray],
    lengths: dict[str, int],
    more: tuple[int, ...],
    options: dict[str, Any],
) -> da.Array:
    """Blockwise with options that are arrays themselves.

    They stay arrays of the same graph: a delayed value would carry a graph of its own, and what it rests on would be
    computed once more.
    """
    arrays = {name: value for name, value in options.items() if isinstance(value, da.Array)}
    plain = {name: value for name, value in options.items() if name not in arrays}
    added = {f"out{axis}": length for axis, length in enumerate(more)}
    pairs: list[Any] = []
    for name, value in arrays.items():
        pairs += [value.rechunk(-1), tuple(f"{name}{axis}" for axis in range(value.ndim))]
    result: da.Array = da.blockwise(
        _call,
        ("channel", "time", *added),
        data,
        ("channel", "time"),
        *pairs,
        adjust_chunks=lengths,
        new_axes=added,
        concatenate=True,
        dtype=np.float32,
        meta=np.empty((0, 0) + (0,) * len(more), np.float32),
        function=function,
        names=tuple(arrays),
        plain=plain,
    )
    return result


def _call(
    block: np.ndarray,
    *values: np.ndarray,
    function: Callable[..., np.ndarray],
    names: tuple[str, ...],
    plain: dict[str, Any],
) -> np.ndarray:
    return function(block, **dict(zip(names, values, strict=True)), **plain)


def channels_of(ds: xr.Dataset, *kinds: str) -> np.ndarray:
    """Indices of the channels of some types; all channels count as ``eeg`` where no type is known.

    The few labels are read at once, since shapes depend on them.
    """
    if "channel_type" not in ds:
        return np.arange(ds.sizes["channel"]) if "eeg" in kinds else np.arange(0)
    return np.flatnonzero(np.isin(np.asarray(ds["channel_type"].values, dtype=str), kinds))
