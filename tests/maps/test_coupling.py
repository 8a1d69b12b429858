"""Coupling of bands with BOLD: planted voxels, the null, and holes in the EEG."""

import json

import numpy as np
import pytest
from analysis import analysis_dataset, auc, lazy
from lazy import max_computes

from multimap_kernel.maps import coupling_map
from multimap_kernel.maps.coupling import peak_lag
from multimap_kernel.schema import InputError, SchemaError

LAGS = (0.0, 2.0, 4.0)


@pytest.fixture(scope="module")
def ds():
    return analysis_dataset(5, coupling=2.0, task=1.0)


@pytest.fixture(scope="module")
def maps(ds):
    return coupling_map(ds, lags_s=LAGS)


def of_voxels(array, ds):
    return array.values[..., ds["mask"].values]


def test_coupling_map__finds_the_planted_voxels_band_and_channel(ds, maps):
    truth = ds["truth_coupled"].values
    alpha = maps.sel(band="alpha", lag=0.0)
    assert auc(np.abs(of_voxels(alpha["statistic"], ds)), truth) > 0.95
    assert np.median(of_voxels(alpha["statistic"], ds)[truth]) > 0.4
    assert (of_voxels(alpha["p_fwe"], ds)[truth] < 0.05).mean() > 0.5
    assert (of_voxels(maps["p_fwe"], ds)[..., ~truth] < 0.05).sum() == 0
    channels = maps["channel"].values[of_voxels(alpha["best_channel"], ds)[truth]]
    assert (channels == "E2").mean() > 0.9
    assert np.median(of_voxels(maps["best_lag"].sel(band="alpha"), ds)[truth]) == pytest.approx(0.0, abs=1.0)


def test_coupling_map__says_what_its_null_is(maps):
    told = json.loads(str(maps["null"].values))
    assert (told["n"], told["smallest_p"]) == (199, 0.005)
    assert np.isfinite(maps["null_maximum"]).all()
    assert float(maps["p_fwe"].min()) >= 1 / 200 - 1e-7


def test_coupling_map__takes_every_distinct_shift_once(ds, maps):
    got = coupling_map(ds, lags_s=LAGS, null="shift")
    told = json.loads(str(got["null"].values))
    assert (told["n"], told["smallest_p"]) == (
        91,
        0.01087,
    )  # 120 volumes of 2 s, 15 left out on either side, 0 among them
    assert "circular shifts" in told["method"]
    assert np.isfinite(got["null_maximum"]).all()
    np.testing.assert_allclose(got["statistic"].values, maps["statistic"].values, atol=1e-6)
    truth = ds["truth_coupled"].values
    assert (of_voxels(got["p_fwe"].sel(band="alpha", lag=0.0), ds)[truth] < 0.05).mean() > 0.5
    assert (of_voxels(got["p_fwe"], ds)[..., ~truth] < 0.05).mean() < 0.01


def test_coupling_map__null_seeds_give_no_family():
    found = [
        float(coupling_map(analysis_dataset(seed, channels=6, task=0.7), lags_s=LAGS)["p_fwe"].min()) < 0.05
        for seed in range(20)
    ]
    assert sum(found) <= 3


def test_coupling_map__eeg_that_ends_early_uses_the_covered_volumes(ds):
    short = analysis_dataset(5, coupling=2.0, task=1.0, eeg_end=182.0)
    got = coupling_map(short, lags_s=LAGS, high_pass_hz=1e-4)  # no cosines: they would differ between the two
    cut = short.isel(time=slice(91), event=short["event_onset"].values < 182)
    expected = coupling_map(cut, lags_s=LAGS, high_pass_hz=1e-4)
    np.testing.assert_allclose(got["statistic"].values, expected["statistic"].values, atol=1e-3)
    np.testing.assert_allclose(got["null_maximum"].values, expected["null_maximum"].values, atol=1e-3)


def test_coupling_map__hole_in_the_eeg_changes_little(ds, maps):
    holed = ds.copy(deep=True)
    holed["band_power_fine"][1000:1010] = np.nan
    got = coupling_map(holed, lags_s=LAGS)["statistic"]
    assert np.corrcoef(of_voxels(got, ds).ravel(), of_voxels(maps["statistic"], ds).ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("voxel", "time"), [(97, 17), (295, 1), (20, 120)])
def test_coupling_map__dask_is_lazy_and_equal(ds, maps, voxel, time):
    with max_computes(0):
        got = coupling_map(lazy(ds, voxel, time), lags_s=LAGS)
    for name in ("statistic", "p_fwe", "q_fdr", "best_channel", "best_lag", "null_maximum"):
        np.testing.assert_allclose(got[name].values, maps[name].values, atol=1e-5, err_msg=name)
    assert str(got["null"].values) == str(maps["null"].values)


def test_coupling_map__other_channels_are_never_the_best(ds):
    ecg = ds.assign(channel_type=("channel", ["eeg", "eeg", "ecg", "eeg"]))
    assert (coupling_map(ecg, lags_s=LAGS)["best_channel"] != 2).all()


def test_peak_lag__parabola_inside_and_edge_kept():
    lags = np.array([0.0, 2.0, 4.0])
    peaks = np.array([1.4, 2.6])
    r = -(1 - 0.02 * (lags[:, None] - peaks) ** 2)
    np.testing.assert_allclose(peak_lag(r[None], lags)[0], peaks, atol=1e-5)
    assert peak_lag(np.array([[[0.9], [0.5], [0.1]]]), lags).item() == 0.0
    assert np.isnan(peak_lag(np.full((1, 3, 1), np.nan), lags)).all()


def test_coupling_map__refuses_bad_input(ds):
    with pytest.raises(SchemaError, match="must be on the scanner clock, found 'eeg'"):
        coupling_map(ds.assign_attrs(clock="eeg"), lags_s=LAGS)
    with pytest.raises(InputError, match="lags_s must be ascending"):
        coupling_map(ds, lags_s=(2.0, 0.0))
    with pytest.raises(InputError, match="cover at least 10 whole volumes, found 5 of 120"):
        coupling_map(analysis_dataset(5, eeg_end=10.5), lags_s=LAGS)


def test_coupling_map__a_channel_that_is_not_good_is_never_the_best(ds, maps):
    truth = ds["truth_coupled"].values
    power = ds["band_power_fine"].values.copy()
    power[:, 3] = 4 * power[:, 2]  # what the average reference gives to a dead electrode: minus what others hold
    ds = ds.assign(band_power_fine=(ds["band_power_fine"].dims, power))
    kinds = ["eeg", "eeg", "eeg", "misc"]
    got = coupling_map(ds.assign_coords(good=("channel", [True, True, True, False])), lags_s=LAGS)
    assert (of_voxels(got["best_channel"], ds) != 3).all()
    assert (of_voxels(got["best_channel"].sel(band="alpha", lag=0.0), ds)[truth] == 2).mean() > 0.9
    expected = coupling_map(ds.assign(channel_type=("channel", kinds)), lags_s=LAGS)
    for name in ("statistic", "p_fwe", "best_channel", "null_maximum"):
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
