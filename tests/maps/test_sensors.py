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


def test_sensor_map__finds_the_planted_power_change(maps):
    planted = maps.sel(condition="go", band="beta", channel="E0")
    assert float(planted["effect"]) == pytest.approx(60, abs=20)  # background power wanders by half of itself
    assert float(planted["p_fwe"]) < 0.05
    rest = maps["p_fwe"].where((maps["band"] != "beta") | (maps["channel"] != "E0"))
    assert float(rest.min()) > 0.05


def test_sensor_map__says_what_its_null_is(maps):
    assert json.loads(str(maps["null"].values))["n"] == 91
    assert str(maps["statistic_kind"].values) == "t"


def test_sensor_map__dask_is_lazy_and_equal(ds, maps):
    with max_computes(0):
        got = sensor_map(lazy(ds), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "null_maximum"):
        np.testing.assert_allclose(got[name].values, maps[name].values, rtol=1e-5, err_msg=name)


def test_sensor_map__other_channels_are_nan(ds):
    got = sensor_map(ds.assign(channel_type=("channel", ["eeg", "eeg", "eeg", "ecg"])), contrasts={})
    for name in ("statistic", "effect", "p_fwe"):
        assert got[name].isnull().any(("condition", "band")).values.tolist() == [False, False, False, True]


def test_sensor_map__refuses_bad_input(ds):
    with pytest.raises(SchemaError, match="scanner clock"):
        sensor_map(ds.assign_attrs(clock="eeg"), contrasts={})
    with pytest.raises(InputError, match="did you mean 'go'"):
        sensor_map(ds, contrasts={"a": {"god": 1.0}})
