"""Take the gradient artifact out of EEG recorded during scanning, by sub-sample-aligned average subtraction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import channels_of, map_channels, whole
from multimap_kernel.eeg.saturation import saturated_share
from multimap_kernel.eeg.template import mean_of_others, outlying
from multimap_kernel.schema import InputError, Sampling, require, sampling

Floats = NDArray[np.float64]

_LEAST_VOLUMES = 5
_PAD = 64
"""Samples around each epoch that take the ringing of the fractional shift."""
_LOW_HZ = 20.0
"""Below, EEG is strong: delays and gains are fitted above."""
_EEG_HZ = 70.0
"""Up to here each channel tells which of its volumes hold a movement or an electrode pop."""
_REFERENCES = 3
"""Channels that the delays of the volumes are found on."""
_PLAIN = 10.0
"""Least energy of the mean epoch, in units of what the mean of pure noise has, to fit delays on it."""
_STEEP = 7.0
"""A slope this many times further from the median slope than the median volume's is no drift of EEG."""
_OUTLIER = 25.0
"""An epoch this many times further from its template than the median epoch (in energy) enters no template."""


@dataclass(frozen=True)
class _Layout:
    """Where the volumes lie in the samples; all arrays have one entry per volume that the EEG touches."""

    first: NDArray[np.int64]
    fraction: Floats
    count: NDArray[np.int64]
    whole: NDArray[np.bool_]
    volume: NDArray[np.int64]
    length: int
    samples: int
    low_bin: int
    eeg_bin: int

    @property
    def size(self) -> int:
        return int(scipy.fft.next_fast_len(self.length + 2 * _PAD, real=True))

    @property
    def nearest(self) -> NDArray[np.int64]:
        """The whole volume next to each volume."""
        whole = np.flatnonzero(self.whole)
        distance = np.abs(np.arange(len(self.first))[:, None] - whole[None])
        return np.asarray(whole[distance.argmin(1)])


def remove_gradient_artifact(
    ds: xr.Dataset, *, repetition_time: float, volumes: int, window: int = 30, dummies: int = 0
) -> xr.Dataset:
    """Subtract from each volume the mean artifact of the volumes around it.

    Volume ``k`` lasts from ``k * repetition_time`` to the next one, which is a fraction of a sample on the EEG's
    grid. Epochs are brought to one phase by a Fourier shift, by the clock first and then by what the artifact itself
    tells (jitter of single volumes, found on three channels). The template of a volume is the mean of the ``window``
    volumes nearest to it, never itself, without their linear trends, scaled by least squares and shifted back. A volume
    that is unlike all around it in a channel (a movement, an electrode pop) enters no template of that channel. First
    and last volumes get templates from the inner side. Volumes cut by an end of the recording are corrected by their
    neighbours' template and enter none; samples outside all volumes are not changed.

    Parameters
    ----------
    ds
        Recording ``eeg (channel, time; V)`` on the scanner clock. Every channel is corrected, the ECG too.
    repetition_time
        Seconds from volume to volume.
    volumes
        Number of volumes.
    window
        Volumes in a template.
    dummies
        Volumes before time 0 that were scanned but not kept.

    Returns
    -------
    The Dataset with a corrected ``eeg``, float32, lazy if it was, the attribute ``repetition_time``, and ``saturated
    (channel, volume; 1)``, the share of each volume's samples at an end of the amplifier's range.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If the EEG covers fewer than 5 volumes whole, or an option is out of range.

    Notes
    -----
    The error of a template is the EEG of the others: at best ``10 log10(window)`` dB below the EEG. Delays and gains
    are fitted above 20 Hz; a channel without artifact gets a gain near 0 and stays as it is.

    References
    ----------
    Allen, Josephs & Turner (2000), NeuroImage 12, 230-239. Niazy et al. (2005), NeuroImage 28, 720-737.
    """
    require(ds, "eeg", where="remove_gradient_artifact", clock="scanner")
    if repetition_time <= 0 or volumes < 1 or window < _LEAST_VOLUMES or dummies < 0:
        raise InputError(
            f"repetition_time > 0 s, volumes >= 1, window >= {_LEAST_VOLUMES} and dummies >= 0 must hold, found "
            f"{repetition_time} s, {volumes}, {window} and {dummies}"
        )
    layout = _lay_out(sampling(ds), repetition_time, np.arange(-dummies, volumes + 1))
    if layout.whole.sum() < _LEAST_VOLUMES:
        raise InputError(
            f"the EEG must cover at least {_LEAST_VOLUMES} volumes whole for an average, found {layout.whole.sum()} of "
            f"{volumes}; check the alignment, or leave out the gradient step"
        )
    eeg = ds["eeg"]
    timing = _timing_of(eeg, channels_of(ds, "eeg"), layout)
    data = map_channels(eeg, _subtract, (layout.samples,), timing=timing, layout=layout, window=window)
    edges = np.append(layout.first, layout.first[-1] + layout.count[-1])
    corrected = ds.assign(eeg=(eeg.dims, data, eeg.attrs), saturated=saturated_share(eeg, edges, layout.volume))
    return corrected.assign_attrs(repetition_time=float(repetition_time))


