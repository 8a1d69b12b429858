"""The ridge from EEG power to BOLD, out of fold, against scikit-learn and against nothing."""

import numpy as np
import pytest
from analysis import analysis_dataset, lazy
from lazy import max_computes
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from multimap_kernel.fusion import fit
from multimap_kernel.fusion.windows import lagged_power
from multimap_kernel.schema import InputError, SchemaError

LAGS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
OPTIONS = {"lags_s": LAGS, "folds": 5, "gap_s": 16.0, "seed": 0}


@pytest.fixture(scope="module")
def ds():
    return analysis_dataset(7, volumes=200, coupling=2.0)


@pytest.fixture(scope="module")
def fitted(ds):
    return fit(ds, **OPTIONS)


def features(ds):
    return lagged_power(
        ds["band_power_fine"].values, ds["bin"].values, ds["channel_type"].values,
        starts=ds["time"].values, repetition_time=2.0, lags_s=LAGS,
    )  # fmt: skip


def correlation(prediction, ds):
    known = np.isfinite(prediction[:, 0])
    return np.array(
        [np.corrcoef(*pair)[0, 1] for pair in zip(prediction[known].T, ds["series"].values[known].T, strict=True)]
    )


def test_fit__predicts_coupled_voxels_and_no_others(ds, fitted):
    value, out = fitted
    r = correlation(out["prediction"].values, ds)
    truth = ds["truth_coupled"].values
    assert r[truth].mean() > 0.4
    assert abs(r[~truth].mean()) < 0.1
    assert abs(value.null_score[0]) < 0.02
    coupled, _ = fit(ds.isel(voxel=truth), **OPTIONS)
    assert coupled.score > 0.3 > coupled.null_score[1]


def test_fit__fold_equals_scikit_learn_with_the_same_penalty():
    ds = analysis_dataset(8, volumes=120, coupling=1.0).drop_vars("confound")
    value, out = fit(ds, **OPTIONS)
    X, y = features(ds), ds["series"].values.astype(float)
    known = np.flatnonzero(np.isfinite(X).all(axis=1))
    first, last = value.split[2]
    train = known[(known < first - 8) | (known > last + 8)]
    scaled = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    trend = np.column_stack([np.ones(train.size), train])
    rest = np.eye(train.size) - trend @ np.linalg.pinv(trend)
    model = Ridge(alpha=value.penalties[2], fit_intercept=False).fit(rest @ scaled[train], rest @ y[train])
    expected = scaled[first : last + 1] @ model.coef_.T
    np.testing.assert_allclose(out["prediction"].values[first : last + 1], expected, atol=2e-3 * np.abs(expected).max())


def test_fit__volumes_without_eeg_are_nan():
    ds = analysis_dataset(7, volumes=120, eeg_end=200.0)
    ds["steady_state"][:8] = False
    _, out = fit(ds, **OPTIONS)
    missing = np.isnan(out["prediction"].values)
    assert (missing.all(axis=1) == missing.any(axis=1)).all()
    assert np.flatnonzero(missing.any(axis=1)).tolist() == [*range(8), *range(100, 120)]


def test_fit__null_sessions_score_nothing():
    thinned = {"voxel": slice(None, None, 3)}
    scores = [fit(analysis_dataset(seed, task=0.7).isel(thinned), **OPTIONS)[0].score for seed in range(20)]
    assert abs(np.mean(scores)) < 0.05


