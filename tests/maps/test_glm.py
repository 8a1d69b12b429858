"""Activation against nilearn, and its nulls against what they promise."""

import json

import numpy as np
import pandas as pd
import pytest
from analysis import TR, analysis_dataset, auc, lazy, slow, unit
from lazy import max_computes
from nilearn.glm.contrasts import compute_contrast
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

from multimap_kernel.maps import activation_map, critical_value
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


def design_matrix(ds):
    table = pd.DataFrame({"onset": ds["event_onset"].values, "duration": 8.0, "trial_type": "go"})
    frame_times = (np.arange(120) + 0.5) * TR
    return make_first_level_design_matrix(frame_times, table, "spm", add_regs=ds["confound"].values).to_numpy()


def nilearn_z(ds):
    matrix = design_matrix(ds)
    labels, results = run_glm(ds["series"].values.astype(np.float64), matrix, noise_model="ar1")
    return compute_contrast(labels, results, np.eye(matrix.shape[1])[0], stat_type="t")


def test_activation_map__agrees_with_nilearn(ds, maps):
    expected = nilearn_z(ds)
    got = of_voxels(maps["statistic"].sel(condition="go", modality="bold"), ds)
    assert np.corrcoef(got, expected.z_score().ravel())[0, 1] > 0.9999
    effect = of_voxels(maps["effect"].sel(condition="go", modality="bold"), ds)
    percent = 100 * expected.effect_size().ravel() / ds["series"].values.mean(axis=0)
    assert np.corrcoef(effect, percent)[0, 1] > 0.999
    assert np.polyfit(percent, effect, 1)[0] == pytest.approx(1, abs=0.01)
    variance = of_voxels(maps["effect_variance"].sel(condition="go", modality="bold"), ds)
    expected_variance = expected.effect_variance().ravel() * (100 / ds["series"].values.mean(axis=0)) ** 2
    np.testing.assert_allclose(variance, expected_variance, rtol=0.02)


def test_activation_map__finds_the_planted_voxels(ds, maps):
    truth = ds["truth_task"].values
    for modality in ("bold", "eeg"):
        assert auc(of_voxels(maps["statistic"].sel(condition="go", modality=modality), ds), truth) > 0.95
    p = of_voxels(maps["p_fwe"].sel(condition="go", modality="bold"), ds)
    assert (p < 0.05)[truth].mean() > 0.5
    assert (p < 0.05)[~truth].mean() < 0.02


@pytest.mark.parametrize("null", ["phase", "shift", "block"])
def test_activation_map__each_null_finds_the_planted_voxels_and_says_what_it_is(ds, null):
    got = activation_map(ds, contrasts={}, null=null)
    truth = ds["truth_task"].values
    p = of_voxels(got["p_fwe"].sel(condition="go", modality="bold"), ds)
    assert (p < 0.05)[truth].mean() > 0.5
    assert (p < 0.05)[~truth].mean() < 0.02
    bold, eeg, joint = (json.loads(text) for text in got["null"].values)
    members = (91, 85, 85) if null == "shift" else (199, 199, 199)  # 15 volumes on either side left out; 6 without EEG
    assert (bold["n"], eeg["n"], joint["n"]) == members
    assert bold["smallest_p"] == pytest.approx(1 / (1 + members[0]), abs=1e-6)
    assert np.isfinite(got["null_maximum"]).sum("permutation").values.ravel().tolist() == list(members)
    assert float(got["p_fwe"].min()) >= 1 / (1 + max(members)) - 1e-7


def test_activation_map__says_what_each_statistic_is(maps):
    assert maps["modality"].values.tolist() == ["bold", "eeg", "joint"]
    assert maps["statistic_kind"].values.tolist() == ["z", "t", "delta_r2"]


def test_activation_map__threshold_of_the_null_is_the_threshold_of_p(ds, maps):
    bold = maps.sel(condition="go", modality="bold")
    z, p = np.abs(of_voxels(bold["statistic"], ds)), of_voxels(bold["p_fwe"], ds)
    threshold = critical_value(bold["null_maximum"].values, 0.05)
    assert z[p <= 0.05].min() > threshold - 0.05
    # z takes the autocorrelation from the full model, as nilearn does, p from the model without the contrast
    assert ((z > threshold) != (p <= 0.05)).mean() < 0.02


