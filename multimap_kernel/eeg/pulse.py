"""Take the pulse artifact (ballistocardiogram) out of EEG recorded in the magnet, by average subtraction on beats."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from multimap_kernel.eeg.blocks import channels_of, map_channels, whole
from multimap_kernel.eeg.spans import bad_runs
from multimap_kernel.eeg.template import mean_of_others, outlying
from multimap_kernel.schema import InputError, annotate, require, sampling

Floats = NDArray[np.float64]

_DELAY_S = 0.21
"""From the R peak to the middle of the pulse artifact."""
_REACH = 0.75
"""Half length of a beat's epoch, in median intervals."""
_FASTEST_S = 0.35
"""Shortest interval between two beats (170 per minute)."""
_LAG_S = 0.02
"""Lag of the energy operator: about a quarter of the QRS complex, so that T waves give nothing."""
_LEAST_BEATS = 10
_DRIFT = 0.4
"""Below this share of the pulse rate there is drift of electrodes alone: the artifact's harmonics begin at the rate."""


def remove_pulse_artifact(ds: xr.Dataset, *, window: int = 21) -> xr.Dataset:
    """Subtract from each heartbeat the mean artifact of the beats around it.

    R peaks are found on the first ECG channel by a k-Teager energy operator with a threshold that follows the
    signal. Epochs lie around R + 210 ms and reach 0.75 median intervals to both sides; a beat's template is the mean
    of the ``window`` beats nearest to it, never itself and without beats unlike all around them (movements), scaled
    by least squares, and neighbouring beats fade into each other. Templates are made of the EEG above 0.4 times the
    pulse rate, so that the drift of an electrode stays out of them; it is left for `clean` to take away. Beats are
    looked for outside bad spans, and beats that touch a bad span or a NaN enter no template.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock with ``channel_type (channel)``, gradient artifact removed,
        100 Hz or more; 250 Hz is enough; ``bad_span (span, end; s)``, if there.
    window
        Beats in a template.

    Returns
    -------
    The Dataset with corrected EEG and EOG channels (others stay as they are), and ``r_peak (beat; s)``: times of the
    beats, followed by NaN, because how many there are is known only once computed. Where no channel is of type
    ``ecg``, or fewer than 10 beats are found, the EEG is not changed and ``r_peak`` is empty or all NaN: a heartbeat
    guessed from the EEG itself would take brain rhythms with it.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If the window is shorter than 5 beats or the sampling frequency below 100 Hz.

    References
    ----------
    Allen et al. (1998), NeuroImage 8, 229-239. Kim et al. (2004), IEEE EMBS 26, 3945-3948 (R peaks in the magnet).
    """
    require(ds, "eeg", where="remove_pulse_artifact", clock="scanner")
    axis = sampling(ds)
    if window < 5 or axis.frequency < 100:
        raise InputError(
            f"window must be at least 5 beats and sampling at least 100 Hz, found {window} and {axis.frequency:g}"
        )
    eeg, hearts = ds["eeg"], channels_of(ds, "ecg")
    if not len(hearts):
        return ds.assign(r_peak=annotate(xr.DataArray(np.empty(0), dims="beat", name="r_peak")))
    most = int(axis.samples / axis.frequency / _FASTEST_S) + 1
    corrected = channels_of(ds, "eeg", "eog")
    options: dict[str, Any] = {"bad": bad_runs(ds), "frequency": axis.frequency}
    beats = whole(eeg.data[int(hearts[0])], _find_beats, (most,), most=most, **options)
    part = eeg.isel(channel=corrected)
    options |= {"beats": beats, "window": window}
    data = _put_back(eeg.data, map_channels(part, _subtract, (axis.samples,), **options), corrected)
    peaks = annotate(xr.DataArray(axis.start + beats / axis.frequency, dims="beat", name="r_peak"))
    return ds.assign(eeg=(eeg.dims, data, eeg.attrs), r_peak=peaks)


