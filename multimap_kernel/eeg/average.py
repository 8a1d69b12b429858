"""The mean course of the EEG within a volume: what is locked to the scanner."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.eeg.blocks import map_channels
from multimap_kernel.schema import InputError, annotate, require, sampling


def average_volume(ds: xr.Dataset, *, repetition_time: float, first: int = 0, volumes: int) -> xr.Dataset:
    """Average the EEG over volumes: of a raw recording the gradient artifact, of a clean one what is left of it.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)`` on the scanner clock.
    repetition_time
        Seconds from volume to volume.
    first, volumes
        First volume, and how many; those that the EEG does not cover whole are passed over.

    Returns
    -------
    ``volume_average (channel, phase; V)`` float32, without its mean, with ``phase`` (s) from the start of the volume
    at the recording's sampling frequency, and the attribute ``volumes``, how many went in. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``eeg`` on the scanner clock.
    InputError
        If no volume is covered whole.

    Notes
    -----
    Volumes begin between samples; values there are taken from the straight line between the neighbours. What is not
    locked to the scanner remains with ``1 / sqrt(volumes)`` of its size.

    References
    ----------
    Allen, Josephs & Turner (2000), NeuroImage 12, 230-239.
    """
    require(ds, "eeg", where="average_volume", clock="scanner")
    axis = sampling(ds)
    phase = np.arange(max(1, int(np.floor(repetition_time * axis.frequency + 1e-6)))) / axis.frequency
    starts = (np.arange(first, first + volumes) * repetition_time - axis.start) * axis.frequency
    inside = (starts >= -1e-6) & (starts + len(phase) <= axis.samples)
    if not inside.any():
        raise InputError(f"one of {volumes} volumes from {first} on must lie inside the EEG, found none; see alignment")
    data = map_channels(
        ds["eeg"], _mean_epoch, (len(phase),), starts=np.maximum(starts[inside], 0.0), length=len(phase)
    )
    average = annotate(xr.DataArray(data, dims=("channel", "phase"), name="volume_average"))
    kept = ds[["channel_type"]] if "channel_type" in ds else ds[[]]
    made = kept.drop_vars("time", errors="ignore").assign(volume_average=average).assign_coords(phase=phase)
    return made.assign_attrs(volumes=int(inside.sum()))


def _mean_epoch(block: np.ndarray, *, starts: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    total = np.zeros((len(block), length))
    last = block.shape[1] - 1
    for start in starts:
        whole = int(start)
        share = start - whole
        epoch = block[:, whole : whole + length]
        following = block[:, np.minimum(np.arange(whole + 1, whole + 1 + length), last)]
        total += (1 - share) * epoch + share * following
    mean = total / len(starts)
    return np.asarray(mean - mean.mean(1, keepdims=True), np.float32)
