"""Density: a sine and white noise have the power that textbooks give them."""

import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.eeg.spectrum import spectrum
from multimap_kernel.schema import InputError, SchemaError

RATE = 250.0


def sine_and_noise(seconds=64.0):
    """10 µV at 12 Hz; white noise of 5 µV; microvolts are near the least float32 when squared."""
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(time.size)
    return recording(np.stack([10e-6 * np.sin(2 * np.pi * 12 * time), 5e-6 * noise]), -3.0, RATE)


def test_spectrum__integral_is_the_variance():
    density = spectrum(sine_and_noise())["density"]
    assert density.dtype == np.float32
    assert density.attrs["units"] == "V2/Hz"
    step = float(density["frequency"][1])
    assert step == pytest.approx(1 / 8)
    power = density.values.astype(float).sum(1) * step
    np.testing.assert_allclose(power, [50e-12, 25e-12], rtol=0.03)  # A**2 / 2, sigma**2
    assert float(density["frequency"][int(density.values[0].argmax())]) == 12.0
    np.testing.assert_allclose(np.median(density[1]), 25e-12 / (RATE / 2), rtol=0.15)


def test_spectrum__looks_at_the_stretch_alone():
    ds = sine_and_noise()
    ds["eeg"][0, : int(30 * RATE)] = 0.0
    assert float(spectrum(ds, stop=26.0)["density"][0].max()) == 0.0
    assert float(spectrum(ds, start=30.0)["density"][0].max()) > 1e-10


@pytest.mark.parametrize("chunks", [(1, 16_000), (2, 1000)])
def test_spectrum__is_lazy_and_chunks_change_nothing(chunks):
    ds = sine_and_noise()
    with max_computes(0):
        lazy = spectrum(lazily(ds, chunks), start=0.0, stop=40.0)
    np.testing.assert_array_equal(lazy["density"].values, spectrum(ds, start=0.0, stop=40.0)["density"].values)


def test_spectrum__refuses_what_it_cannot_tell():
    with pytest.raises(InputError, match="needs a stretch of 8 samples, found 0 between"):
        spectrum(sine_and_noise(), start=100.0)
    with pytest.raises(SchemaError, match="eeg"):
        spectrum(sine_and_noise().drop_vars("eeg"))