def _lay_out(axis: Sampling, repetition_time: float, volume: NDArray[np.int64]) -> _Layout:
    edge = (volume * repetition_time - axis.start) * axis.frequency
    first = np.ceil(edge - 1e-3).astype(np.int64)
    touched = (first[1:] > 0) & (first[:-1] < axis.samples)
    whole = (edge[:-1] > -0.5) & (edge[1:] < axis.samples + 0.5)
    length = int(np.ceil(repetition_time * axis.frequency)) + 1
    size = scipy.fft.next_fast_len(length + 2 * _PAD, real=True)
    return _Layout(
        first=first[:-1][touched],
        fraction=(first - edge)[:-1][touched],
        count=np.diff(first)[touched],
        whole=whole[touched],
        volume=volume[:-1][touched],
        length=length,
        samples=axis.samples,
        low_bin=min(int(np.ceil(_LOW_HZ * size / axis.frequency)), size // 4),
        eeg_bin=min(int(np.ceil(_EEG_HZ * size / axis.frequency)), size // 2) + 1,
    )


def _timing_of(eeg: xr.DataArray, candidates: NDArray[np.int64], layout: _Layout) -> Any:
    """Delay and weight of each volume from a few channels; lazy on Dask input."""
    pool = candidates if len(candidates) else np.arange(eeg.sizes["channel"])
    chosen = np.unique(pool[np.linspace(0, len(pool) - 1, _REFERENCES + 2).round().astype(int)[1:-1]])
    # one channel a task: whole channels of a long recording are large
    told = [whole(eeg.data[[one]], _channel_timing, (3, len(layout.first)), layout=layout) for one in chosen]
    together = da.stack(told) if isinstance(told[0], da.Array) else np.stack(told)
    return whole(together, _agree, (2, len(layout.first)), layout=layout)


def _channel_timing(traces: np.ndarray, *, layout: _Layout) -> Floats:
    """What one channel (1, time) tells: delay of each volume (samples), who strays, how much it knows (repeated)."""
    if not np.isfinite(traces).all():
        return np.zeros((3, len(layout.first)))
    delay, information, stray = _fit_delays(_spectra(traces[0], layout)[:, layout.low_bin :], layout)
    return np.stack([delay, stray, np.full(len(delay), information)])


def _agree(told: Floats, *, layout: _Layout) -> Floats:
    """Two rows: delay of each volume against the clock (samples); 1 if a template may use the volume, else 0."""
    told = told[told[:, 2, 0] > 0]  # a flat or broken channel has no say
    delay = np.average(told[:, 0], axis=0, weights=told[:, 2, 0]) if len(told) else np.zeros(len(layout.first))
    complete = layout.whole.astype(np.float64)
    usable = complete * (told[:, 1].sum(0) <= len(told) // 2)
    if usable.sum() < max(_LEAST_VOLUMES, 0.8 * complete.sum()):
        usable = complete  # what strays this often is the rule, not the exception
    return np.stack([delay[layout.nearest], usable])


def _fit_delays(spectra: np.ndarray, layout: _Layout) -> tuple[Floats, float, NDArray[np.bool_]]:
    """Gauss-Newton on the shift of each epoch against the mean of all; how much the channel tells; who strays."""
    omega = (2 * np.pi / layout.size * (layout.low_bin + np.arange(spectra.shape[1]))).astype(np.float32)
    delay = np.zeros(len(layout.first))
    energy, along, gain = np.empty_like(delay), np.empty_like(delay), np.empty_like(delay)
    shifted = np.empty_like(spectra)
    whole = layout.whole
    for _ in range(4):
        for rows in _parts(len(delay)):
            turn = -1j * omega * (layout.fraction - delay)[rows, None].astype(np.float32)
            np.multiply(spectra[rows], np.exp(turn), out=shifted[rows])
        mean = (whole.astype(np.float32) @ shifted) / np.float32(whole.sum())
        power = float(_inner(mean[None], mean)[0])
        slope = -1j * omega * mean  # a later artifact is the mean minus delay times its derivative
        steepness = max(float(_inner(slope[None], slope)[0]), 1e-30)
        for rows in _parts(len(delay)):
            gain[rows] = _inner(shifted[rows], mean) / max(power, 1e-30)
            rest = shifted[rows] - gain[rows, None].astype(np.float32) * mean
            energy[rows], along[rows] = _inner(rest, rest), _inner(rest, slope)
        if power * whole.sum() < _PLAIN * max(float(np.median(energy[whole])), 1e-30):
            return np.zeros(len(delay)), 0.0, np.zeros(len(delay), bool)
        delay = delay + along / (np.maximum(gain, 0.1) * steepness)
        delay -= delay[whole].mean()
    typical = max(float(np.median(energy[whole])), 1e-30)
    return delay, steepness / typical, energy > _OUTLIER * typical


def _parts(count: int, size: int = 128) -> Iterator[slice]:
    """Slices of so many rows or columns: what is made on the way stays small, however long the recording."""
    return (slice(first, first + size) for first in range(0, count, size))


def _inner(rows: np.ndarray, other: np.ndarray) -> Floats:
    """Real inner products of complex rows with one complex vector, or row by row."""
    a, b = np.ascontiguousarray(rows).view(np.float32), np.ascontiguousarray(other).view(np.float32)
    return np.asarray(np.einsum("ij,j->i" if b.ndim == 1 else "ij,ij->i", a, b), np.float64)


def _spectra(trace: np.ndarray, layout: _Layout) -> np.ndarray:
    """Spectra of all epochs; each epoch loses its mean and its slope against the mean slope of all.

    The artifact has the same slope in every volume, so that only the slow drift of the EEG is kept out of the
    template. An electrode that pops gives its volume a slope that is no part of that mean.
    """
    slope = np.concatenate([_trend(_epochs(trace, rows, layout), layout)[1] for rows in _parts(len(layout.first))])
    known = slope[layout.whole]
    away = np.abs(known - np.median(known))
    slope -= known[~(away > _STEEP * np.median(away))].mean()
    line = np.arange(layout.size, dtype=np.float32) - _PAD - (layout.length - 2) / 2
    spectra = np.empty((len(layout.first), layout.size // 2 + 1), np.complex64)
    for rows in _parts(len(layout.first)):
        epochs = _epochs(trace, rows, layout)
        epochs -= _trend(epochs, layout)[0][:, None]
        epochs -= slope[rows, None] * line
        spectra[rows] = scipy.fft.rfft(epochs, axis=1, overwrite_x=True)
    return spectra


def _epochs(trace: np.ndarray, rows: slice, layout: _Layout) -> np.ndarray:
    """Some volumes with `_PAD` samples before and after each."""
    around = np.arange(-_PAD, layout.size - _PAD)
    place = layout.first[rows, None] + around
    # No volume comes before the first and after the last; their neighbours' surroundings keep the phases unbiased.
    if rows.start == 0:
        place[0, :_PAD] = layout.first[1] + around[:_PAD]
    if rows.stop >= len(layout.first):
        after = _PAD + layout.count[-1]
        place[-1, after:] = layout.first[-2] + around[after:]
    return np.asarray(trace[np.clip(place, 0, layout.samples - 1)], np.float32)


def _trend(epochs: np.ndarray, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Mean and slope of each epoch, float32."""
    inside = epochs[:, _PAD : _PAD + layout.length - 1]
    mean = inside.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
    ramp = np.arange(inside.shape[1], dtype=np.float32) - (inside.shape[1] - 1) / 2
    return mean[:, 0], (inside - mean) @ ramp / np.float32(ramp @ ramp)


def _subtract(block: np.ndarray, *, timing: Floats, layout: _Layout, window: int) -> np.ndarray:
    delay, weight = timing
    inside = np.arange(layout.length) < layout.count[:, None]
    inside &= (layout.first[:, None] + np.arange(layout.length) >= 0) & (
        layout.first[:, None] + np.arange(layout.length) < layout.samples
    )
    begin = max(int(layout.first[0]), 0)
    corrected = np.array(block, np.float32)
    for trace in corrected:
        artifact = _artifact(_spectra(trace, layout), delay, weight, layout, window)
        part = artifact[:, _PAD : _PAD + layout.length][inside]  # volumes follow each other without gap
        trace[begin : begin + part.size] -= part
    return corrected


def _artifact(spectra: np.ndarray, delay: Floats, weight: Floats, layout: _Layout, window: int) -> np.ndarray:
    """Scaled template of each epoch, back at the epoch's own phase; bin after bin, since bins do not mix."""
    omega = (2 * np.pi / layout.size * np.arange(spectra.shape[1])).astype(np.float32)
    late = (layout.fraction - delay)[:, None].astype(np.float32)
    slow = slice(0, layout.eeg_bin)
    told = spectra[:, slow] * np.exp(-1j * omega[slow] * late)
    weight = weight * ~outlying(told.view(np.float32), weight, window)
    energy, along = np.zeros(len(spectra)), np.zeros(len(spectra))
    for bins in _parts(spectra.shape[1], 512):
        own = spectra[:, bins] * np.exp(-1j * omega[bins] * late)
        mean = (weight @ own / weight.sum()).astype(np.complex64)
        template = mean_of_others(own - mean, weight, window) + mean  # small sums are exact enough in float32
        high = slice(max(layout.low_bin - bins.start, 0), None)
        energy += _inner(template[:, high], template[:, high])
        along += _inner(own[:, high], template[:, high])
        spectra[:, bins] = template * np.exp(1j * omega[bins] * late)
    gain = np.clip(along / np.maximum(energy, 1e-30), 0.0, 2.0)[layout.nearest]
    spectra *= gain.astype(np.float32)[:, None]
    return np.asarray(scipy.fft.irfft(spectra, layout.size, axis=1, overwrite_x=True))