@pytest.mark.parametrize("volumes", [60, 120])
def test_activation_map__null_sessions_are_found_as_often_as_promised(volumes):
    """Too few for a narrow interval: `tests/validate` has 400 of each length."""
    found = 0
    for seed in range(40):
        null = analysis_dataset(2000 + seed, volumes=volumes, shape=(4, 6, 7))
        found += float(activation_map(null, contrasts={}, permutations=99)["p_fwe"].min()) < 0.05
    assert found <= 6  # of 40 at .05: more in 1 %; Bonferroni on the AR(1) t had 12 of 40 at 60 volumes


def test_activation_map__a_periodic_design_is_permuted_in_blocks(ds):
    onset = np.arange(10.0, 220.0, 24.0)
    random = np.random.default_rng(8)
    series = ds["series"].values.copy()
    response = np.convolve(((np.arange(0, 240, 0.1)[:, None] - onset + 1e-9) % 1e9 < 12).any(axis=1), np.hanning(80))
    series[:, 0] += 12 * unit(response[:2400][np.arange(120) * 20 + 10]) + random.standard_normal(120)
    periodic = ds.drop_vars(["event_onset", "event_duration", "event_condition"]).assign(
        series=(("time", "voxel"), series),
        event_onset=("event", onset),
        event_duration=("event", np.full(onset.size, 12.0)),
        event_condition=("event", ["go"] * onset.size),
    )
    got = activation_map(periodic, contrasts={})
    assert "permuted over blocks" in str(got["null"][0].values)
    assert of_voxels(got["p_fwe"][0, 0], ds)[0] < 0.05
    turned = activation_map(periodic, contrasts={}, null="phase")  # a turned sine is a shifted sine: it meets itself
    assert of_voxels(turned["p_fwe"][0, 0], ds)[0] >= of_voxels(got["p_fwe"][0, 0], ds)[0]


def test_activation_map__eeg_null_of_phases_is_the_t_of_a_surrogate(ds, maps):
    """Written out for three members: same phases, then ordinary least squares by nilearn."""
    matrix = design_matrix(ds)[6:]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (200, 58))
    y = ds["prediction"].values[6:].astype(np.float64)
    for member in (1, 77, 199):
        spectrum = np.fft.rfft(matrix[:, 0])
        turned = spectrum * np.exp(1j * np.r_[0, phases[member, 1:-1], 0 if phases[member, -1] < np.pi else np.pi])
        moved = np.column_stack([np.fft.irfft(turned, 114), matrix[:, 1:]])
        t = compute_contrast(*run_glm(y, moved, noise_model="ols"), np.eye(matrix.shape[1])[0], stat_type="t").stat()
        assert float(maps["null_maximum"][0, 1, member - 1]) == pytest.approx(np.abs(t).max(), rel=1e-3)


def test_activation_map__eeg_null_of_shifts_is_the_t_of_the_shifted_design(ds):
    maps = activation_map(ds, contrasts={}, null="shift")
    matrix = design_matrix(ds)[6:]
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
    each = activation_map(two, contrasts={}).drop_sel(modality="joint")
    got = got.drop_sel(modality="joint")
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


@pytest.mark.parametrize("level", [0.0, -1.0, 1.0])
def test_activation_map__refuses_bold_without_its_level(level):
    """Of -1, all effects in percent would have the wrong sign, of 0 half of them."""
    ds = analysis_dataset(5, volumes=80)
    ds = ds.assign(series=ds["series"] - ds["series"].mean("time") + np.float32(level))
    with pytest.raises(InputError, match="must stand at least 3 deviations above 0 for effects in percent of its mean"):
        activation_map(ds, contrasts={}, permutations=19)
    chunked = activation_map(lazy(ds), contrasts={}, permutations=19)
    with pytest.raises(InputError, match="not demeaned, standardised or freed of confounds"):
        chunked["effect"].compute()
