"""Power of EEG bands, within each volume and in bins of 0.1 s."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import channels_of, map_channels
from multimap_kernel.eeg.spans import overlaps
from multimap_kernel.schema import InputError, Sampling, annotate, require, sampling

Floats = NDArray[np.float64]

BIN_S = 0.1
"""Length of a bin of ``band_power_fine``."""
_EDGE_HZ = 0.5
"""Width over which a band opens and closes; half of the power passes at the band's very limit."""
_PAD_S = 4.0
"""Mirrored signal at both ends, as long as the response of a band's edges."""


def band_power(
    ds: xr.Dataset, *, bands: Mapping[str, tuple[float, float]], repetition_time: float, volumes: int
) -> xr.Dataset:
    """Mean power of each band, exact in time: a mean over each interval, not a sample of a smoothed envelope.

    The band's part of the spectrum gives the analytic signal z; its power is ``|z|**2 / 2``, so that a sine of
    amplitude A has A**2 / 2 and white noise has its share of the variance. Each sample stands for the time around
    it, and a sample on the border of an interval counts with its part inside.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock, artifacts removed; only channels of type ``eeg`` are taken.
        ``bad_span (span, end; s)``, if there.
    bands
        Name and limits (low, high) of each band, Hz.
    repetition_time
        Seconds from volume to volume.
    volumes
        Number of volumes.

    Returns
    -------
    ``band_power (time, channel, band; V2)`` for each volume, NaN where the EEG does not cover the volume whole or
    a bad span touches it, with
    ``time`` (s) and ``volume``; ``band_power_fine (bin, channel, band; V2)`` for the bins of 0.1 s that begin at
    whole multiples of 0.1 s on the scanner clock, from the first one at or after 0 s that the EEG covers to the last
    one before the end of the last volume or of the EEG; ``bin`` (s) is the centre. Float32. ``channel_type``,
    ``position`` and ``good`` of the EEG channels are kept. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If a band does not lie between 0 and half the sampling frequency, there is no EEG channel, or no volume is
        covered.

    Notes
    -----
    Within half a second of the recording's ends the signal beyond is unknown, and bins are less exact.

    References
    ----------
    Le Van Quyen et al. (2001), J. Neurosci. Methods 111, 83-98 (analytic signal of bands).
    """
    require(ds, "eeg", where="band_power", clock="scanner")
    axis = sampling(ds)
    for name, (low, high) in bands.items():
        if not 0 < low < high <= axis.frequency / 2 - _EDGE_HZ:
            raise InputError(
                f"band {name!r} must lie between 0 and {axis.frequency / 2 - _EDGE_HZ:g} Hz, found {low:g} to {high:g}"
            )
    chosen = channels_of(ds, "eeg")
    begin, end, covered = _intervals(axis, repetition_time, volumes)
    if not len(chosen) or not bands or not covered.any():
        raise InputError(
            f"band_power needs an EEG channel, a band and a volume that the EEG covers, found {len(chosen)}, "
            f"{len(bands)} and {covered.sum()} of {volumes}; check channel types and alignment"
        )
    part = ds.isel(channel=chosen)
    shape = (len(bands), len(begin))
    power = map_channels(
        part["eeg"], _mean_power, shape, limits=tuple(bands.values()), axis=axis, begin=begin, end=end
    ).transpose(2, 0, 1)
    coarse, fine = power[:volumes], power[volumes:]
    bad = overlaps(ds, begin, end)
    coarse = xr.DataArray(coarse, dims=("time", "channel", "band"), name="band_power")
    coarse = coarse.where(xr.DataArray(covered & ~bad[:volumes], dims="time"))
    fine = xr.DataArray(fine, dims=("bin", "channel", "band"), name="band_power_fine")
    fine = fine.where(xr.DataArray(~bad[volumes:], dims="bin"))
    kept = part[[name for name in ("channel_type", "position") if name in part]]
    return (
        kept.drop_dims("time", errors="ignore")
        .assign(band_power=annotate(coarse), band_power_fine=annotate(fine))
        .assign_coords(
            time=("time", np.arange(volumes) * float(repetition_time)),
            volume=("time", np.arange(volumes)),
            bin=("bin", (begin[volumes:] + end[volumes:]) / 2),
            band=list(bands),
        )
        .assign_attrs(ds.attrs | {"repetition_time": float(repetition_time)})
    )


def _intervals(axis: Sampling, repetition_time: float, volumes: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Begin and end (s) of all volumes and then of all bins; which volumes are covered, to within one sample."""
    step = 1.0 / axis.frequency
    last = axis.start + axis.samples * step
    volume = np.arange(volumes + 1) * float(repetition_time)
    covered = (volume[:-1] >= axis.start - step) & (volume[1:] <= last + step)
    first_bin = max(0, int(np.ceil((axis.start - step) / BIN_S)))
    end_bin = int(np.floor((min(volume[-1], last) + step) / BIN_S))
    bins = np.arange(first_bin, max(end_bin, first_bin) + 1) * BIN_S
    return np.concatenate([volume[:-1], bins[:-1]]), np.concatenate([volume[1:], bins[1:]]), covered


def _mean_power(
    block: np.ndarray,
    *,
    limits: tuple[tuple[float, float], ...],
    axis: Sampling,
    begin: Floats,
    end: Floats,
) -> np.ndarray:
    samples = axis.samples
    pad = min(round(_PAD_S * axis.frequency), samples - 1)
    size = scipy.fft.next_fast_len(samples + 2 * pad)
    f = np.arange(size // 2 + 1) * (axis.frequency / size)
    place = np.clip(np.stack([begin, end]) * axis.frequency - axis.start * axis.frequency + 0.5, 0, samples)
    width = np.maximum(place[1] - place[0], 1e-9)
    means = np.empty((len(block), len(limits), len(begin)), np.float32)
    for row, trace in enumerate(block):
        padded = np.pad(np.asarray(trace, np.float32), (pad, pad), mode="reflect")
        spectrum = scipy.fft.rfft(padded, size)
        for column, (low, high) in enumerate(limits):
            inside = slice(*np.searchsorted(f, [low - _EDGE_HZ / 2, high + _EDGE_HZ / 2]))
            analytic = np.zeros(size, np.complex64)
            analytic[inside] = 2 * spectrum[inside] * _gain(f[inside], low, high)
            analytic = scipy.fft.ifft(analytic, overwrite_x=True)[pad : pad + samples]
            power = (analytic.real**2 + analytic.imag**2) / 2
            means[row, column] = np.diff(_integral(power, place), axis=0)[0] / width
    return means


def _gain(f: Floats, low: float, high: float) -> NDArray[np.float32]:
    """Amplitude gain whose square rises and falls as a cosine, so that bands side by side share their power."""
    rise = np.clip((f - low) / _EDGE_HZ + 0.5, 0, 1)
    fall = np.clip((high - f) / _EDGE_HZ + 0.5, 0, 1)
    return (np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall)).astype(np.float32)


def _integral(power: np.ndarray, place: Floats) -> Floats:
    """Sum of the samples up to fractional places, each sample reaching from its number to the next one."""
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    whole = np.minimum(np.floor(place).astype(np.int64), len(power) - 1)
    return np.asarray(total[whole] + (place - whole) * power[whole])
