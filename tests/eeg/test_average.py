"""The average volume is the artifact that was put into every volume."""

import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.eeg.average import average_volume
from multimap_kernel.schema import InputError, SchemaError

TR, RATE, START, VOLUMES = 1.3, 501.7, -2.345, 24  # volumes begin between samples


def scanned(noise=0.0):
    time = START + np.arange(int((VOLUMES * TR + 6) * RATE)) / RATE
    phase = np.mod(time, TR)
    inside = (time >= 0) & (time < VOLUMES * TR)
    wave = 1e-3 * np.sin(2 * np.pi * 3 * phase / TR) * inside
    noise = noise * np.random.default_rng(0).standard_normal(time.size)
    return recording(np.stack([wave + noise, 5 - wave]), START, RATE)


def test_average_volume__is_the_wave_from_the_start_of_the_volume():
    average = average_volume(scanned(), repetition_time=TR, volumes=VOLUMES)
    phase = average["phase"].values
    assert phase.size == int(TR * RATE)
    assert average.attrs["volumes"] == VOLUMES
    truth = 1e-3 * np.sin(2 * np.pi * 3 * phase / TR)
    np.testing.assert_allclose(average["volume_average"][0], truth, atol=4e-6)  # a straight line between samples
    np.testing.assert_allclose(average["volume_average"][1], -truth, atol=6e-6)  # whatever the offset


def test_average_volume__takes_noise_down_by_the_root_of_the_volumes():
    average = average_volume(scanned(1e-4), repetition_time=TR, first=4, volumes=16)
    left = average["volume_average"][0].values - 1e-3 * np.sin(2 * np.pi * 3 * average["phase"].values / TR)
    assert 0.6 < left.std() / (1e-4 / 4) < 1.05  # the line between neighbours smooths a little more


def test_average_volume__passes_over_volumes_without_eeg():
    cut = scanned().isel(time=slice(0, int((10.5 * TR - START) * RATE)))
    assert average_volume(cut, repetition_time=TR, volumes=VOLUMES).attrs["volumes"] == 10


def test_average_volume__is_lazy_and_chunks_change_nothing():
    ds = scanned(1e-4)
    with max_computes(0):
        lazy = average_volume(lazily(ds, (1, 700)), repetition_time=TR, volumes=VOLUMES)
    whole = average_volume(ds, repetition_time=TR, volumes=VOLUMES)
    np.testing.assert_array_equal(lazy["volume_average"].values, whole["volume_average"].values)


def test_average_volume__refuses_another_clock_and_no_volume():
    with pytest.raises(SchemaError, match="scanner clock"):
        average_volume(scanned().assign_attrs(clock="eeg"), repetition_time=TR, volumes=2)
    with pytest.raises(InputError, match="one of 5 volumes from 90 on must lie inside the EEG"):
        average_volume(scanned(), repetition_time=TR, first=90, volumes=5)
