"""Scanning that has no volumes: dummies without markers, references and shims before the run, and what comes after."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from multimap_kernel.eeg.blocks import channels_of
from multimap_kernel.schema import InputError, require, sampling

Floats = NDArray[np.float64]

_ABOVE_HZ = 70.0
"""Above, EEG and muscles are small and the scanner is not."""
_SHARE = 0.05
"""Noise of this share of the run's own artifact is told; a twentieth of it no longer harms what lies beside..."""
_LEAST_V = 20e-6
"""... and no muscle reaches this in most channels."""
_BLOCK_S = 0.1
"""So long that mains and their harmonics fall on single frequencies of a block."""
_MAINS_HZ = (50.0, 60.0)
_LEAST_BLOCKS = 3
"""Fewer are the jump of an electrode, or the run's own artifact where its markers come early or late."""
_PIECE_BLOCKS = 600
_CHANNELS = 5
_VOLUMES = 5
"""Volumes at each end of the run that tell the size of its artifact."""


def find_unmarked_scanning(
    ds: xr.Dataset, *, repetition_time: float, volumes: int, dummies: int = 0
) -> tuple[tuple[float, float], ...]:
    """Find when the scanner ran outside the volumes that are known.

    No average can take such an artifact away, and every filter would carry it into the first and last volumes: hand
    the result to `blank_spans` before the EEG is filtered. A time is told where, above 70 Hz, without mains and in the
    median of five channels, the EEG has 20 microvolts and a twentieth of what it has in the volumes at that end of the
    run, for 0.3 s in all; pauses of up to one repetition time, also to the nearest volume, belong to it.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock, the gradient artifact still in it. What lies outside the
        volumes, and five of them at each end, is computed at once. Values next to missing ones stand for them.
    repetition_time
        Seconds from volume to volume.
    volumes
        Number of volumes.
    dummies
        Volumes before time 0 that have markers.

    Returns
    -------
    Begin and end of each time, s on the scanner clock, in their order; empty if the scanner was silent.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If ``repetition_time`` or ``volumes`` is not above 0, or ``dummies`` below 0.

    Notes
    -----
    The limits are our own, from simulation: reference scans as large as the run's own gave the first volume 42 times
    its beta power, those of a twentieth 1.1 times.
    """
    require(ds, "eeg", where="find_unmarked_scanning", clock="scanner")
    if repetition_time <= 0 or volumes < 1 or dummies < 0:
        raise InputError(
            f"repetition_time > 0 s, volumes >= 1 and dummies >= 0 must hold, found {repetition_time} s, {volumes} "
            f"and {dummies}"
        )
    axis = sampling(ds)
    first, last = -dummies * repetition_time, volumes * repetition_time
    reach = round(_VOLUMES * repetition_time * axis.frequency)
    begin, end = (
        int(np.clip(np.ceil((edge - axis.start) * axis.frequency - 1e-3), 0, axis.samples)) for edge in (first, last)
    )
    size = round(_BLOCK_S * axis.frequency)
    block, pause = size / axis.frequency, repetition_time
    sooner = _loud(ds, begin, slice(0, begin + reach), size)
    later = _loud(ds, axis.samples - end, slice(None, end - reach - 1 if end > reach else None, -1), size)
    before = [(max(first - far, axis.start), first - near) for near, far in _join(sooner, block, pause)]
    stop = axis.start + axis.samples / axis.frequency
    return (*before[::-1], *((last + near, min(last + far, stop)) for near, far in _join(later, block, pause)))


def _loud(ds: xr.Dataset, outside: int, part: slice, size: int) -> NDArray[np.bool_]:
    """Whether each whole block outside the volumes is loud, from the border outwards; a part runs towards the border.

    The filter runs that way too, so that nothing from within the volumes rings into what lies outside.
    """
    pool = channels_of(ds, "eeg")
    pool = pool if len(pool) else np.arange(ds.sizes["channel"])
    count, loudness = outside // size, []
    for channel in np.unique(pool[np.linspace(0, len(pool) - 1, _CHANNELS).round().astype(int)]):
        trace = np.asarray(ds["eeg"].data[int(channel), part] if count else [])[outside % size :]
        if len(trace) >= (count + 1) * size and np.isfinite(trace).any():
            power = _power(trace, size, sampling(ds).frequency)
            loudness.append(power[:count][::-1] / max(_LEAST_V**2, _SHARE**2 * float(power[count:].mean())))
    return np.median(loudness, axis=0) > 1 if loudness else np.zeros(0, bool)


def _power(trace: NDArray[np.floating], size: int, frequency: float) -> Floats:
    """Mean square of each block above 70 Hz, without mains and their harmonics; piece by piece, to spare memory."""
    high = signal.butter(4, min(_ABOVE_HZ, 0.3 * frequency), "high", fs=frequency, output="sos")
    hertz = np.fft.rfftfreq(size, 1 / frequency)
    kept = np.all([abs(hertz - mains * np.round(hertz / mains)) > 0.5 * hertz[1] for mains in _MAINS_HZ], axis=0)
    power, state, level = [], np.zeros((len(high), 2)), float(trace[np.isfinite(trace).argmax()])
    for start in range(0, len(trace) - size + 1, _PIECE_BLOCKS * size):
        piece = trace[start : start + _PIECE_BLOCKS * size].astype(np.float64) - level
        missing, known = np.flatnonzero(~np.isfinite(piece)), np.flatnonzero(np.isfinite(piece))
        piece[missing] = np.interp(missing, known, piece[known]) if len(known) else 0.0
        filtered, state = signal.sosfilt(high, piece, zi=state)
        blocks = filtered[: len(piece) // size * size].reshape(-1, size)
        power.append(2 / size**2 * (np.abs(np.fft.rfft(blocks)[:, kept]) ** 2).sum(axis=1))
    return np.concatenate(power)


def _join(noisy: NDArray[np.bool_], block: float, pause: float) -> list[tuple[float, float]]:
    """Distance of near and far end from the border (s) of each time; a block more, for the one it begins in."""
    places = np.flatnonzero(noisy)
    times = np.split(places, np.flatnonzero(np.diff(places) > round(pause / block) + 1) + 1)
    spans = [((one[0] - 1) * block, (one[-1] + 2) * block) for one in times if len(one) >= _LEAST_BLOCKS]
    return [(float(near) if near > pause else 0.0, float(far)) for near, far in spans]
