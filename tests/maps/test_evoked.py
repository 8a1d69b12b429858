"""Evoked responses against SciPy, with their null over channels and time."""

import json

import numpy as np
import pytest
import xarray as xr
from lazy import max_computes
from scipy import stats

from multimap_kernel.eeg import blank_spans
from multimap_kernel.maps import evoked_map
from multimap_kernel.schema import InputError, SchemaError, regular_time

FREQUENCY, TRIALS, CHANNELS = 100.0, 60, 6


def recording(seed, *, peak_v=0.0, trials=TRIALS):
    """Channels that share noise; after ``go``, channel C2 has a Gaussian peak at 0.3 s."""
    random = np.random.default_rng(seed)
    count = int((trials * 2 + 4) * FREQUENCY)
    time = np.arange(count) / FREQUENCY
    shared = np.convolve(random.standard_normal(count), np.ones(9) / 3, mode="same")
    noise = random.standard_normal((CHANNELS, count)) + 2 * shared
    onset = 2.0 + 2.0 * np.arange(trials)
    names = np.where(np.arange(trials) % 2, "go", "stop")
    values = 1e-6 * noise
    for at in onset[names == "go"]:
        values[2] += peak_v * np.exp(-0.5 * ((time - at - 0.3) / 0.03) ** 2)
    clock = regular_time(0.0, FREQUENCY, count)
    ds = xr.Dataset({"eeg": (("channel", "time"), values.astype(np.float32))}, coords=clock)
    ds = ds.assign(
        channel_type=("channel", ["eeg"] * CHANNELS), event_onset=("event", onset),
        event_duration=("event", np.full(trials, 0.5)), event_condition=("event", names),
    )  # fmt: skip
    return ds.assign_coords(channel=[f"C{number}" for number in range(CHANNELS)]).assign_attrs(clock="scanner")


@pytest.fixture(scope="module")
def ds():
    return recording(3, peak_v=4e-6)


@pytest.fixture(scope="module")
def maps(ds):
    return evoked_map(ds, contrasts={})


