"""Decimation: sines of known frequency keep or lose their amplitude, and nothing moves in time."""

import dask.array as da
import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.eeg import decimate
from multimap_kernel.schema import InputError, sampling


def sines(frequency: float, start: float, seconds: float, *hertz: float) -> np.ndarray:
    time = start + np.arange(round(seconds * frequency)) / frequency
    return np.stack([np.sin(2 * np.pi * hz * time + 0.3) for hz in hertz])


@pytest.mark.parametrize(
    ("frequency", "ratio"), [(5000.04, 20), (1000.0, 4), (2048.0, 41 / 5), (2500.0, 10), (500.0, 2), (5000 / 7, 20 / 7)]
)
def test_decimate__keeps_the_band_and_its_times(frequency, ratio):
    values = sines(frequency, -3.7, 8.0, 1.0, 10.0, 69.0)
    found = decimate(recording(values, -3.7, frequency))
    axis = sampling(found)
    assert axis.start == -3.7
    assert axis.frequency == pytest.approx(frequency / ratio, rel=1e-12)
    time = axis.start + np.arange(axis.samples) / axis.frequency
    truth = np.stack([np.sin(2 * np.pi * hz * time + 0.3) for hz in (1.0, 10.0, 69.0)])
    inner = slice(50, -50)
    np.testing.assert_allclose(found["eeg"].values[:, inner], truth[:, inner], atol=3e-4)


@pytest.mark.parametrize("frequency", [5000.0, 2048.0])
def test_decimate__lets_no_alias_through(frequency):
    """Everything above 125 Hz is 80 dB down (1e-4), wherever it would fold to."""
    values = sines(frequency, 0.0, 6.0, 126.0, 180.0, 240.0, 260.0, 490.0, 740.0, 875.0, 1010.0)
    found = decimate(recording(values, 0.0, frequency))["eeg"].values
    assert np.abs(found[:, 100:-100]).max() < 2e-4


def test_decimate__matches_a_dense_filter():
    """Band-limited noise, sampled at 250 Hz from its own Fourier series."""
    rng = np.random.default_rng(0)
    hertz, phase = rng.uniform(0.5, 69, 50), rng.uniform(0, 2 * np.pi, 50)
    wave = lambda time: np.cos(2 * np.pi * hertz[:, None] * time + phase[:, None]).sum(0)[None]  # noqa: E731
    found = decimate(recording(wave(np.arange(50000) / 5000), 0.0, 5000.0))["eeg"].values
    truth = wave(np.arange(2500) / 250)
    assert found.shape == truth.shape
    assert np.abs(found - truth)[:, 60:-60].max() < 2e-3 * np.abs(truth).max()


def test_decimate__holds_the_ends():
    found = decimate(recording(np.full((1, 20001), 3.0), 0.0, 5000.0))["eeg"].values
    assert found.shape == (1, 1001)
    np.testing.assert_allclose(found, 3.0, rtol=1e-3)


@pytest.mark.parametrize("chunks", [(1, 10000), (3, 3333), (2, -1)])
def test_decimate__chunks_change_nothing(chunks):
    ds = recording(np.random.default_rng(0).standard_normal((3, 25011)), 0.0, 5000.0)
    plain = decimate(ds)["eeg"]
    with max_computes(0):
        lazy = decimate(lazily(ds, chunks))["eeg"]
    assert isinstance(lazy.data, da.Array)
    assert lazy.dtype == np.float32
    np.testing.assert_allclose(lazy.values, plain.values, atol=1e-5 * np.abs(plain.values).max())


def test_decimate__equal_frequency_is_left_alone():
    ds = recording(np.zeros((1, 1000)), 0.0, 250.002)
    assert decimate(ds) is ds


def test_decimate__refuses():
    ds = recording(np.zeros((1, 1000)), 0.0, 200.0)
    with pytest.raises(InputError, match="sampling_hz <= the recording's must hold, found 70, 250 and 200 Hz"):
        decimate(ds)
    with pytest.raises(InputError, match="lowpass_hz < sampling_hz / 2"):
        decimate(ds, sampling_hz=100.0, lowpass_hz=60.0)
