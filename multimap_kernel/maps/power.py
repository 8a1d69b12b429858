"""Log band power at 10 Hz: which channels and bins can be used, and means over windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array
from multimap_kernel.schema import InputError


@dataclass(frozen=True)
class LogPower:
    """Log band power of one recording.

    Parameters
    ----------
    values : (bin, channel, band)
        Natural logarithm of V2; NaN for channels that cannot be used; holes are filled by straight lines.
    covered : (bin,)
        Whether the bin was measured; False in holes.
    first
        Left edge of the first bin, s on the scanner clock.
    width
        Length of a bin, s.
    """

    values: np.ndarray
    covered: np.ndarray
    first: float
    width: float

    def edges(self, starts: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First bin and end bin of windows that start at ``starts`` (s), and whether each was measured whole.

        A bin belongs to a window if its centre does.
        """
        low = np.ceil((starts - self.first) / self.width - 0.5 - 1e-6).astype(int)
        high = np.ceil((starts + length - self.first) / self.width - 0.5 - 1e-6).astype(int)
        inside = (low >= 0) & (high <= len(self.covered)) & (high > low)
        low, high = np.where(inside, low, 0), np.where(inside, high, 1)
        measured = np.r_[0, np.cumsum(self.covered)]
        return low, high, inside & (measured[high] - measured[low] == high - low)

    def window_mean(self, starts: np.ndarray, length: float) -> np.ndarray:
        """Mean over windows (window, channel, band); NaN where a window was not measured whole."""
        low, high, whole = self.edges(starts, length)
        total = np.concatenate([np.zeros((1, *self.values.shape[1:])), np.cumsum(self.values, axis=0)])
        mean: np.ndarray = (total[high] - total[low]) / (high - low)[:, None, None]
        mean[~whole] = np.nan
        return mean

    def standardised(self) -> np.ndarray:
        """Values with mean 0 and deviation 1 over the measured bins; channels that cannot be used are 0."""
        mean, deviation = self.values[self.covered].mean(axis=0), self.values[self.covered].std(axis=0)
        usable = np.isfinite(deviation) & (deviation > 0)
        return np.where(usable, (self.values - mean) / np.where(usable, deviation, 1.0), 0.0)


def good_channels(ds: xr.Dataset) -> Array:
    """Which channels `eeg.clean` called good (channel,), NumPy or Dask; all of them where nothing judged them."""
    return ds["good"].data if "good" in ds.variables else np.ones(ds.sizes["channel"], bool)


def log_power(
    power: np.ndarray, bins: np.ndarray, channel_type: np.ndarray, good: np.ndarray | None = None
) -> LogPower:
    """Take the logarithm of band power and find out what can be used.

    Parameters
    ----------
    power : (bin, channel, band)
        V2; NaN where not measured.
    bins : (bin,)
        Centre of each bin, s, evenly spaced.
    channel_type : (channel,)
        Only ``eeg`` is used.
    good : (channel,)
        Whether to use a channel; all if not given. A dead electrode is not known by its power: the average reference
        gives it minus the mean of the others.

    Raises
    ------
    InputError
        If the bins are not evenly spaced, or no EEG channel has power.
    """
    width = float(np.median(np.diff(bins))) if len(bins) > 1 else 0.0
    if not width > 0 or np.abs(np.diff(bins) - width).max() > 0.1 * width:
        raise InputError("bin must be evenly spaced times in s, found others; make it with eeg.band_power")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(np.asarray(power, np.float64))
    finite = np.asarray(np.isfinite(values).all(axis=2))
    is_eeg = np.asarray(channel_type).astype(str) == "eeg"
    sound = is_eeg & np.asarray(good, bool) if good is not None else is_eeg
    measured = finite[:, sound].any(axis=1)
    usable = sound & (finite.sum(axis=0) > 0.5 * measured.sum())  # power of exactly 0 has no logarithm
    if not usable.any():
        found = f"{int(is_eeg.sum())} channels of type eeg, {int(sound.sum())} of them good"
        found += ", none with power in half of the measured bins"
        raise InputError(f"band_power_fine must hold at least one usable EEG channel, found {found}; check clean_eeg")
    covered = np.asarray(finite[:, usable].all(axis=1))
    index = np.arange(len(bins))
    for channel in np.flatnonzero(usable):
        for band in range(values.shape[2]):
            values[:, channel, band] = np.interp(index, index[covered], values[covered, channel, band])
    values[:, ~usable] = np.nan
    return LogPower(values, covered, float(bins[0]) - width / 2, width)