def test_evoked_map__finds_the_planted_peak_and_only_there(maps):
    go = maps.sel(condition="go")
    place = np.unravel_index(int(np.nanargmax(np.abs(go["statistic"].values))), go["statistic"].shape)
    assert (str(go["channel"].values[place[0]]), float(go["latency"][place[1]])) == ("C2", pytest.approx(0.3, abs=0.03))
    assert float(go["effect"].values[place]) == pytest.approx(4e-6, abs=2e-6)
    found = go["p_fwe"] < 0.05
    assert found.sel(channel="C2").any()
    assert not found.drop_sel(channel="C2").any()
    assert not (maps["p_fwe"].sel(condition="stop") < 0.05).any()
    assert float(go["q_fdr"].values[place]) < 0.05
    assert maps["trials"].values.tolist() == [TRIALS // 2, TRIALS // 2]


def test_evoked_map__t_and_null_are_those_of_scipy():
    """Of one condition: a one-sample t test, and the same after each of all 2047 flips of signs."""
    ds = recording(3, trials=24)
    maps = evoked_map(ds, contrasts={})
    latency = np.arange(-20, 81)
    first = np.round(ds["event_onset"].values[ds["event_condition"].values == "go"] * FREQUENCY).astype(int)
    epochs = np.stack([ds["eeg"].values[:, at + latency] for at in first]).astype(np.float64)
    epochs -= epochs[:, :, latency < 0].mean(axis=2, keepdims=True)
    np.testing.assert_allclose(maps["statistic"].sel(condition="go"), stats.ttest_1samp(epochs, 0).statistic, rtol=1e-3)
    every = 1 - 2.0 * ((np.arange(2**11)[:, None] >> np.arange(12)) & 1)
    largest = [np.abs(stats.ttest_1samp(epochs * one[:, None, None], 0).statistic).max() for one in every[1:]]
    null = maps["null_maximum"].sel(condition="go").values
    assert np.isfinite(null).all()
    assert np.quantile(null, 0.95) == pytest.approx(np.quantile(largest, 0.95), rel=0.03)
    assert np.abs(np.array(largest)[:, None] - null).min(axis=0).max() < 2e-3


def test_evoked_map__contrast_is_the_difference_with_its_pooled_t(ds):
    got = evoked_map(ds, contrasts={"go-stop": {"go": 1.0, "stop": -1.0}})
    each = evoked_map(ds, contrasts={})["effect"]
    np.testing.assert_allclose(got["effect"][0], each.sel(condition="go") - each.sel(condition="stop"), atol=1e-10)
    assert float(got["p_fwe"].sel(channel="C2").min()) < 0.05


def test_evoked_map__null_recordings_are_found_as_often_as_promised():
    go = {"go": {"go": 1.0}}
    maps = [evoked_map(recording(100 + seed, trials=24), contrasts=go, permutations=199) for seed in range(60)]
    found = sum(float(one["p_fwe"].min()) < 0.05 for one in maps)
    assert found <= 8  # of 60 at .05: more in 1 %


def test_evoked_map__says_what_its_null_is_and_leaves_out_what_it_cannot_use(ds):
    holed = ds.copy(deep=True)
    holed["eeg"][4, 410:420] = np.nan  # within the second trial, which is a go
    holed = holed.assign(channel_type=("channel", ["eeg"] * 5 + ["ecg"]))
    got = evoked_map(holed, contrasts={}, permutations=99)
    assert got["trials"].values.tolist() == [TRIALS // 2 - 1, TRIALS // 2]
    assert got["statistic"].isnull().all(("condition", "latency")).values.tolist() == [False] * 5 + [True]
    told = json.loads(str(got["null"].values))
    assert (told["n"], told["smallest_p"]) == (99, 0.01)
    assert "sign flips of the trials" in told["method"]


def test_evoked_map__dask_is_lazy_and_equal(ds, maps):
    tables = {name: ds[name] for name in ("event_onset", "event_duration", "event_condition")}
    chunked = ds.chunk({"time": 701, "channel": 2}).assign(tables)
    with max_computes(0):
        got = evoked_map(chunked, contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr", "null_maximum", "trials"):
        np.testing.assert_allclose(got[name].values, maps[name].values, rtol=1e-5, err_msg=name)


def test_evoked_map__refuses_bad_input(ds):
    with pytest.raises(SchemaError, match="scanner clock"):
        evoked_map(ds.assign_attrs(clock="eeg"), contrasts={})
    with pytest.raises(InputError, match="did you mean 'go'"):
        evoked_map(ds, contrasts={"a": {"god": 1.0}})
    with pytest.raises(InputError, match="must begin before 0"):
        evoked_map(ds, contrasts={}, window_s=(0.0, 0.5))
    few = evoked_map(recording(1, trials=4), contrasts={})
    assert np.isnan(few["statistic"]).all()


def test_evoked_map__channels_that_are_not_good_are_nan(ds, maps):
    good = np.arange(CHANNELS) != 2
    got = evoked_map(ds.assign_coords(good=("channel", good)), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr"):
        assert got[name].isnull().any(("condition", "latency")).values.tolist() == (~good).tolist(), name
    np.testing.assert_allclose(got["statistic"][:, good], maps["statistic"][:, good], rtol=1e-5)
    assert (got["p_fwe"].min(("channel", "latency")) > 0.05).all()  # only C2 holds the response


def test_evoked_map__trials_in_bad_spans_are_left_out(ds):
    """A straight line stands there: 30 of 60 trials of it would halve the response."""
    spans = [(0.0, 30.0), (70.9, 101.7)]
    got = evoked_map(blank_spans(ds, spans=spans), contrasts={})
    onset = ds["event_onset"].values
    touched = np.any([(onset - 0.2 < high) & (onset + 0.81 > low) for low, high in spans], axis=0)
    expected = evoked_map(ds.isel(event=~touched), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "trials"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, err_msg=name)
    go = ds["event_condition"].values == "go"
    assert got["trials"].values.tolist() == [int((go & ~touched).sum()), int((~go & ~touched).sum())]
    assert int(got["trials"].sum()) == 30


def test_evoked_map__no_trial_is_used_where_no_channel_is_good(ds):
    got = evoked_map(ds.assign_coords(good=("channel", np.zeros(CHANNELS, bool))), contrasts={})
    assert got["trials"].values.tolist() == [0, 0]
    assert got["statistic"].isnull().all()
