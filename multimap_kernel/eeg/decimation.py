"""Bring EEG to a lower sampling frequency, filtered against aliases, computing only the samples that stay."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import xarray as xr
from scipy.signal import firwin, kaiser_beta, upfirdn

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.schema import InputError, regular_time, require, sampling

_ATTENUATION_DB = 80.0
"""Aliases and ripple: 1e-4, below the noise of any amplifier."""
_NEAR = 1e-3
"""The asked frequency is met within this share, so that clocks a few ppm apart still give a simple ratio."""


@dataclass(frozen=True)
class _Stage:
    """One polyphase step: ``up`` and ``down`` in samples, and the taps of its low-pass filter."""

    up: int
    down: int
    taps: np.ndarray

    def length(self, samples: int) -> int:
        return -(-samples * self.up // self.down)


def decimate(ds: xr.Dataset, *, sampling_hz: float = 250.0, lowpass_hz: float = 70.0) -> xr.Dataset:
    """Low-pass and resample the EEG by polyphase FIR filters of phase zero.

    Whole factors are done in two steps (5 kHz to 250 Hz: 5, then 4), others in one rational step. Signals up to
    ``lowpass_hz`` keep their gain within 1e-4; everything above half of ``sampling_hz`` is 80 dB down.

    Parameters
    ----------
    ds
        Recording ``eeg (channel, time; V)`` on either clock.
    sampling_hz
        Wanted sampling frequency, Hz. Met within 0.1 %: the result has the recording's own frequency, as its clock
        gives it, times a ratio of small whole numbers.
    lowpass_hz
        Upper end of the band to keep, Hz.

    Returns
    -------
    The Dataset with ``eeg`` float32 on a coarser ``time`` that starts with the same first sample; variables without
    ``time`` are kept. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` or its time axis is not regular.
    InputError
        If the sampling frequency would rise, or the band to keep does not fit below half of it.

    References
    ----------
    Crochiere & Rabiner (1983), Multirate Digital Signal Processing, ch. 4.
    """
    require(ds, "eeg", where="decimate")
    axis = sampling(ds)
    if not 0 < lowpass_hz < sampling_hz / 2 or sampling_hz > axis.frequency * (1 + _NEAR):
        raise InputError(
            f"lowpass_hz < sampling_hz / 2 and sampling_hz <= the recording's must hold, found {lowpass_hz:g}, "
            f"{sampling_hz:g} and {axis.frequency:g} Hz"
        )
    ratio = _simple_ratio(sampling_hz / axis.frequency)
    if ratio == 1:
        return ds
    stages = _stages(ratio, axis.frequency, lowpass_hz)
    samples = axis.samples
    for stage in stages:
        samples = stage.length(samples)
    eeg = ds["eeg"]
    data = map_channels(eeg, _filter, (samples,), stages=stages)
    time = regular_time(axis.start, axis.frequency * float(ratio), samples)
    rest = ds.drop_dims("time").assign_coords(time)
    return rest.assign(eeg=(eeg.dims, data, eeg.attrs))


def _simple_ratio(wanted: float) -> Fraction:
    """The fraction with the smallest denominator that is near enough."""
    denominator = 1
    while True:
        ratio = Fraction(round(wanted * denominator), denominator)
        if abs(float(ratio) / wanted - 1) <= _NEAR:
            return ratio
        denominator += 1


def _stages(ratio: Fraction, frequency: float, lowpass_hz: float) -> tuple[_Stage, ...]:
    up, down = ratio.numerator, ratio.denominator
    final = frequency * up / down
    # Two steps cost least when the first leaves a few times the final rate.
    first = max((d for d in range(1, down // 3 + 1) if down % d == 0), default=1) if up == 1 and down > 7 else 1
    stages = []
    if first > 1:
        stages.append(_stage(1, first, frequency, lowpass_hz, frequency / first - final / 2))
    stages.append(_stage(up, down // first, frequency / first, lowpass_hz, final / 2))
    return tuple(stages)


def _stage(up: int, down: int, frequency: float, keep_hz: float, stop_hz: float) -> _Stage:
    """Design the filter at the raised frequency; its length is odd, so that its middle is a sample."""
    raised = frequency * up
    width = (stop_hz - keep_hz) / (raised / 2)
    half = int(np.ceil((_ATTENUATION_DB - 7.95) / (2.285 * np.pi * width) / 2))
    window = ("kaiser", kaiser_beta(_ATTENUATION_DB))
    taps = firwin(2 * half + 1, (keep_hz + stop_hz) / 2, window=window, fs=raised) * up
    return _Stage(up, down, taps.astype(np.float32))


def _filter(block: np.ndarray, *, stages: tuple[_Stage, ...]) -> np.ndarray:
    results = []
    for trace in block:
        signal = np.asarray(trace, np.float32)
        for stage in stages:
            signal = _step(signal, stage)
        results.append(signal)
    return np.stack(results)


def _step(signal: np.ndarray, stage: _Stage) -> np.ndarray:
    """Filter with the ends held, so that output ``m`` lies at input sample ``m * down / up`` exactly."""
    half = len(stage.taps) // 2
    # The pad is a whole number of output steps in raised samples, so that the filter's middle meets sample 0.
    steps = -(-half // (stage.up * stage.down))
    pad = steps * stage.down
    padded = np.pad(signal, pad, mode="edge")
    skip = stage.up * pad
    lead = (-(half + skip)) % stage.down
    taps = np.concatenate([np.zeros(lead, np.float32), stage.taps]) if lead else stage.taps
    begin = (half + skip + lead) // stage.down
    count = stage.length(len(signal))
    return np.asarray(upfirdn(taps, padded, stage.up, stage.down)[begin : begin + count], np.float32)
