"""Times that a person calls bad: left out of all that follows, instead of spoiling what lies beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.schema import InputError, Sampling, annotate, require, sampling

_ANCHOR_S = 0.04
"""A line begins and ends at the mean of so much beside it: one sample at full rate holds noise that no filter took."""
_SAME_S = 1e-9
"""Intervals that follow each other on paper overlap by less in floating point."""


def blank_spans(ds: xr.Dataset, *, spans: Sequence[tuple[float, float]]) -> xr.Dataset:
    """Put a straight line in the place of bad times, so that no filter carries their artifact into good ones.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock, gradient artifact removed; before any filter, `decimate`'s
        too, if the artifact of the bad times is large.
    spans
        Begin and end of each bad time, s on the scanner clock; they may overlap.

    Returns
    -------
    The Dataset with ``eeg`` in which the samples of each span lie on the line between the levels beside it, and
    ``bad_span (span, end; s)``, by which `band_power` leaves these times out. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If a span ends before it begins, or nothing of the recording would be left.

    Notes
    -----
    The line is no signal: it only keeps filters and spectra from ringing. What is computed from these times is
    missing (NaN), never zero.
    """
    require(ds, "eeg", where="blank_spans", clock="scanner")
    axis = sampling(ds)
    for begin, end in spans:
        if not begin < end:
            raise InputError(f"a bad span must begin before it ends, found {begin:g} to {end:g} s")
    runs = _runs(spans, axis)
    if np.diff(runs).sum() == axis.samples:
        raise InputError("bad spans must leave some of the recording, found that they cover it whole; exclude it")
    eeg, reach = ds["eeg"], max(1, round(_ANCHOR_S * axis.frequency))
    data = map_channels(eeg, _draw_lines, (axis.samples,), runs=runs, reach=reach)
    known = annotate(xr.DataArray(np.array(spans, np.float64).reshape(-1, 2), dims=("span", "end"), name="bad_span"))
    return ds.assign(eeg=(eeg.dims, data, eeg.attrs), bad_span=known)


def bad_runs(ds: xr.Dataset) -> NDArray[np.int64]:
    """First sample of each run of bad ones, and the one after its last (run, 2); apart, and in their order."""
    return _runs(ds["bad_span"].values.tolist() if "bad_span" in ds else (), sampling(ds))


def _runs(spans: Sequence[Sequence[float]], axis: Sampling) -> NDArray[np.int64]:
    bad = np.zeros(axis.samples, bool)
    for span in spans:
        begin, end = np.clip(np.array(span) * axis.frequency - axis.start * axis.frequency, 0, axis.samples)
        bad[int(np.floor(begin)) : int(np.ceil(end))] = True
    return np.flatnonzero(np.diff(bad, prepend=False, append=False)).reshape(-1, 2)


def overlaps(ds: xr.Dataset, begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a bad span of the Dataset reaches into each interval (s, scanner clock); nowhere if it has none."""
    touched = np.zeros(len(begin), bool)
    for low, high in ds["bad_span"].values.tolist() if "bad_span" in ds else ():
        touched |= (begin < high - _SAME_S) & (end > low + _SAME_S)
    return touched


def _draw_lines(block: np.ndarray, *, runs: NDArray[np.int64], reach: int) -> np.ndarray:
    drawn, samples = np.array(block, np.float32), block.shape[1]
    ends, begins = np.append(0, runs[:, 1])[:-1], np.append(runs[:, 0], samples)[1:]  # of the runs before and after
    for (begin, end), before, after in zip(runs, ends, begins, strict=True):
        sides = slice(max(before, begin - reach), begin), slice(end, min(after, end + reach))
        levels = [block[:, side].mean(1, dtype=np.float64) for side in sides if side.start < side.stop]
        share = np.linspace(0.0, 1.0, end - begin)
        drawn[:, begin:end] = levels[0][:, None] + (levels[-1] - levels[0])[:, None] * share
    return drawn
