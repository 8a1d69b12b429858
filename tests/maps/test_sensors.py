"""Change of band power at the sensors with a condition, and its null."""

import json

import numpy as np
import pytest
from analysis import analysis_dataset, lazy
from lazy import max_computes

from multimap_kernel.maps import sensor_map
from multimap_kernel.schema import InputError, SchemaError


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
