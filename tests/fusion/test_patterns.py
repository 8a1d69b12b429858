"""EEG patterns of predicted BOLD: the source and not the weight, with its null."""

import json

import numpy as np
import pytest
import xarray as xr
from analysis import analysis_dataset, lazy, slow
from lazy import max_computes
from sklearn.linear_model import Ridge

from multimap_kernel.fusion import fit, pattern_map, regions
from multimap_kernel.fusion.windows import lagged_power
from multimap_kernel.schema import InputError

LAGS = (0.0, 2.0, 4.0, 6.0, 8.0)
EDGE = 6.0


def fitted(ds):
    value, out = fit(ds, lags_s=LAGS, folds=4, gap_s=12.0, seed=0)
    return ds.assign(prediction=out["prediction"]), value


def features(ds):
    return lagged_power(
        ds["band_power_fine"].values, ds["bin"].values, ds["channel_type"].values,
        starts=ds["time"].values, repetition_time=2.0, lags_s=LAGS,
    )  # fmt: skip


def share_of_truth(ds):
    """Share of each region's voxels that follow the EEG (region,)."""
    truth = np.repeat(ds["truth_coupled"].values[None].astype(np.float32), ds.sizes["time"], axis=0)
    return regions(ds.assign(series=(("time", "voxel"), truth)), edge_mm=EDGE)["region_series"].values[0]


def disturbed():
    """Channel E1 sees nothing of the source, but what disturbs channel E2, which does see it."""
    ds = analysis_dataset(5, volumes=240, coupling=2.0)
    power = ds["band_power_fine"].values.copy()
    disturbance = slow(np.random.default_rng(50), len(power), (), 30)
    power[:, 1:3, 1] *= np.exp(1.5 * disturbance)[:, None]
    return ds.assign(band_power_fine=(("bin", "channel", "band"), power))


@pytest.fixture(scope="module")
def coupled():
    return fitted(disturbed())


@pytest.fixture(scope="module")
def maps(coupled):
    return pattern_map(*coupled, edge_mm=EDGE)


def test_pattern_map__shows_the_channel_band_and_lag_of_the_source_in_its_regions_only(coupled, maps):
    share = share_of_truth(coupled[0])
    for region in np.flatnonzero(share > 0.9):
        one = maps["pattern"].isel(region=region)
        top = one.isel(dict(zip(one.dims, np.unravel_index(int(np.abs(one.values).argmax()), one.shape), strict=True)))
        assert (str(top["band"].values), str(top["channel"].values)) == ("alpha", "E2")
        assert float(top["lag"]) in (4.0, 6.0)  # the response peaks at 5 s
        assert float(top) > 0
    p = maps["p_fwe"].min(("channel", "band", "lag")).values
    assert (p[share > 0.9] < 0.05).all()
    assert (p[share == 0] < 0.05).mean() < 0.05
    told = json.loads(str(maps["null"].values))
    assert (told["n"], told["smallest_p"]) == (199, 0.005)


def test_pattern_map__a_channel_that_only_cancels_noise_has_a_weight_and_no_pattern(coupled, maps):
    ds, _ = coupled
    X = features(ds)
    known = np.isfinite(X).all(axis=1)
    X = (X[known] - X[known].mean(axis=0)) / X[known].std(axis=0)
    y = ds["series"].values[:, ds["truth_coupled"].values].mean(axis=1)[known]
    weight = Ridge(alpha=10).fit(X, y).coef_.reshape(len(LAGS), 4, 3)[:, :, 1].sum(axis=0)
    assert weight[1] < -0.5 * weight[2] < 0
    there = maps.isel(region=share_of_truth(ds) > 0.9).sel(band="alpha", lag=[4.0, 6.0])
    shown = there["pattern"].mean(("lag", "region"))
    # a shrunken prediction keeps some of the disturbance, so that this is not 0; the measured BOLD has none of it
    assert -0.1 < float(shown.sel(channel="E1")) < 0.5 * float(shown.sel(channel="E2"))
    assert float(there["p_fwe"].sel(channel="E1").min()) > 0.05


def test_pattern_map__is_the_covariance_with_the_prediction_over_its_variance(coupled, maps):
    """Without confounds, in one block: by NumPy alone."""
    ds, value = coupled
    value = type(value)(**(vars(value) | {"split": value.split[:1]}))
    ds = ds.drop_vars("confound")
    got = pattern_map(ds, value, edge_mm=EDGE)
    rows = np.arange(value.split[0][0], value.split[0][1] + 1)
    X = features(ds)[rows]
    predicted = regions(ds.assign(series=ds["prediction"]), edge_mm=EDGE)["region_series"].values[rows, 0]
    line = np.column_stack([np.ones(len(rows)), rows])
    X, predicted = (side - line @ np.linalg.lstsq(line, side, rcond=None)[0] for side in (X, predicted.astype(float)))
    expected = (X.T @ predicted / predicted.var() / len(rows) * predicted.std()).reshape(len(LAGS), 4, 3)
    np.testing.assert_allclose(got["pattern"].values[..., 0], expected.transpose(1, 2, 0), atol=1e-4)


def test_pattern_map__null_runs_are_found_as_often_as_promised():
    found = 0
    for seed in range(20):
        ds, value = fitted(analysis_dataset(6000 + seed, shape=(4, 6, 7)))
        found += float(pattern_map(ds, value, edge_mm=EDGE)["p_fwe"].min()) < 0.05
    assert found <= 4  # of 20 at .05: more in 1 %


def test_pattern_map__dask_is_lazy_and_equal(coupled, maps):
    ds, value = coupled
    chunked = lazy(ds).assign(mask=ds["mask"])
    with max_computes(0):
        got = pattern_map(chunked, value, edge_mm=EDGE)
    xr.testing.assert_allclose(got.compute(), maps, atol=1e-4)


def test_pattern_map__other_channels_are_nan_and_a_wrong_fit_is_refused(coupled):
    ds, value = coupled
    got = pattern_map(ds.assign(channel_type=("channel", ["eeg", "eeg", "eeg", "ecg"])), value, edge_mm=EDGE)
    assert got["pattern"].isnull().any(("band", "lag", "region")).values.tolist() == [False, False, False, True]
    judged = pattern_map(ds.assign_coords(good=("channel", [True, True, True, False])), value, edge_mm=EDGE)
    np.testing.assert_array_equal(judged["p_fwe"], got["p_fwe"])
    short = type(value)(**(vars(value) | {"split": ((0, 3),)}))
    with pytest.raises(InputError, match="at least one block must hold 8 predicted volumes"):
        pattern_map(ds, short, edge_mm=EDGE)


def test_pattern_map__a_confound_of_one_unknown_value_is_still_taken_out(coupled):
    ds, value = coupled
    missing = ds["confound"].where((ds["time"] != ds["time"][60]) | (ds["regressor"] != 2))
    low, high = (
        pattern_map(ds.assign(confound=missing + level), value, edge_mm=EDGE)["statistic"] for level in (0.0, 50.0)
    )
    np.testing.assert_allclose(high, low, atol=1e-4)
