"""Several runs of one subject as one map: the effect of `fixed_effects`, and a p that no single run could give."""

import json

import numpy as np
import pytest
import xarray as xr
from analysis import analysis_dataset, lazy, slow
from lazy import max_computes
from scipy.linalg import block_diag, toeplitz

from multimap_kernel.maps import activation_map, fixed_effects, stack_maps, subject_map
from multimap_kernel.maps.prewhitening import RHO_STEP, score
from multimap_kernel.schema import InputError


def predicted(ds, seed):
    """A prediction that follows the task where BOLD does, unknown in the first six volumes."""
    random = np.random.default_rng(seed)
    mixture = slow(random, ds.sizes["time"], (6,), 4) @ random.standard_normal((6, ds.sizes["voxel"]))
    evoked = ds["series"].values[:, ds["truth_task"].values].mean(axis=1) - 1000
    mixture[:, ds["truth_task"].values] += evoked[:, None]
    mixture[:6] = np.nan
    return ds.assign(prediction=(("time", "voxel"), mixture.astype(np.float32)))


@pytest.fixture(scope="module")
def runs():
    return {str(seed): predicted(analysis_dataset(seed, volumes=60 + 30 * (seed % 2), task=0.6), seed)
            for seed in range(31, 35)}  # fmt: skip


@pytest.fixture(scope="module")
def maps(runs):
    return subject_map(runs, contrasts={})


def test_subject_map__one_run_is_the_map_of_that_run(runs):
    one, expected = subject_map({"a": runs["31"]}, contrasts={}), activation_map(runs["31"], contrasts={})
    for name in ("statistic", "effect", "effect_variance", "p_fwe", "q_fdr"):
        np.testing.assert_allclose(one[name], expected[name].sel(modality=["bold", "eeg"]), rtol=1e-3, atol=2e-4)
    null = np.sort(expected["null_maximum"].sel(modality="bold"))
    np.testing.assert_allclose(np.sort(one["null_maximum"].sel(modality="bold")), null, rtol=1e-4)


def test_subject_map__effect_is_that_of_fixed_effects(runs, maps):
    each = {name: activation_map(ds, contrasts={}, permutations=1) for name, ds in runs.items()}
    expected = fixed_effects(stack_maps(each, dim="run")).sel(modality="bold")
    for name in ("effect", "effect_variance"):
        np.testing.assert_allclose(maps[name].sel(modality="bold"), expected[name], rtol=1e-4, atol=1e-6)
    assert maps.attrs["runs"] == list(runs)


def test_score__of_runs_adds_up_to_the_model_of_all_runs():
    """Against dense generalised least squares of the runs one after the other."""
    random = np.random.default_rng(0)
    total, wanted = np.zeros((2, 3, 5)), []
    data, designs = [], []
    for count in (50, 70):
        others = np.column_stack([np.ones(count), np.linspace(-1, 1, count), random.standard_normal(count)])
        series = np.cumsum(random.standard_normal((count, 5)), axis=0) * 0.3 + random.standard_normal((count, 5))
        rows = random.standard_normal((3, count))
        total += score(series.astype(np.float32), rows, others, "ar1")
        data.append(series)
        designs.append((rows, others))
    for voxel in range(5):
        W = []
        for series, (_, others) in zip(data, designs, strict=True):
            y = series[:, voxel]
            rest = y - others @ np.linalg.lstsq(others, y, rcond=None)[0]
            rho = RHO_STEP * np.round(rest[1:] @ rest[:-1] / (rest @ rest) / RHO_STEP)
            inverse = np.linalg.inv(toeplitz(rho ** np.arange(len(y))) / (1 - rho**2))
            rest = y - others @ np.linalg.solve(others.T @ inverse @ others, others.T @ inverse @ y)
            W.append(inverse / (rest @ inverse @ rest / (len(y) - 4)))
        for row in range(3):
            X = np.column_stack([np.concatenate([rows[row] for rows, _ in designs]),
                                 block_diag(*(others for _, others in designs))])  # fmt: skip
            covariance = np.linalg.inv(X.T @ block_diag(*W) @ X)
            estimate = covariance @ X.T @ block_diag(*W) @ np.concatenate([series[:, voxel] for series in data])
            wanted.append((estimate[0], covariance[0, 0]))
    got = np.stack([total[0] / total[1], 1 / total[1]], axis=-1).transpose(1, 0, 2).reshape(-1, 2)
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=1e-5)


