"""Lagged EEG features on the volume grid."""

from __future__ import annotations

import numpy as np

from multimap_kernel.maps.power import log_power


def lagged_power(
    power: np.ndarray,
    bins: np.ndarray,
    channel_type: np.ndarray,
    good: np.ndarray | None = None,
    *,
    starts: np.ndarray,
    repetition_time: float,
    lags_s: tuple[float, ...],
) -> np.ndarray:
    """Mean log power of every channel and band in a window of one volume's length, at each lag before the volume.

    Parameters
    ----------
    power : (bin, channel, band)
        V2; NaN where not measured.
    bins : (bin,)
        Centre of each bin, s on the scanner clock.
    channel_type : (channel,)
        Only ``eeg`` is used.
    good : (channel,)
        Whether to use a channel; all if not given.
    starts : (time,)
        Start of the window of lag 0 of each volume, s.
    repetition_time
        Length of a window, s.
    lags_s
        Lag L takes the EEG that long before the volume, s.

    Returns
    -------
    Features (time, lag x channel x band), float64, of the usable channels; a row is NaN if any of its windows was not
    measured whole.

    Raises
    ------
    InputError
        If no EEG channel can be used.
    """
    recording = log_power(power, bins, channel_type, good)
    usable = np.isfinite(recording.values).all(axis=(0, 2))
    windows = [recording.window_mean(starts - lag, repetition_time)[:, usable] for lag in lags_s]
    features = np.stack(windows, axis=1).reshape(len(starts), -1)
    features[~np.isfinite(features).all(axis=1)] = np.nan
    return features
