"""The last steps to a clean EEG: band-pass, quality of each channel, common reference."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from multimap_kernel.eeg.blocks import channels_of, map_channels, map_samples, whole
from multimap_kernel.eeg.saturation import known_saturation
from multimap_kernel.eeg.spans import overlaps
from multimap_kernel.schema import InputError, annotate, require, sampling

Floats = NDArray[np.float64]

METRICS = {
    "deviation": "V",
    "flat": "1",
    "fast": "1",
    "line_noise": "1",
    "gradient_residual": "1",
    "saturated": "1",
}
"""Metric of `quality` and its unit; the last is measured before any filter."""
SATURATED_SHARE = 0.002
"""More samples at an end of the amplifier's range make a channel bad. In simulation, with a gradient artifact that
changes by 2 % as the head moves, beta power rises by a fifth from 0.25 % on if it spans 20 mV, from 1 % on if 7 mV."""
_REFERENCES = ("average", "recording")
_FLAT_V = 1e-7
"""A second with less range than that is flat."""
_FLAT_SHARE = 0.25
_FAST_HZ = 30.0
_MAINS_HZ = (50.0, 60.0)
_SPREAD = 5.0
"""Robust standard deviations from the median channel that make a channel bad..."""
_FACTOR = 3.0
"""... if it is also this many times the median, for where all channels are much alike."""


def clean(
    ds: xr.Dataset, *, highpass_hz: float = 0.5, lowpass_hz: float = 70.0, reference: str = "average"
) -> xr.Dataset:
    """Band-pass all channels, judge them, and refer the EEG to the mean of its good channels.

    The filter is one symmetric FIR (Hamming windows, phase zero) that keeps the band between the two frequencies;
    the transitions are as wide as MNE's defaults.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)``; ``channel_type (channel)`` tells which channels are EEG; ``bad_span (span, end;
        s)``, if there: channels are judged by the times outside; ``saturated (channel, volume; 1)`` as
        `remove_gradient_artifact` measured it, if there.
    highpass_hz, lowpass_hz
        Ends of the band to keep, Hz.
    reference
        ``"average"``: subtract the mean of the good EEG channels from every EEG channel, also the bad ones;
        ``"recording"``: leave the recording's own reference.

    Returns
    -------
    The Dataset with ``eeg`` float32, ``quality (channel, metric)`` and the coordinate ``good (channel)``; bad channels
    are flagged, not changed. Metrics: ``deviation`` (V, robust standard deviation), ``flat`` (share of seconds
    without signal), ``fast`` (share of the deviation above 30 Hz), ``line_noise`` (power at 50 or 60 Hz over the
    frequencies beside), ``gradient_residual`` (power at the multiples of 1 / repetition_time between 10 and 60 Hz
    over what lies between them; NaN where the attribute ``repetition_time`` is not known) and ``saturated`` (share of
    the samples in the volumes at an end of the amplifier's range; NaN where it was not measured). ``fast``,
    ``line_noise`` and ``gradient_residual`` are NaN where bad spans leave no stretch of 4 s, or of 4 volumes. Only EEG
    channels are judged; one that holds NaN is bad. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` or its time axis is not regular.
    InputError
        If the band does not fit the sampling frequency, the recording is shorter than the filter, the reference is
        not known, or, once computed, no EEG channel is good enough for an average reference.

    References
    ----------
    Widmann, Schröger & Maess (2015), J. Neurosci. Methods 250, 34-46 (filter). Bigdely-Shamlo et al. (2015), Front.
    Neuroinform. 9:16 (robust deviation and high-frequency noise as marks of bad channels).
    """
    require(ds, "eeg", where="clean")
    axis = sampling(ds)
    if not 0 < highpass_hz < lowpass_hz < axis.frequency / 2 or reference not in _REFERENCES:
        raise InputError(
            f"highpass_hz < lowpass_hz < sampling / 2 and reference in {_REFERENCES} must hold, found {highpass_hz:g}, "
            f"{lowpass_hz:g} and {axis.frequency / 2:g} Hz, {reference!r}"
        )
    taps = _band_pass(highpass_hz, lowpass_hz, axis.frequency)
    if axis.samples <= len(taps):
        raise InputError(
            f"the recording must be longer than {len(taps) / axis.frequency:.3g} s, the filter of {highpass_hz:g} Hz; "
            f"found {axis.samples / axis.frequency:.3g} s; raise highpass_hz"
        )
    eeg = ds["eeg"]
    filtered = eeg.copy(data=map_channels(eeg, _filter, (axis.samples,), taps=taps))
    repetition_time = float(ds.attrs.get("repetition_time", np.nan))
    begin = np.asarray(eeg["time"].values, np.float64)
    quality = map_channels(
        filtered,
        _measure,
        (len(METRICS) - 1,),
        frequency=axis.frequency,
        repetition_time=repetition_time,
        known=~overlaps(ds, begin, begin + 1 / axis.frequency),
    )
    quality = np.concatenate([quality, known_saturation(ds)], axis=1)
    judged = channels_of(ds, "eeg")
    good = whole(quality, _judge, (eeg.sizes["channel"],), judged=judged).astype(bool)
    data = filtered.data
    if reference == "average":
        data = map_samples(filtered, _subtract_mean, good=good, judged=judged)
    measured = annotate(xr.DataArray(quality, dims=("channel", "metric"), name="quality"))
    rest = ds.drop_vars(["saturated", "volume"]) if "saturated" in ds else ds  # the quality has it now
    return rest.assign(eeg=(eeg.dims, data, eeg.attrs), quality=measured).assign_coords(
        good=("channel", good),
        metric=("metric", list(METRICS)),
        metric_units=("metric", list(METRICS.values())),
    )


def _band_pass(low_hz: float, high_hz: float, frequency: float) -> np.ndarray:
    """One symmetric filter out of a high-pass and a low-pass, each with its own transition."""
    low_width = min(max(0.25 * low_hz, 2.0), low_hz)
    high_width = min(max(0.25 * high_hz, 2.0), frequency / 2 - high_hz)
    low_taps, high_taps = (2 * int(np.ceil(1.65 * frequency / width)) + 1 for width in (low_width, high_width))
    high_pass = -signal.firwin(low_taps, low_hz - low_width / 2, fs=frequency)
    high_pass[low_taps // 2] += 1.0  # what a low-pass of gain 1 leaves: exactly nothing of level and slope
    low_pass = signal.firwin(high_taps, high_hz + high_width / 2, fs=frequency)
    return np.convolve(high_pass, low_pass).astype(np.float32)


def _filter(block: np.ndarray, *, taps: np.ndarray) -> np.ndarray:
    """Filter with the ends mirrored through their last point, which keeps level and slope."""
    half = len(taps) // 2
    padded = np.pad(np.asarray(block, np.float32), ((0, 0), (half, half)), mode="reflect", reflect_type="odd")
    # The level of the electrode may be 10 000 times the EEG; the filter takes it off anyway.
    padded -= padded.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
    return np.stack([signal.oaconvolve(trace, taps, mode="valid") for trace in padded]).astype(np.float32)


def _measure(block: np.ndarray, *, frequency: float, repetition_time: float, known: NDArray[np.bool_]) -> np.ndarray:
    rows = []
    second = max(2, round(frequency))
    seconds = len(known) // second
    clear = known[: seconds * second].reshape(seconds, second).all(1)
    for trace in np.asarray(block, np.float64):
        deviation = 0.7413 * float(np.subtract(*np.percentile(trace[known], [75, 25])))
        spread = np.ptp(trace[: seconds * second].reshape(seconds, second)[clear], axis=1)
        flat = float((spread < _FLAT_V).mean()) if len(spread) else 0.0
        f, density = _density(trace, frequency, min(len(trace), 4 * second), known)
        fast = float(np.sqrt(density[f >= _FAST_HZ].sum() / np.maximum(density.sum(), 1e-300)))
        comb = _comb(trace, frequency, repetition_time, known)
        rows.append((deviation, flat, fast, _line_noise(f, density), comb))
    return np.asarray(rows, np.float32)


def _density(trace: Floats, frequency: float, segment: int, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Welch's spectral density of the segments without unknown samples; NaN if there are none."""
    f, place, density = signal.spectrogram(trace, frequency, "hann", nperseg=segment, noverlap=segment // 2)
    first = np.rint(place * frequency - segment / 2).astype(int)
    unknown = np.concatenate([[0], np.cumsum(~known)])
    clear = unknown[first + segment] == unknown[first]
    return f, density[:, clear].mean(1) if clear.any() else np.full(len(f), np.nan)


def _line_noise(f: Floats, density: Floats) -> float:
    ratios = [0.0]
    for line in _MAINS_HZ:
        on = np.abs(f - line) <= 0.5
        beside = (np.abs(f - line) >= 2) & (np.abs(f - line) <= 5)
        if f[-1] > line + 5:
            ratios.append(float(density[on].max() / np.maximum(np.median(density[beside]), 1e-300)))
    return float(np.max(ratios))  # NaN stays NaN


def _comb(trace: Floats, frequency: float, repetition_time: float, known: NDArray[np.bool_]) -> float:
    """Power at the lines of the volume rate over the power between them."""
    segment = round(4 * repetition_time * frequency) if np.isfinite(repetition_time) else 0
    if not 0 < segment <= len(trace):
        return float("nan")
    # Four volumes in a segment: a line at every fourth frequency, clear of it at the second after.
    density = _density(trace, frequency, segment, known)[1]
    lines = np.arange(int(np.ceil(10 * repetition_time)), int(min(60.0, 0.45 * frequency) * repetition_time) + 1) * 4
    if len(lines) < 2:
        return float("nan")
    return float(density[lines].mean() / np.maximum(density[lines + 2].mean(), 1e-300))


def _judge(quality: np.ndarray, *, judged: NDArray[np.int64]) -> Floats:
    """0 for EEG channels that are flat, saturated, hold NaN, or are far from the others in size or in fast noise."""
    good = np.ones(len(quality))
    table = np.asarray(quality, np.float64)[judged]
    names = list(METRICS)
    bad = (table[:, names.index("flat")] > _FLAT_SHARE) | ~np.isfinite(table[:, names.index("deviation")])
    bad |= table[:, names.index("saturated")] > SATURATED_SHARE  # NaN is not
    if (~bad).sum() >= 3:
        for name in ("deviation", "fast"):
            size = np.log(np.maximum(table[:, names.index(name)], 1e-30))
            away = size - np.median(size[~bad])
            limit = max(np.log(_FACTOR), _SPREAD * 1.4826 * float(np.median(np.abs(away[~bad]))))
            bad |= away > limit if name == "fast" else np.abs(away) > limit
    good[judged] = np.where(bad, 0.0, 1.0)
    return good


def _subtract_mean(block: np.ndarray, *, good: NDArray[np.bool_], judged: NDArray[np.int64]) -> np.ndarray:
    members = judged[good[judged]]
    if len(judged) and not len(members):
        raise InputError(
            f"an average reference needs at least one good EEG channel, found none of {len(judged)}: all are flat, "
            "saturated or hold NaN; look at the recording and at the bad spans, or keep its own reference (reference: "
            "recording)"
        )
    referred = np.array(block, np.float32)
    if len(members):
        referred[judged] -= block[members].mean(0)
    return referred
