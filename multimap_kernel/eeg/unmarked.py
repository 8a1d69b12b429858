"""Scanning that has no volumes: dummies without markers, references and shims before the run, and what comes after."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, signal

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
_CHANNELS = 5
_VOLUMES = 5
"""Volumes at each end of the run that tell the size of its artifact."""


def find_unmarked_scanning(
    ds: xr.Dataset, *, repetition_time: float, volumes: int, dummies: int = 0
) -> tuple[tuple[float, float], ...]:
    """Find when the scanner ran outside the volumes that are known.

    No average can take such an artifact away, and every filter would carry it into the first and last volumes: hand
    the result to `blank_spans` before the EEG is filtered. A time is told where, above 70 Hz and in the median of five
    channels, the EEG has 20 microvolts and a twentieth of what it has in the volumes at that end of the run, for 0.3 s
    or up to a volume; pauses of up to one repetition time belong to it.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock, the gradient artifact still in it. What lies outside the
        volumes, and five of them at each end, is computed at once.
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
    sooner = _loud(ds, begin, slice(0, begin + reach), axis.frequency)
    later = _loud(ds, axis.samples - end, slice(None, end - reach - 1 if end > reach else None, -1), axis.frequency)
    before = [(max(first - far, axis.start), first - near) for near, far in _join(sooner, repetition_time)]
    stop = axis.start + axis.samples / axis.frequency
    return (*before[::-1], *((last + near, min(last + far, stop)) for near, far in _join(later, repetition_time)))


def _loud(ds: xr.Dataset, outside: int, part: slice, frequency: float) -> NDArray[np.bool_]:
    """Whether each block outside the volumes is loud, from the border outwards; a part runs towards the border.

    The filter runs that way too, so that nothing from within the volumes rings into what lies outside.
    """
    high = signal.butter(4, min(_ABOVE_HZ, 0.3 * frequency), "high", fs=frequency, output="sos")
    pool = channels_of(ds, "eeg")
    pool = pool if len(pool) else np.arange(ds.sizes["channel"])
    starts = np.arange(0, outside, round(_BLOCK_S * frequency))
    loudness = []
    for channel in np.unique(pool[np.linspace(0, len(pool) - 1, _CHANNELS).round().astype(int)]):
        trace = np.asarray(ds["eeg"].data[int(channel), part] if outside else [], np.float64)
        if outside < len(trace) and np.isfinite(trace).all():
            energy = signal.sosfilt(high, trace - trace[0]) ** 2
            blocks = np.add.reduceat(energy[:outside][::-1], starts) / np.diff(starts, append=outside)
            loudness.append(np.sqrt(blocks) / max(_LEAST_V, _SHARE * float(np.sqrt(energy[outside:].mean()))))
    return np.median(loudness, axis=0) > 1 if loudness else np.zeros(0, bool)


def _join(noisy: NDArray[np.bool_], pause: float) -> list[tuple[float, float]]:
    """Distance of near and far end from the border (s) of each time; a block more, for the one it begins in."""
    lasting = ndimage.binary_opening(np.concatenate([[True, True], noisy]), np.ones(3))[2:]  # no jump of an electrode
    spans: list[tuple[float, float]] = []
    for place in np.flatnonzero(lasting) * _BLOCK_S:
        near = spans.pop()[0] if spans and place - spans[-1][1] <= pause else max(0.0, float(place) - _BLOCK_S)
        spans.append((near if near > pause else 0.0, float(place) + 2 * _BLOCK_S))
    return spans