def _put_back(data: Any, part: Any, rows: NDArray[np.int64]) -> Any:
    """Replace some channels."""
    others = np.setdiff1d(np.arange(data.shape[0]), rows)
    order = np.argsort(np.concatenate([rows, others]))
    joined = da.concatenate if isinstance(data, da.Array) else np.concatenate
    return joined([part, data[others].astype(np.float32)])[order]


def _known(samples: int, bad: NDArray[np.int64]) -> NDArray[np.bool_]:
    known = np.ones(samples, bool)
    for begin, end in bad:
        known[begin:end] = False
    return known


def _find_beats(ecg: np.ndarray, *, bad: NDArray[np.int64], frequency: float, most: int) -> Floats:
    """Places of the R peaks in samples, with fractions; filled up with NaN to ``most``."""
    places, known = np.full(most, np.nan), _known(len(ecg), bad)
    if known.sum() < 10 * frequency:
        return places
    band = signal.butter(3, [8.0, min(40.0, 0.45 * frequency)], "band", fs=frequency, output="sos")
    quick = signal.sosfiltfilt(band, np.asarray(ecg, np.float64))
    lag = max(1, round(_LAG_S * frequency))
    energy = np.zeros(len(quick))
    energy[lag:-lag] = np.maximum(quick[lag:-lag] ** 2 - quick[: -2 * lag] * quick[2 * lag :], 0)
    smooth = max(3, round(0.04 * frequency) | 1)
    energy = np.convolve(energy, np.hanning(smooth + 2)[1:-1] / (smooth + 1) * 2, mode="same")
    height = np.sqrt(energy)[known]  # in units of the ECG: a beat of half size is half as high
    peaks = _above_level(height, frequency)
    peaks = _mend(peaks, height)
    if len(peaks) < _LEAST_BEATS:
        return places
    exact = _sharpen(quick, np.flatnonzero(known)[peaks], frequency)[:most]
    places[: len(exact)] = exact
    return places


def _above_level(height: Floats, frequency: float) -> NDArray[np.int64]:
    """Peaks above 0.4 times the usual beat of the 10 s around."""
    candidates, _ = signal.find_peaks(height, distance=max(1, round(_FASTEST_S * frequency)))
    # One peak in each 1.5 s is a beat, save at rates below 40 per minute.
    step = round(1.5 * frequency)
    blocks = height[: len(height) // step * step].reshape(-1, step).max(1)
    usual = signal.medfilt(np.pad(blocks, 3, mode="reflect"), 7)[3:-3] if len(blocks) > 7 else blocks
    level = np.interp(candidates, (np.arange(len(blocks)) + 0.5) * step, usual)
    return np.asarray(candidates[height[candidates] > 0.4 * level])


def _mend(peaks: NDArray[np.int64], height: Floats) -> NDArray[np.int64]:
    """Drop the lower of two peaks too close for the rhythm around; look again where a beat is missing."""
    kept = peaks
    for _ in range(3):
        if len(kept) < _LEAST_BEATS:
            return kept
        gap = np.diff(kept)
        usual = signal.medfilt(np.pad(gap.astype(float), 4, mode="reflect"), 9)[4:-4]
        close = np.flatnonzero(gap < 0.55 * usual)
        if not len(close):
            break
        lower = np.where(height[kept[close]] < height[kept[close + 1]], close, close + 1)
        kept = np.delete(kept, np.unique(lower))
    gap = np.diff(kept)
    usual = signal.medfilt(np.pad(gap.astype(float), 4, mode="reflect"), 9)[4:-4]
    added = []
    for place in np.flatnonzero(gap > 1.6 * usual):
        inner = slice(kept[place] + int(0.6 * usual[place]), kept[place + 1] - int(0.6 * usual[place]))
        if inner.stop - inner.start > 2:
            best = inner.start + int(height[inner].argmax())
            if height[best] > 0.15 * np.median(height[kept]):
                added.append(best)
    return np.sort(np.concatenate([kept, np.array(added, np.int64)]))


def _sharpen(quick: Floats, peaks: NDArray[np.int64], frequency: float) -> Floats:
    """Move each peak to where its complex fits the mean complex best, to a fraction of a sample."""
    half = round(0.06 * frequency)
    reach = round(0.05 * frequency)
    inner = peaks[(peaks >= half + reach + 1) & (peaks < len(quick) - half - reach - 1)]
    span = np.arange(-half, half + 1)
    places = inner.astype(np.float64)
    for _ in range(2):
        mean = np.median(quick[np.rint(places).astype(int)[:, None] + span], axis=0)
        shifts = np.arange(-reach, reach + 1)
        match = np.stack([quick[inner[:, None] + span + shift] @ mean for shift in shifts], axis=1)
        best = match[:, 1:-1].argmax(1) + 1
        rows = np.arange(len(inner))
        left, middle, right = match[rows, best - 1], match[rows, best], match[rows, best + 1]
        curve = left - 2 * middle + right
        bend = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, 1.0), 0.0)
        places = inner + shifts[best] + np.clip(bend, -0.5, 0.5)
    centre = np.abs(mean).argmax() - half  # the R peak within the mean complex
    return places + centre


