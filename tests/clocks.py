"""Markers of volumes as an amplifier writes them, and the volumes that they belong to."""

import numpy as np
import xarray as xr

from multimap_kernel.schema import regular_time, volume_coordinates

FREQUENCY = 5000.0


def recording(onsets: dict[str, np.ndarray], duration: float, frequency: float = FREQUENCY) -> xr.Dataset:
    onset = np.concatenate(list(onsets.values()))
    label = np.concatenate([np.full(len(part), name, dtype="U32") for name, part in onsets.items()])
    order = np.argsort(onset, kind="stable")
    return xr.Dataset(
        {"marker_onset": ("marker", onset[order]), "marker_label": ("marker", label[order])},
        coords=regular_time(0.0, frequency, round(duration * frequency)),
        attrs={"clock": "eeg"},
    )


def volumes(count: int, repetition_time: float) -> xr.Dataset:
    return xr.Dataset(coords=volume_coordinates(count, repetition_time), attrs={"repetition_time": repetition_time})


def markers(count=120, repetition_time=2.0, offset=10.0123, ppm=8.0, jitter_s=0.0, seed=0, rounding=np.ceil):
    late = jitter_s * np.random.default_rng(seed).standard_normal(count)
    onset = offset + (1 + ppm * 1e-6) * (np.arange(count) * repetition_time + late)
    return rounding(onset * FREQUENCY) / FREQUENCY
