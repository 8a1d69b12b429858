"""Several runs of one person: `fixed_effects` of their maps is the model of the runs one after the other."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from analysis import TR, analysis_dataset
from nilearn.glm.contrasts import compute_contrast, compute_fixed_effects
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm
from scipy.linalg import block_diag, toeplitz

from multimap_kernel.maps import activation_map, fixed_effects, stack_maps


@pytest.fixture(scope="module")
def runs():
    """Of unequal length, noise and events."""
    first, second = analysis_dataset(21, task=1.0), analysis_dataset(22, task=1.0, volumes=90)
    spread = np.random.default_rng(23).normal(0, 15, second["series"].shape)
    return {"1": first, "2": second.assign(series=second["series"] + spread.astype(np.float32))}


@pytest.fixture(scope="module")
def combined(runs):
    maps = {name: activation_map(ds, contrasts={}, permutations=1) for name, ds in runs.items()}
    together = fixed_effects(stack_maps(maps, dim="run")).sel(condition="go", modality="bold")
    return {name: together[name].values[runs["1"]["mask"].values] for name in ("effect", "effect_variance")}


def design(ds):
    """Task first, then nuisance (time, column), by nilearn alone."""
    table = pd.DataFrame({"onset": ds["event_onset"].values, "duration": 8.0, "trial_type": "go"})
    times = (np.arange(ds.sizes["time"]) + 0.5) * TR
    return make_first_level_design_matrix(times, table, "spm", add_regs=ds["confound"].values).to_numpy()


def percent(ds):
    series = ds["series"].values.astype(np.float64)
    return 100 * (series / series.mean(axis=0) - 1)


def concatenated(runs):
    """Data and design of all runs: one task column, drifts and confounds and level of each run its own."""
    tables = [design(ds) for ds in runs.values()]
    task = np.concatenate([table[:, 0] for table in tables])
    return np.concatenate([percent(ds) for ds in runs.values()]), np.column_stack(
        [task, block_diag(*(table[:, 1:] for table in tables))]
    )


def precision(y, X):
    """Inverse covariance of AR(1) noise of one voxel and run: rho of the residuals, variance at that rho."""
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    rho = rest[1:] @ rest[:-1] / (rest @ rest)
    inverse = np.linalg.inv(toeplitz(rho ** np.arange(len(y))))
    rest = y - X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse @ y)
    return inverse / (rest @ inverse @ rest / (len(y) - X.shape[1]))


def test_fixed_effects__equal_one_model_of_all_runs_each_with_its_own_noise(runs, combined):
    y, X = concatenated(runs)
    for voxel in range(0, y.shape[1], 8):
        W = block_diag(*(precision(percent(ds)[:, voxel], design(ds)) for ds in runs.values()))
        covariance = np.linalg.inv(X.T @ W @ X)
        estimate = (covariance @ X.T @ W @ y[:, voxel])[0]
        assert combined["effect"][voxel] == pytest.approx(estimate, rel=1e-3, abs=1e-4)
        assert combined["effect_variance"][voxel] == pytest.approx(covariance[0, 0], rel=1e-3)


def test_fixed_effects__agree_with_nilearn_on_runs_and_on_their_concatenation(runs, combined):
    images = []
    for ds in runs.values():
        labels, results = run_glm(percent(ds), design(ds), noise_model="ar1")
        one = compute_contrast(labels, results, np.eye(design(ds).shape[1])[0], stat_type="t")
        parts = (one.effect_size(), one.effect_variance())
        images.append([nib.Nifti1Image(part.reshape(-1, 1, 1), np.eye(4)) for part in parts])
    mask = nib.Nifti1Image(np.ones(images[0][0].shape, np.uint8), np.eye(4))
    effect, _, t, *_ = compute_fixed_effects(*zip(*images, strict=True), mask, precision_weighted=True)
    got = combined["effect"] / np.sqrt(combined["effect_variance"])
    assert np.corrcoef(combined["effect"], effect.get_fdata().ravel())[0, 1] > 0.9999
    assert np.corrcoef(got, t.get_fdata().ravel())[0, 1] > 0.9999
    y, X = concatenated(runs)
    labels, results = run_glm(y, X, noise_model="ar1")
    whole = compute_contrast(labels, results, np.eye(X.shape[1])[0], stat_type="t")
    # one autocorrelation and one variance for runs whose noise differs, which is why this is not the chosen form
    assert np.corrcoef(got, whole.stat().ravel())[0, 1] > 0.95
