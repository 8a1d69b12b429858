"""Times that a person calls bad: left out of all that follows, instead of spoiling what lies beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.schema import InputError, annotate, require, sampling

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
    bad = np.zeros(axis.samples, bool)
    for begin, end in spans:
        if not begin < end:
            raise InputError(f"a bad span must begin before it ends, found {begin:g} to {end:g} s")
        places = np.clip(np.array([begin, end]) * axis.frequency - axis.start * axis.frequency, 0, axis.samples)
        bad[int(np.floor(places[0])) : int(np.ceil(places[1]))] = True
    if bad.all():
        raise InputError("bad spans must leave some of the recording, found that they cover it whole; exclude it")
    eeg = ds["eeg"]
    data = map_channels(eeg, _draw_lines, (axis.samples,), bad=bad, reach=max(1, round(_ANCHOR_S * axis.frequency)))
    known = annotate(xr.DataArray(np.array(spans, np.float64).reshape(-1, 2), dims=("span", "end"), name="bad_span"))
    return ds.assign(eeg=(eeg.dims, data, eeg.attrs), bad_span=known)


def overlaps(ds: xr.Dataset, begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a bad span of the Dataset reaches into each interval (s, scanner clock); nowhere if it has none."""
    touched = np.zeros(len(begin), bool)
    for low, high in ds["bad_span"].values if "bad_span" in ds else ():
        touched |= (begin < high - _SAME_S) & (end > low + _SAME_S)
    return touched


def _draw_lines(block: np.ndarray, *, bad: NDArray[np.bool_], reach: int) -> np.ndarray:
    drawn, samples = np.array(block, np.float32), len(bad)
    for begin, end in np.flatnonzero(np.diff(bad, prepend=False, append=False)).reshape(-1, 2):
        sides = np.arange(max(0, begin - reach), begin), np.arange(end, min(samples, end + reach))
        levels = [block[:, side[~bad[side]]].mean(1, dtype=np.float64) for side in sides if len(side)]
        share = np.linspace(0.0, 1.0, end - begin)
        drawn[:, begin:end] = levels[0][:, None] + (levels[-1] - levels[0])[:, None] * share
    return drawn
