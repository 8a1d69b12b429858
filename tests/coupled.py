"""Runs with known coupling for the tests of the joint model, and runs whose BOLD is slow enough to leak."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt

from multimap_kernel.simulate import simulate_features

CHANNELS = ("Fz", "FC1", "FC2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Oz")
LAGS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
BY_RUN = {"lags_s": LAGS, "kind": "run", "folds": 3, "gap_s": 16.0, "seed": 0}
BY_BLOCK = {"lags_s": LAGS, "kind": "block", "folds": 4, "gap_s": 16.0, "seed": 0}


def coupled_runs(
    count, *, seed=0, minutes=10.0, coupling="interaction", channels=CHANNELS, regions=None, task_effect=1.0
):
    """Runs of as many subjects; ``regions`` keeps every so many of the 24."""
    runs = {
        f"sub-{number + 1:02d}_task-flicker": simulate_features(
            f"{number + 1:02d}",
            seed=seed,
            minutes=minutes,
            coupling=coupling,
            channels=channels,
            task_effect=task_effect,
        )
        for number in range(count)
    }
    return {name: ds.isel(region=slice(None, None, regions)) for name, ds in runs.items()}


def slow_null(count, seed, minutes=6.0):
    """Runs without coupling whose regions wander slowly (0.01-0.08 Hz), as resting BOLD does."""
    runs = coupled_runs(count, seed=seed, minutes=minutes, coupling=0, regions=2)
    draw = np.random.default_rng([seed, 7])
    band = butter(2, (0.01, 0.08), "bandpass", fs=0.5, output="sos")
    for ds in runs.values():
        slow = sosfiltfilt(band, draw.standard_normal(ds["region_series"].shape), axis=0)
        ds["region_series"] = ds["region_series"] * 0.3 + (slow / slow.std(axis=0)).astype(np.float32)
    return runs
