"""The gain of a prediction over the design, against least squares written out, planted truth, and nulls."""

import numpy as np
import pytest
from analysis import analysis_dataset, auc, lazy, slow
from lazy import max_computes

from multimap_kernel.maps import activation_map
from multimap_kernel.maps.design import make_design  # its columns are tested in test_design


def with_prediction(seed, *, gain=0.0, volumes=120):
    """Predictions are slow noise; in the coupled voxels they hold ``gain`` of what BOLD really does."""
    ds = analysis_dataset(seed, task=1.0, volumes=volumes)
    random = np.random.default_rng(seed + 1000)
    prediction = slow(random, volumes, (6,), 4) @ random.standard_normal((6, ds.sizes["voxel"]))
    own = ds["truth_coupled"].values
    prediction[:, own] += gain * (ds["series"].values[:, own] - 1000) / 10
    prediction[:5] = np.nan
    return ds.assign(prediction=(("time", "voxel"), prediction.astype(np.float32)))


def joint(ds, **options):
    return activation_map(ds, contrasts={}, **options).sel(condition="go", modality="joint")


def of_voxels(array, ds):
    return array.values[..., ds["mask"].values]


def test_joint__is_the_gain_of_least_squares():
    ds = with_prediction(0, gain=1.0)
    got = of_voxels(joint(ds)["statistic"], ds)
    design = make_design(ds, hrf="spm", high_pass_hz=0.01, lazy=False)
    y, x = ds["series"].values[5:].astype(np.float64), ds["prediction"].values[5:].astype(np.float64)
    nuisance = design.nuisance[5:]
    both = np.column_stack([design.task[5:], nuisance])
    for voxel in (0, 1, 50, 100):
        left = [residual(y[:, voxel], columns) for columns in (nuisance, both, np.column_stack([both, x[:, voxel]]))]
        sign = np.sign(np.linalg.lstsq(np.column_stack([x[:, voxel], both]), y[:, voxel], rcond=None)[0][0])
        assert got[voxel] == pytest.approx(sign * (left[1] - left[2]) / left[0], rel=2e-3, abs=1e-5)


def residual(y, columns):
    rest = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    return rest @ rest


def test_joint__a_member_of_the_null_is_the_gain_of_the_shifted_prediction():
    ds = with_prediction(1)
    got = joint(ds, null="shift")["null_maximum"].values
    moved = ds["prediction"].values.copy()
    moved[5:] = np.roll(moved[5:], 15, axis=0)  # 30 s, the first shift outside the exclusion zone
    shifted = of_voxels(joint(ds.assign(prediction=(("time", "voxel"), moved)))["statistic"], ds)
    assert got[0] == pytest.approx(shifted.max(), rel=1e-3)


def test_joint__finds_where_eeg_adds_and_only_there():
    ds = with_prediction(2, gain=1.0)
    got, truth = joint(ds), ds["truth_coupled"].values
    assert auc(of_voxels(got["statistic"], ds), truth) > 0.95
    p = of_voxels(got["p_fwe"], ds)
    assert (p < 0.05)[truth].mean() > 0.5
    assert (p < 0.05)[~truth].mean() < 0.02
    assert "surrogates of the prediction" in str(got["null"].values)


def test_joint__what_the_design_explains_is_no_gain_and_a_wrong_sign_is_none_either():
    ds = with_prediction(3)
    task = ds["truth_task"].values
    evoked = ds["series"].values[:, task].mean(axis=1) - 1000
    explained = np.repeat(evoked[:, None], ds.sizes["voxel"], axis=1)
    design_only = ds.assign(prediction=(("time", "voxel"), explained.astype(np.float32)))
    opposite = ds.assign(prediction=(("time", "voxel"), -with_prediction(3, gain=3.0)["prediction"].values))
    eeg = activation_map(design_only, contrasts={}).sel(condition="go")
    assert float(eeg["p_fwe"].sel(modality="eeg").min()) < 0.05
    own = ds["truth_coupled"].values
    assert (of_voxels(joint(opposite)["statistic"], ds)[own] < 0).all()
    assert (of_voxels(joint(opposite)["p_fwe"], ds)[own] == 1).all()


def test_joint__null_predictions_are_found_as_often_as_promised():
    found = sum(float(joint(with_prediction(3000 + seed, volumes=90), permutations=99)["p_fwe"].min()) < 0.05
                for seed in range(40))  # fmt: skip
    assert found <= 6  # of 40 at .05: more in 1 %


def learned_in_halves(seed, volumes=90):
    """Each half predicts the other from slow regressors that have nothing to do with it, as a ridge does."""
    ds = analysis_dataset(seed, task=0.0, volumes=volumes)
    X = slow(np.random.default_rng(seed + 1000), volumes, (12,), 4)
    X -= X.mean(axis=0)
    hat = np.zeros((volumes, volumes), np.float32)
    first, second = np.arange(volumes // 2), np.arange(volumes // 2, volumes)
    for train, test in ((first, second), (second, first)):
        own = X[train] - X[train].mean(axis=0)
        weights = np.linalg.solve(own.T @ own + 12 * np.eye(12), own.T)
        hat[np.ix_(test, train)] = X[test] @ (weights - weights.mean(axis=1, keepdims=True))
    return predicted(ds.assign(hat=(("time", "trained"), hat)))


def predicted(ds):
    series = ds["series"].values - ds["series"].values.mean(axis=0)
    return ds.assign(prediction=(("time", "voxel"), (ds["hat"].values @ series).astype(np.float32)))


def test_joint__a_member_of_the_refitted_null_is_the_gain_for_shifted_bold():
    ds = learned_in_halves(5, volumes=120)
    got = joint(ds, null="shift")
    design = make_design(ds, hrf="spm", high_pass_hz=0.01, lazy=False)
    y = ds["series"].values.astype(np.float64)
    columns = np.column_stack([design.task, design.nuisance])
    evoked = columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    rest = y - evoked
    moved = np.roll(ds["hat"].values @ np.roll(rest, 15, axis=0), -15, axis=0)  # 30 s, the first shift that is used
    again = ds.drop_vars("hat").assign(prediction=(("time", "voxel"), moved.astype(np.float32)))
    assert got["null_maximum"].values[0] == pytest.approx(of_voxels(joint(again)["statistic"], ds).max(), rel=2e-3)
    assert "refits to circular shifts of the BOLD" in str(got["null"].values)


def test_joint__folds_that_learn_from_each_other_are_found_as_often_as_promised():
    seeds = range(4000, 4040)
    p = [float(joint(learned_in_halves(seed), permutations=99)["p_fwe"].min()) for seed in seeds]
    assert sum(one < 0.05 for one in p) <= 6  # of 40 at .05: more in 1 %


@pytest.mark.parametrize("refitted", [False, True])
def test_joint__dask_is_lazy_and_equal(refitted):
    ds = learned_in_halves(4) if refitted else with_prediction(4, gain=0.5)
    expected = joint(ds)
    with max_computes(0):
        got = joint(lazy(ds))
    for name in ("statistic", "p_fwe", "q_fdr", "null_maximum"):
        np.testing.assert_allclose(got[name].values, expected[name].values, rtol=1e-4, atol=1e-6, err_msg=name)
