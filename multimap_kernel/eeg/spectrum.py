"""How the power of each channel spreads over frequencies."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import welch

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.schema import InputError, annotate, require, sampling


def spectrum(
    ds: xr.Dataset, *, start: float | None = None, stop: float | None = None, segment_s: float = 8.0
) -> xr.Dataset:
    """Estimate the power spectral density of each channel by the mean over half-overlapping Hann segments.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on a regular time axis, either clock.
    start, stop
        Stretch to look at, s on the clock of ``time``; the whole recording if not given.
    segment_s
        Length of a segment, s: lines closer than about twice its inverse are not told apart. A shorter stretch is
        one segment.

    Returns
    -------
    ``density (channel, frequency; V2/Hz)`` float32 with ``frequency`` (Hz) from 0 to half the sampling frequency;
    its integral is the variance. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on a regular time axis.
    InputError
        If the stretch holds fewer than 8 samples.

    References
    ----------
    Welch (1967), IEEE Trans. Audio Electroacoust. 15, 70-73.
    """
    require(ds, "eeg", where="spectrum")
    axis = sampling(ds)
    ends = (0 if start is None else start - axis.start, np.inf if stop is None else stop - axis.start)
    low, high = (int(np.clip(np.ceil(end * axis.frequency), 0, axis.samples)) for end in ends)
    if high - low < 8:
        raise InputError(f"spectrum needs a stretch of 8 samples, found {max(high - low, 0)} between start and stop")
    segment = min(high - low, max(8, round(segment_s * axis.frequency)))
    part = ds["eeg"].isel(time=slice(low, high))
    frequency = np.fft.rfftfreq(segment, 1 / axis.frequency)
    data = map_channels(part, _density, (len(frequency),), rate=axis.frequency, segment=segment)
    density = annotate(xr.DataArray(data, dims=("channel", "frequency"), name="density"))
    kept = ds[["channel_type"]] if "channel_type" in ds else ds[[]]
    return kept.drop_vars("time", errors="ignore").assign(density=density).assign_coords(frequency=frequency)


def _density(block: np.ndarray, *, rate: float, segment: int) -> NDArray[np.float32]:
    # in units of each channel's own size: squares of volts are next to the smallest float32 numbers
    size = np.maximum(np.abs(block).max(1, keepdims=True), 1e-30)
    return np.asarray(welch(block / size, rate, nperseg=segment)[1] * size**2, np.float32)
