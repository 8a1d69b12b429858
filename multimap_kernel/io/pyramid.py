"""Least and largest value of stretches of EEG: a window of any length is drawn from a bounded number of values."""

from __future__ import annotations

from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.schema import SchemaError, annotate, sampling

FACTOR = 8
"""Stretches of one level that make one of the next."""
ENOUGH = 2_048
"""A level of at most that many stretches is the last one."""
LARGEST = FACTOR**5
"""Samples in a stretch at most: half a block of the readers, so that no block waits for the next one."""


class Window(NamedTuple):
    """A window as it is drawn: ``values (channel, column, 2; V)`` least and largest; ``start``, ``step`` in s."""

    start: float
    step: float
    values: NDArray[np.float32]


def add_overview(ds: xr.Dataset) -> xr.Dataset:
    """Add the least and largest value of stretches of 8, 64, 512, ... samples.

    Parameters
    ----------
    ds
        ``count (channel, time; 1)`` as read, or ``eeg (channel, time; V)``, on a regular time axis.

    Returns
    -------
    The Dataset with ``overview (channel, stretch, extreme)`` in the unit and dtype of the signal: all stretches of 8
    samples, then all of 64, and so on; the last stretch of a level may be shorter. Lazy if the input is; each block
    of the signal is asked for once, if signal and overview are computed together.

    Raises
    ------
    SchemaError
        If there is neither ``count`` nor ``eeg``, or its time axis is not regular.
    """
    signal = _signal(ds)
    factors = levels(sampling(ds).samples)
    data = signal.data
    if isinstance(data, da.Array) and any(size % factors[-1] for size in data.chunks[1][:-1]):
        data = data.rechunk((data.chunks[0], 2 * LARGEST))  # blocks end where stretches end
    made = [_coarser(data[..., None])]
    for _ in factors[1:]:
        made.append(_coarser(made[-1]))
    join = da.concatenate if isinstance(data, da.Array) else np.concatenate
    overview = annotate(xr.DataArray(join(made, axis=1), dims=("channel", "stretch", "extreme"), name="overview"))
    return ds.assign(overview=overview.assign_attrs(units=signal.attrs.get("units", "")))


def levels(samples: int) -> tuple[int, ...]:
    """Samples in a stretch of each level of a recording, finest first."""
    factors = [FACTOR]
    while -(-samples // factors[-1]) > ENOUGH and factors[-1] < LARGEST:
        factors.append(factors[-1] * FACTOR)
    return tuple(factors)


def read_window(ds: xr.Dataset, start: float, stop: float, *, columns: int) -> Window:
    """Read what is drawn of a window: the least and the largest value in each column.

    Parameters
    ----------
    ds
        Signal with its ``overview``, as `add_overview` made it; lazy ones are read as far as they are needed.
    start, stop
        Ends of the window, s on the clock of ``time``; what lies outside the recording is left out.
    columns
        Columns of the picture; between half and all of that many are given, or the samples themselves where there
        are fewer.

    Returns
    -------
    The window, in V. At most ``8 * columns`` values per channel are read, whatever the length of the window, in
    recordings of up to 67 million samples.

    Raises
    ------
    SchemaError
        If the signal or its overview is not there.
    """
    signal = _signal(ds)
    if "overview" not in ds:
        raise SchemaError("read_window", ["overview must be there; run the step again, or call add_overview"])
    axis = sampling(ds)
    first = int(np.clip(np.floor((start - axis.start) * axis.frequency), 0, axis.samples))
    last = int(np.clip(np.ceil((stop - axis.start) * axis.frequency), first, axis.samples))
    fitting = [factor for factor in levels(axis.samples) if last - first >= factor * columns]
    if fitting:
        factor = fitting[-1]
        begin = sum(-(-axis.samples // finer) for finer in levels(axis.samples) if finer < factor)
        low, high = first // factor, -(-last // factor)
        values = ds["overview"].isel(stretch=slice(begin + low, begin + high)).values
    else:
        factor, low, high = 1, first, last
        values = signal.isel(time=slice(low, high)).values[..., None]
    together = max(1, -(-(high - low) // max(columns, 1)))
    values = _volts(ds, _extremes(values, together))
    return Window(axis.start + low * factor / axis.frequency, together * factor / axis.frequency, values)


def _signal(ds: xr.Dataset) -> xr.DataArray:
    name = next((name for name in ("count", "eeg") if name in ds), "")
    if not name or ds[name].dims != ("channel", "time"):
        found = sorted(map(str, ds.data_vars))
        raise SchemaError("overview", [f"count or eeg (channel, time) must be there, found {found}; read a recording"])
    return ds[name]


def _volts(ds: xr.Dataset, extremes: np.ndarray) -> NDArray[np.float32]:
    if "count" not in ds:
        return np.asarray(extremes, np.float32)
    scale, offset = (ds[name].values.astype(np.float32)[:, None, None] for name in ("scale", "offset"))
    return np.sort(extremes * scale + offset, axis=2).astype(np.float32)  # a negative scale turns them round


def _coarser(data: Any) -> Any:
    """The next level of (channel, n, 1 or 2), on Dask block by block."""
    if not isinstance(data, da.Array):
        return _extremes(np.asarray(data), FACTOR)
    lengths = tuple(-(-size // FACTOR) for size in data.chunks[1])
    meta = np.empty((0, 0, 0), data.dtype)
    return da.map_blocks(_extremes, data, FACTOR, chunks=(data.chunks[0], lengths, (2,)), dtype=data.dtype, meta=meta)


def _extremes(values: np.ndarray, together: int) -> np.ndarray:
    """Least and largest of so many neighbours along axis 1; (channel, n, 1 or 2) gives (channel, n / together, 2)."""
    starts = np.arange(0, values.shape[1], together)
    if together == FACTOR and len(starts) > 1:
        return _extremes_of_eight(values)
    low = np.minimum.reduceat(values[..., 0], starts, axis=1) if len(starts) else values[..., 0]
    high = np.maximum.reduceat(values[..., -1], starts, axis=1) if len(starts) else values[..., -1]
    return np.stack([low, high], axis=2)


def _extremes_of_eight(values: np.ndarray) -> np.ndarray:
    """Halved three times, which is several times quicker than a reduction over so short an axis."""
    made = []
    for extreme, column in ((np.minimum, values[..., 0]), (np.maximum, values[..., -1])):
        missing = -column.shape[1] % FACTOR
        halves = np.concatenate([column, np.repeat(column[:, -1:], missing, axis=1)], axis=1) if missing else column
        for _ in range(3):
            halves = extreme(halves[:, ::2], halves[:, 1::2])
        made.append(halves)
    return np.stack(made, axis=2)
