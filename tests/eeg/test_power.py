"""Band power: sines and white noise whose power is known by formula."""

import dask.array as da
import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.config import Features
from multimap_kernel.eeg import band_power
from multimap_kernel.schema import InputError, SchemaError

FREQUENCY = 250.002
BANDS = Features().bands


def power(values, start=-5.0, volumes=40, repetition_time=2.0, bands=BANDS, kinds=None):
    ds = recording(values, start, FREQUENCY, kinds)
    return band_power(ds, bands=bands, repetition_time=repetition_time, volumes=volumes)


def times(seconds, start=-5.0):
    return start + np.arange(round(seconds * FREQUENCY)) / FREQUENCY


def test_band_power__of_a_sine_is_half_its_squared_amplitude():
    time = times(90)
    found = power(np.stack([20e-6 * np.sin(2 * np.pi * 10.3 * time), 5e-6 * np.sin(2 * np.pi * 20 * time + 1)]))
    alpha, beta = (found["band_power"].sel(band=name) for name in ("alpha", "beta"))
    np.testing.assert_allclose(alpha.sel(channel="E0"), (20e-6) ** 2 / 2, rtol=1e-3)
    np.testing.assert_allclose(beta.sel(channel="E1"), (5e-6) ** 2 / 2, rtol=1e-3)
    assert found["band_power"].sel(channel="E0", band="beta").max() < 1e-5 * (20e-6) ** 2
    np.testing.assert_allclose(found["band_power_fine"].sel(channel="E0", band="alpha"), (20e-6) ** 2 / 2, rtol=5e-3)


def test_band_power__of_white_noise_is_its_share_of_the_variance():
    noise = 1e-5 * np.random.default_rng(0).standard_normal((4, round(900 * FREQUENCY)))
    found = power(noise, volumes=440)["band_power"].mean(["time", "channel"])
    for name, (low, high) in BANDS.items():
        share = 1e-10 * (high - low) / (FREQUENCY / 2)
        assert float(found.sel(band=name)) == pytest.approx(share, rel=0.05)


def test_band_power__bands_side_by_side_share_what_lies_between():
    """Delta ends where theta begins: a sine at their limit gives half of its power to each."""
    found = power(1e-5 * np.sin(2 * np.pi * 4.0 * times(90))[None])["band_power"].isel(channel=0).mean("time")
    assert float(found.sel(band="delta")) == pytest.approx(0.25e-10, rel=0.02)
    assert float(found.sel(band="theta")) == pytest.approx(0.25e-10, rel=0.02)


def test_band_power__follows_an_envelope_in_time():
    """Power of a slowly modulated sine, integrated by formula over each volume and bin."""
    time = times(90)
    rate = 0.2
    found = power((1e-5 * (1 + 0.5 * np.sin(2 * np.pi * rate * time)) * np.sin(2 * np.pi * 10 * time))[None])

    def mean(begin, end):
        grid = np.linspace(begin, end, 2001)
        return np.trapezoid(0.5e-10 * (1 + 0.5 * np.sin(2 * np.pi * rate * grid)) ** 2, grid, axis=0) / (end - begin)

    start = np.arange(40) * 2.0
    np.testing.assert_allclose(found["band_power"].sel(band="alpha")[:, 0], mean(start, start + 2), rtol=5e-3)
    centre = found["bin"].values
    np.testing.assert_allclose(
        found["band_power_fine"].sel(band="alpha")[:, 0], mean(centre - 0.05, centre + 0.05), rtol=1e-2
    )


def test_band_power__axes():
    found = power(np.ones((2, round(90 * FREQUENCY))))
    assert found["band_power"].dims == ("time", "channel", "band")
    assert found["band_power_fine"].dims == ("bin", "channel", "band")
    assert list(found["band"].values) == list(BANDS)
    np.testing.assert_allclose(found["time"], np.arange(40) * 2.0)
    np.testing.assert_array_equal(found["volume"], np.arange(40))
    np.testing.assert_allclose(found["bin"], 0.05 + 0.1 * np.arange(800))
    assert found["band_power"].attrs["units"] == "V2"


def test_band_power__volumes_without_eeg_are_nan():
    """EEG from 3.05 s to 60.93 s: volumes 2 to 29 are whole, bins run from 3.1 s to 60.9 s."""
    time = np.arange(round(57.88 * FREQUENCY)) / FREQUENCY
    found = power(1e-5 * np.sin(2 * np.pi * 10 * time)[None], start=3.05)
    covered = np.isfinite(found["band_power"].values[:, 0, 2])
    np.testing.assert_array_equal(np.flatnonzero(covered), np.arange(2, 30))
    np.testing.assert_allclose(found["bin"].values[[0, -1]], [3.15, 60.85])
    np.testing.assert_allclose(found["band_power_fine"].sel(band="alpha")[10:-10], 0.5e-10, rtol=0.05)


def test_band_power__takes_eeg_channels_only():
    found = power(np.ones((3, 30000)), kinds=["eeg", "ecg", "eeg"])
    assert list(found["channel"].values) == ["E0", "E2"]
    assert list(found["channel_type"].values) == ["eeg", "eeg"]


@pytest.mark.parametrize("chunks", [(1, 4000), (5, 3333), (2, -1)])
def test_band_power__chunks_change_nothing(chunks):
    values = np.random.default_rng(0).standard_normal((3, 20011))
    plain = power(values, volumes=30)
    with max_computes(0):
        ds = lazily(recording(values, -5.0, FREQUENCY), chunks)
        lazy = band_power(ds, bands=BANDS, repetition_time=2.0, volumes=30)
    for name in ("band_power", "band_power_fine"):
        assert isinstance(lazy[name].data, da.Array)
        np.testing.assert_allclose(lazy[name].values, plain[name].values, atol=1e-5 * np.nanmax(plain[name].values))


def test_band_power__refuses():
    values = np.ones((1, 5000))
    with pytest.raises(InputError, match=r"band 'high' must lie between 0 and 124\.501 Hz, found 100 to 200"):
        power(values, bands={"high": (100.0, 200.0)})
    with pytest.raises(InputError, match="a volume that the EEG covers, found 1, 5 and 0 of 40"):
        power(values, start=100.0)
    with pytest.raises(SchemaError, match="call apply_alignment first"):
        band_power(recording(values, 0.0, 250.0).assign_attrs(clock="eeg"), bands=BANDS, repetition_time=2.0, volumes=3)