def test_fit__nearest_neighbours_find_no_leak_in_its_split():
    """Nearest neighbours see leakage that a ridge does not; shuffled folds show that they can see it here."""
    blocked, shuffled = [], []
    for seed in range(4):
        ds = analysis_dataset(seed, volumes=150).isel(voxel=slice(None, None, 4))
        X, y = features(ds), ds["series"].values
        X = (X - np.nanmean(X, axis=0)) / np.nanstd(X, axis=0)
        known = np.flatnonzero(np.isfinite(X).all(axis=1))
        value, _ = fit(ds, **OPTIONS)
        for first, last in value.split:
            test = np.arange(first, last + 1)
            train = known[(known < first - 8) | (known > last + 8)]
            blocked.append(_neighbours(X, y, train, test))
        parts = np.array_split(np.random.default_rng(seed).permutation(known), 5)
        shuffled += [_neighbours(X, y, np.setdiff1d(known, test), test) for test in parts]
    assert abs(np.mean(blocked)) < 0.05
    assert np.mean(shuffled) > 0.1


def _neighbours(X, y, train, test):
    predicted = KNeighborsRegressor(3).fit(X[train], y[train]).predict(X[test])
    return np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, y[test].T, strict=True)])


def test_fit__no_eeg_window_serves_training_and_test(fitted):
    value, _ = fitted
    for first, last in value.split:
        for volume in range(200):
            if first - 8 <= volume <= last + 8:
                continue
            train, test = (volume * 2 - 12, volume * 2 + 2), (first * 2 - 12, last * 2 + 2)
            assert train[1] <= test[0] or train[0] >= test[1]


def test_fit__test_block_does_not_touch_its_own_prediction(ds, fitted):
    value, out = fitted
    first, last = value.split[1]
    changed = ds.copy(deep=True)
    changed["series"][first : last + 1] = changed["series"][first : last + 1] * 1.5
    again, other = fit(changed, **OPTIONS)
    assert again.penalties[1] == value.penalties[1]
    block = slice(first, last + 1)
    np.testing.assert_allclose(
        other["prediction"].values[block], out["prediction"].values[block], atol=1e-2
    )  # centring in float32 sees the whole run; the prediction does not


@pytest.mark.parametrize(("voxel", "time"), [(97, 17), (20, 200)])
def test_fit__dask_gives_the_same_and_a_lazy_prediction(ds, fitted, voxel, time):
    value, out = fit(lazy(ds, voxel, time), **OPTIONS)
    assert value == fitted[0]
    with max_computes(1):
        got = out["prediction"].values
    np.testing.assert_allclose(got, fitted[1]["prediction"].values, atol=1e-5 * np.nanmax(np.abs(got)))


def test_fit__refuses_a_short_gap_a_short_run_and_the_wrong_clock(ds):
    with pytest.raises(InputError, match=r"gap_s must be at least .* 14 s.*found 10 s; raise fuse.split.gap_s"):
        fit(ds, **{**OPTIONS, "gap_s": 10.0})
    with pytest.raises(InputError, match=r"at least 16 volumes for training, found \d+ \(24 of 30"):
        fit(analysis_dataset(0, volumes=30), **OPTIONS)
    with pytest.raises(SchemaError, match="scanner clock"):
        fit(ds.assign_attrs(clock="eeg"), **OPTIONS)


def test_fit__does_not_read_channels_that_are_not_good():
    ds = analysis_dataset(7, volumes=120, coupling=2.0)
    judged = ds.assign_coords(good=("channel", [True, True, False, True]))
    other = ds.assign(channel_type=("channel", ["eeg", "eeg", "misc", "eeg"]))
    for one in (judged, lazy(judged)):
        np.testing.assert_allclose(
            fit(one, **OPTIONS)[1]["prediction"], fit(other, **OPTIONS)[1]["prediction"], atol=1e-4
        )


def test_fit__a_confound_of_one_unknown_value_is_still_taken_out():
    """What level a confound has says nothing; an unknown value must not make it say something."""
    ds = analysis_dataset(7, volumes=120, coupling=2.0)
    missing = ds["confound"].where((ds["time"] != ds["time"][60]) | (ds["regressor"] != 2))
    low, high = (fit(ds.assign(confound=missing + level), **OPTIONS)[1]["prediction"] for level in (0.0, 50.0))
    np.testing.assert_allclose(high, low, atol=1e-3)