def test_subject_map__finds_in_all_runs_what_no_run_shows_by_itself(runs, maps):
    truth, mask = runs["31"]["truth_task"].values, runs["31"]["mask"].values
    p = maps["p_fwe"].sel(condition="go").values[:, mask]
    for found in p < 0.05:
        assert found[truth].mean() > 0.5
        assert found[~truth].mean() < 0.02
    for ds in runs.values():
        alone = activation_map(ds.drop_vars("prediction"), contrasts={})["p_fwe"].values[0, 0, mask] < 0.05
        assert alone[truth].mean() < (p[0] < 0.05)[truth].mean()


def test_subject_map__short_runs_have_more_members_together_than_each():
    runs = {str(seed): analysis_dataset(seed, volumes=40, shape=(4, 6, 7)) for seed in (51, 52)}
    n = [json.loads(str(subject_map(one, contrasts={}, null="shift", permutations=999)["null"].values[0]))["n"]
         for one in (dict([*runs.items()][:1]), runs)]  # fmt: skip
    assert n == [11, 121]  # 30 s of exclusion on both sides of 80 s leave 11 shifts


def test_subject_map__null_subjects_are_found_as_often_as_promised():
    """Too few for a narrow interval: `tests/validate` has 400."""
    found = 0
    for seed in range(40):
        runs = {str(run): analysis_dataset(7000 + 2 * seed + run, volumes=60, shape=(4, 6, 7)) for run in range(2)}
        found += float(subject_map(runs, contrasts={}, permutations=99, seed=seed)["p_fwe"].min()) < 0.05
    assert found <= 6  # of 40 at .05: more in 1 %


def test_subject_map__dask_is_lazy_and_equal(runs, maps):
    some = dict([*runs.items()][:2])
    chunked = {name: lazy(ds).assign(mask=ds["mask"]) for name, ds in some.items()}
    with max_computes(0):
        got = subject_map(chunked, contrasts={}, permutations=49)
    expected = subject_map(some, contrasts={}, permutations=49)
    xr.testing.assert_allclose(got.compute(), expected, atol=1e-4)


def test_subject_map__voxels_are_those_that_all_runs_have(runs):
    one, other = runs["31"], runs["32"]
    mask = other["mask"].values.copy()
    mask[tuple(np.argwhere(mask)[0])] = False
    fewer = other.isel(voxel=slice(1, None)).assign(mask=(("z", "y", "x"), mask))
    got = subject_map({"a": one, "b": fewer}, contrasts={}, permutations=19)
    np.testing.assert_array_equal(got["mask"].values, mask)
    whole = subject_map({"a": one, "b": other}, contrasts={}, permutations=19)
    np.testing.assert_allclose(
        got["statistic"].values[..., mask], whole["statistic"].values[..., mask], rtol=1e-5, atol=1e-5
    )


def test_subject_map__refuses_runs_that_do_not_fit_together(runs):
    one, other = runs["31"], runs["32"]
    with pytest.raises(InputError, match=r"runs must hold a run and permutations be 1 or more, found \[\] and 199"):
        subject_map({}, contrasts={})
    named = other.assign(event_condition=("event", np.array(["stop"] * other.sizes["event"])))
    with pytest.raises(InputError, match="runs must have the same conditions"):
        subject_map({"a": one, "b": named}, contrasts={})
    with pytest.raises(InputError, match="must lie on one grid to be put together"):
        subject_map({"a": one, "b": other.assign_coords(affine=other["affine"] + 1)}, contrasts={})
    nothing = other.isel(voxel=slice(0, 0)).assign(mask=other["mask"] & False)
    with pytest.raises(InputError, match=r"must share a voxel, found none"):
        subject_map({"a": one, "b": nothing}, contrasts={})


def test_subject_map__refuses_a_run_without_its_level():
    runs = {name: analysis_dataset(seed, volumes=80) for name, seed in (("1", 31), ("2", 32))}
    runs["2"]["series"] -= runs["2"]["series"].mean("time") + 1
    with pytest.raises(InputError, match="must stand at least 3 deviations above 0"):
        subject_map(runs, contrasts={}, permutations=19)
