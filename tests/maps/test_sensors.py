"""Change of band power at the sensors with a condition, and its null."""

import json

import numpy as np
import pytest
import xarray as xr
from analysis import analysis_dataset, lazy
from lazy import max_computes

from multimap_kernel.eeg import band_power, clean
from multimap_kernel.maps import sensor_map
from multimap_kernel.schema import InputError, SchemaError, regular_time


@pytest.fixture(scope="module")
def ds():
    return analysis_dataset(6)


@pytest.fixture(scope="module")
def maps(ds):
    return sensor_map(ds, contrasts={})


def test_sensor_map__finds_the_planted_power_change():
    change, found, wrong = [], [], []
    for seed in range(10):
        got = sensor_map(analysis_dataset(seed), contrasts={})
        planted = (got["band"] == "beta") & (got["channel"] == "E0")
        change.append(np.log1p(float(got["effect"].where(planted).max()) / 100))
        found.append(float(got["p_fwe"].where(planted).min()) < 0.05)
        wrong.append(float(got["p_fwe"].where(~planted).min()) < 0.05)
    assert np.mean(change) == pytest.approx(np.log(1.6), abs=0.15)  # the background wanders by 0.5
    assert sum(found) >= 8
    assert sum(wrong) <= 2


def test_sensor_map__says_what_its_null_is(maps):
    told = json.loads(str(maps["null"].values))
    assert told["n"] == 91
    assert told["method"] == "largest |t| over channels and bands; circular shifts of the design"
    assert str(maps["statistic_kind"].values) == "t"


def test_sensor_map__a_periodic_design_is_permuted_in_blocks():
    found = []
    for seed in range(5):
        ds = analysis_dataset(seed, events=False)
        onset = np.arange(10.0, 220.0, 24.0)
        power = ds["band_power_fine"].values.copy()
        on = (((ds["bin"].values[:, None] - onset) % 1e9) < 12).any(axis=1)
        power[:, 1, 0] *= 1 + 0.8 * on
        ds = ds.assign(
            band_power_fine=(ds["band_power_fine"].dims, power), event_onset=("event", onset),
            event_duration=("event", np.full(onset.size, 12.0)), event_condition=("event", ["go"] * onset.size),
        )  # fmt: skip
        got = sensor_map(ds, contrasts={})
        assert "permuted over blocks" in str(got["null"].values)
        found.append(float(got["p_fwe"].sel(channel="E1", band="theta").min()) < 0.05)
    assert sum(found) >= 4  # shifted by a period, the design would be itself


def test_sensor_map__dask_is_lazy_and_equal(ds, maps):
    with max_computes(0):
        got = sensor_map(lazy(ds), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr", "null_maximum"):
        np.testing.assert_allclose(got[name].values, maps[name].values, rtol=1e-5, err_msg=name)


def test_sensor_map__other_channels_are_nan(ds):
    got = sensor_map(ds.assign(channel_type=("channel", ["eeg", "eeg", "eeg", "ecg"])), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr"):
        assert got[name].isnull().any(("condition", "band")).values.tolist() == [False, False, False, True]


def test_sensor_map__refuses_bad_input(ds):
    with pytest.raises(SchemaError, match="scanner clock"):
        sensor_map(ds.assign_attrs(clock="eeg"), contrasts={})
    with pytest.raises(InputError, match="did you mean 'go'"):
        sensor_map(ds, contrasts={"a": {"god": 1.0}})


@pytest.fixture(scope="module")
def dead():
    """EEG whose alpha falls by half in 20 events; electrode C5 is dead, so that the average reference fills it."""
    random, count = np.random.default_rng(0), 300 * 250
    time, onset = np.arange(count) / 250, np.arange(5, 280, 14) + random.uniform(0, 3, 20)
    rest = 1 - 0.5 * ((time >= onset[:, None]) & (time < onset[:, None] + 5)).any(axis=0)
    alpha = 2e-5 * rest * np.sin(2 * np.pi * 10 * time + np.cumsum(random.normal(0, 0.02, count)))
    values = np.outer(random.uniform(0.3, 1, 16), alpha) + random.normal(0, 8e-6, (16, count))
    values[5] = 0.0
    ds = xr.Dataset({"eeg": (("channel", "time"), values.astype(np.float32))}, coords=regular_time(0.0, 250.0, count))
    ds = ds.assign(channel_type=("channel", ["eeg"] * 16)).assign_coords(channel=[f"C{one}" for one in range(16)])
    cleaned = clean(ds.assign_attrs(clock="scanner", repetition_time=2.0))
    power = band_power(cleaned, bands={"alpha": (8.0, 12.0)}, repetition_time=2.0, volumes=150)
    return power.assign(
        event_onset=("event", onset), event_duration=("event", np.full(20, 5.0)), event_condition=("event", ["go"] * 20)
    )


def test_sensor_map__a_dead_electrode_is_no_finding(dead):
    assert float(dead["band_power"].sel(channel="C5").mean() / dead["band_power"].mean()) > 2
    got = sensor_map(dead, contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr"):
        missing = got[name].isnull().any(("condition", "band"))
        assert got["channel"].values[missing].tolist() == ["C5"], name
    unjudged = sensor_map(dead.drop_vars("good"), contrasts={})["statistic"].isel(condition=0, band=0)
    assert int(np.abs(unjudged.values).argmax()) == 5  # what would be found without the judgement


def test_sensor_map__a_channel_that_is_not_good_is_the_same_as_one_of_another_type(ds):
    good = sensor_map(ds.assign_coords(good=("channel", [True, True, True, False])), contrasts={})
    other = sensor_map(ds.assign(channel_type=("channel", ["eeg", "eeg", "eeg", "ecg"])), contrasts={})
    xr.testing.assert_equal(good.drop_vars("good", errors="ignore"), other)
    chunked = lazy(ds.assign_coords(good=("channel", [True, True, True, False])))
    np.testing.assert_allclose(sensor_map(chunked, contrasts={})["statistic"], good["statistic"], rtol=1e-5)