def _subtract(block: np.ndarray, *, beats: Floats, bad: NDArray[np.int64], frequency: float, window: int) -> np.ndarray:
    corrected = np.array(block, np.float32)
    places = beats[np.isfinite(beats)]
    samples = block.shape[1]
    if len(places) < _LEAST_BEATS:
        return corrected
    interval = float(np.median(np.diff(places)))
    half = int(_REACH * interval)
    centre = np.rint(places + _DELAY_S * frequency).astype(np.int64)
    index = centre[:, None] + np.arange(-half, half + 1)
    inside = (index >= 0) & (index < samples)
    fade = np.where(inside, np.cos(np.linspace(-0.5, 0.5, 2 * half + 3)[1:-1] * np.pi) ** 2, 0.0)
    index = np.clip(index, 0, samples - 1)
    cover = np.bincount(index.ravel(), fade.ravel(), samples)
    share = fade / np.maximum(cover, 0.5)[index]  # two beats fade into each other, a lonely one fades out
    complete, known = inside.all(1).astype(np.float64), _known(samples, bad)
    for row, trace in enumerate(block):
        finite = np.isfinite(trace)
        entering = complete * (known & finite)[index].all(1)
        if entering.any():
            template = _templates(_without_drift(trace, finite, interval)[index], entering, window)
            artifact = np.bincount(index.ravel(), (share * template).ravel(), samples).astype(np.float32)
            corrected[row, known] -= artifact[known]
    return corrected


def _without_drift(trace: np.ndarray, finite: NDArray[np.bool_], interval: float) -> np.ndarray:
    """High-passed without delay; lines in place of unknown samples keep these from spreading."""
    trace = np.interp(np.arange(len(trace)), np.flatnonzero(finite), np.asarray(trace, np.float64)[finite])
    high = signal.butter(2, _DRIFT / interval, "high", fs=1.0, output="sos")
    pad = min(len(trace) - 1, round(2 * interval / _DRIFT))  # until the filter has settled
    return np.asarray(signal.sosfiltfilt(high, trace, padlen=pad), np.float32)


def _templates(epochs: np.ndarray, complete: Floats, window: int) -> Floats:
    """For each beat the scaled mean of the others around it; beats cut by an end or with a movement count for none."""
    epochs = epochs - epochs.mean(1, keepdims=True)
    weight = complete * ~outlying(epochs, complete, window)
    template = mean_of_others(epochs, weight, window).astype(np.float64)
    energy = np.maximum((template**2).sum(1), 1e-300)
    gain = np.clip((epochs * template).sum(1) / energy, 0.0, 3.0)
    return np.asarray(template * gain[:, None])
