import json

import numpy as np
import pandas as pd
import pytest
from analysis import TR, analysis_dataset, auc, lazy, slow
from lazy import max_computes
from nilearn.glm.contrasts import compute_contrast
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

from multimap_kernel.maps import activation_map
from multimap_kernel.schema import InputError, SchemaError


@pytest.fixture(scope="module")
def ds():
    made = analysis_dataset(3, task=1.0)
    random = np.random.default_rng(4)
    mixture = slow(random, 120, (6,), 4) @ random.standard_normal((6, made.sizes["voxel"]))
    evoked = made["series"].values[:, made["truth_task"].values].mean(axis=1) - 1000
    mixture[:, made["truth_task"].values] += evoked[:, None]
    mixture[:6] = np.nan
    return made.assign(prediction=(("time", "voxel"), mixture.astype(np.float32)))


@pytest.fixture(scope="module")
def maps(ds):
    return activation_map(ds, contrasts={})


def of_voxels(array, ds):
    return array.values[..., ds["mask"].values]


def nilearn_z(ds):
    table = pd.DataFrame({"onset": ds["event_onset"].values, "duration": 8.0, "trial_type": "go"})
    matrix = make_first_level_design_matrix(
        (np.arange(120) + 0.5) * TR, table, "spm", add_regs=ds["confound"].values
    ).to_numpy()
    labels, results = run_glm(ds["series"].values.astype(np.float64), matrix, noise_model="ar1")
    return compute_contrast(labels, results, np.eye(matrix.shape[1])[0], stat_type="t")


def test_activation_map__agrees_with_nilearn(ds, maps):
    expected = nilearn_z(ds)
    got = of_voxels(maps["statistic"].sel(condition="go", modality="bold"), ds)
    assert np.corrcoef(got, expected.z_score().ravel())[0, 1] > 0.999
    effect = of_voxels(maps["effect"].sel(condition="go", modality="bold"), ds)
    percent = 100 * expected.effect_size().ravel() / ds["series"].values.mean(axis=0)
    assert np.corrcoef(effect, percent)[0, 1] > 0.999
    assert np.polyfit(percent, effect, 1)[0] == pytest.approx(1, abs=0.01)


def test_activation_map__finds_the_planted_voxels(ds, maps):
    truth = ds["truth_task"].values
    for modality in ("bold", "eeg"):
        assert auc(of_voxels(maps["statistic"].sel(condition="go", modality=modality), ds), truth) > 0.95
    p = of_voxels(maps["p_fwe"].sel(condition="go", modality="bold"), ds)
    assert (p < 0.05)[truth].mean() > 0.5
    assert (p < 0.05)[~truth].mean() < 0.02


def test_activation_map__says_what_its_null_is(maps):
    assert maps["statistic_kind"].values.tolist() == ["z", "t"]
    bold, eeg = (json.loads(text) for text in maps["null"].values)
    assert bold["n"] is None
    assert (eeg["n"], eeg["smallest_p"]) == (85, 0.011628)  # 114 covered volumes, 15 on either side left out
    assert np.isfinite(maps["null_maximum"].sel(modality="eeg")).sum() == 85
    assert float(maps["p_fwe"].sel(modality="eeg").min()) >= 1 / 86 - 1e-7


def test_activation_map__eeg_null_is_the_t_of_the_shifted_design(ds, maps):
    frame = analysis_dataset(3)
    table = pd.DataFrame({"onset": frame["event_onset"].values, "duration": 8.0, "trial_type": "go"})
    matrix = make_first_level_design_matrix(
        (np.arange(120) + 0.5) * TR, table, "spm", add_regs=ds["confound"].values
    ).to_numpy()[6:]
    y = ds["prediction"].values[6:].astype(np.float64)
    contrast = np.eye(matrix.shape[1])[0]
    for member, shift in ((None, 0), (0, 15), (84, 99)):
        moved = np.column_stack([np.roll(matrix[:, 0], shift), matrix[:, 1:]])
        expected = compute_contrast(*run_glm(y, moved, noise_model="ols"), contrast, stat_type="t").stat().ravel()
        if member is None:
            np.testing.assert_allclose(of_voxels(maps["statistic"][0, 1], ds), expected, rtol=2e-3, atol=2e-3)
        else:
            assert float(maps["null_maximum"][0, 1, member]) == pytest.approx(np.abs(expected).max(), rel=1e-3)


def test_activation_map__dask_is_lazy_and_equal(ds, maps):
    with max_computes(0):
        got = activation_map(lazy(ds), contrasts={})
    for name in ("statistic", "effect", "p_fwe", "q_fdr", "null_maximum"):
        np.testing.assert_allclose(got[name].values, maps[name].values, rtol=1e-5, err_msg=name)
    assert got["null"].values.tolist() == maps["null"].values.tolist()


def test_activation_map__contrast_of_two_conditions(ds):
    names = np.where(np.arange(ds.sizes["event"]) % 2, "a", "b")
    two = ds.assign(event_condition=("event", names))
    got = activation_map(two, contrasts={"a-b": {"a": 1.0, "b": -1.0}, "a": {"a": 1.0}})
    each = activation_map(two, contrasts={})
    difference = each["effect"].sel(condition="a") - each["effect"].sel(condition="b")
    np.testing.assert_allclose(got["effect"].sel(condition="a-b").values, difference.values, atol=2e-3)
    np.testing.assert_allclose(got["statistic"].sel(condition="a"), each["statistic"].sel(condition="a"), rtol=1e-4)


def test_activation_map__bad_voxels_are_nan_and_hurt_nobody(ds, maps):
    series = ds["series"].values.copy()
    series[:, 5], series[7, 9] = 1000.0, np.nan
    got = of_voxels(activation_map(ds.assign(series=(("time", "voxel"), series)), contrasts={})["statistic"][0, 0], ds)
    expected = of_voxels(maps["statistic"][0, 0], ds)
    assert np.flatnonzero(np.isnan(got)).tolist() == [5, 9]
    np.testing.assert_allclose(np.delete(got, [5, 9]), np.delete(expected, [5, 9]), rtol=1e-5)


def test_activation_map__dummies_do_not_count(ds):
    series = ds["series"].values.copy()
    series[:3] *= 1.3
    steady = np.arange(120) >= 3
    plain = ds.assign_coords(steady_state=("time", steady))
    disturbed = plain.assign(series=(("time", "voxel"), series))
    got, expected = (activation_map(one, contrasts={})["statistic"][0, 0].values for one in (disturbed, plain))
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_activation_map__refuses_what_it_cannot_answer(ds):
    with pytest.raises(SchemaError, match=r"event_onset .* must be there"):
        activation_map(analysis_dataset(0, events=False), contrasts={})
    with pytest.raises(InputError, match="needs events, found none"):
        activation_map(ds.isel(event=slice(0)), contrasts={})
    same = ds.isel(event=[0, 0]).assign(event_condition=("event", ["a", "b"]))
    with pytest.raises(InputError, match="conditions must differ from each other"):
        activation_map(same, contrasts={})
