"""Group maps against scipy, against nilearn, and against planted truth."""

import json

import numpy as np
import pytest
import xarray as xr
from analysis import auc
from group_study import SHAPE, in_groups, in_pairs, study, with_holes
from lazy import max_computes
from nilearn.mass_univariate import permuted_ols
from scipy import stats

from multimap_kernel.maps import group_map
from multimap_kernel.schema import InputError, SchemaError


def test_group_map__one_sample_agrees_with_scipy():
    ds = with_holes(study(0, conditions=("a", "b")))
    got = group_map(ds, coverage=0.6)
    n = np.isfinite(ds["effect"].values).sum(axis=0)
    expected = stats.ttest_1samp(ds["effect"].values, 0, axis=0, nan_policy="omit").statistic
    np.testing.assert_allclose(got["statistic"].values, np.where(n >= 8, expected, np.nan), rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(got["effect"].values, np.where(n >= 8, np.nanmean(ds["effect"], 0), np.nan), rtol=1e-4,
                               atol=1e-6)  # fmt: skip
    np.testing.assert_array_equal(got["n"].values, n)
    assert got.attrs["members"] == ds["member"].values.tolist()


def test_group_map__two_sample_agrees_with_scipy():
    ds = in_groups(with_holes(study(1, 13)))
    got = group_map(ds, test="two-sample", coverage=0.7)
    old, young = ds["effect"].values[:5], ds["effect"].values[5:]
    expected = stats.ttest_ind(old, young, axis=0, nan_policy="omit").statistic
    tested = np.isfinite(got["statistic"].values)
    assert 0.9 < tested.mean() < 1
    np.testing.assert_allclose(got["statistic"].values[tested], expected[tested], rtol=5e-4, atol=1e-5)
    turned = group_map(ds, test="two-sample", coverage=0.7, levels=("young", "old"))
    np.testing.assert_allclose(turned["statistic"], -got["statistic"], rtol=1e-4, atol=1e-6)


def test_group_map__paired_agrees_with_scipy():
    ds = in_pairs(study(2, 16))
    got = group_map(ds, test="paired", levels=("pre", "post"))
    expected = stats.ttest_rel(ds["effect"].values[:8], ds["effect"].values[:7:-1]).statistic
    np.testing.assert_allclose(got["statistic"].values, expected, rtol=2e-4, atol=1e-5)
    assert json.loads(str(got["null"].values))["n"] == 127
    assert got.attrs["members"] == [f"s{number}" for number in range(8)]


def test_group_map__null_is_that_of_nilearn():
    ds = study(3, 14, shape=(8, 9, 10))
    got = group_map(ds, permutations=2000)
    flat = ds["effect"].values.reshape(14, -1).astype(np.float64)
    peer = permuted_ols(np.ones((14, 1)), flat, model_intercept=False, n_perm=2000, random_state=1, output_type="dict")
    ours, theirs = (np.quantile(np.ravel(null), [0.5, 0.9, 0.95]) for null in (got["null_maximum"], peer["h0_max_t"]))
    np.testing.assert_allclose(ours, theirs, rtol=0.05)
    np.testing.assert_allclose(got["statistic"].values.ravel(), peer["t"].ravel(), rtol=1e-4, atol=1e-5)
    corrected = -np.log10(got["p_fwe"].values.ravel())
    assert np.abs(corrected - peer["logp_max_t"].ravel()).max() < 0.15


def test_group_map__each_member_of_the_null_is_the_t_of_a_flip():
    ds = study(4, 4)
    got = group_map(ds)
    flips = [np.array([1, *signs]) for signs in np.ndindex(2, 2, 2) if any(signs)]
    values = ds["effect"].values
    expected = [np.abs(stats.ttest_1samp(values * (1 - 2.0 * (flip * [0, 1, 1, 1]))[:, None, None, None, None, None], 0)
                       .statistic).max() for flip in flips]  # fmt: skip
    np.testing.assert_allclose(np.sort(got["null_maximum"].values.ravel()), np.sort(expected), rtol=1e-3)
    assert json.loads(str(got["null"].values))["smallest_p"] == 0.125


@pytest.mark.parametrize("test", ["one-sample", "paired", "two-sample"])
def test_group_map__finds_what_was_planted(test):
    if test == "one-sample":
        ds = study(5, 16, planted=3.0)
    else:
        ds = in_pairs(study(5, 32)) if test == "paired" else in_groups(study(5, 32), 16)
        ds["effect"][:16, :, :, 0] += 4.0
    levels = {"one-sample": None, "paired": ("pre", "post"), "two-sample": ("old", "young")}[test]
    got = group_map(ds, test=test, levels=levels)
    truth = np.zeros(SHAPE, bool)
    truth[0] = True
    assert auc(got["statistic"].values.ravel(), truth.ravel()) > 0.97
    found = got["p_fwe"].values[0, 0] < 0.05
    assert found[truth].mean() > 0.5
    assert found[2:].mean() < 0.01
    assert (got["q_fdr"].values <= got["p_fwe"].values + 0.05).all()


def test_group_map__clusters_of_the_planted_plane():
    ds = in_groups(study(5, 32), 16)
    ds["effect"][:16, :, :, 0] += 4.0
    options = {"test": "two-sample", "levels": ("old", "young"), "permutations": 199}
    got, plain = group_map(ds, **options, cluster_p=0.001), group_map(ds, **options)
    found = got["p_cluster"].values[0, 0] < 0.05
    assert found[0].mean() > 0.5
    assert found[2:].mean() < 0.01
    np.testing.assert_array_equal(got["p_fwe"], plain["p_fwe"])
    assert "p_cluster" not in plain
    with max_computes(0):
        lazy = group_map(ds.assign(effect=ds["effect"].chunk({"z": 2})), **options, cluster_p=0.001)
    np.testing.assert_array_equal(lazy["p_cluster"], got["p_cluster"])


def test_group_map__clusters_of_null_studies_are_found_as_often_as_promised():
    options = {"permutations": 127, "cluster_p": 0.01}
    p = [float(group_map(study(900 + seed, 9, shape=(4, 5, 6)), **options)["p_cluster"].min()) for seed in range(40)]
    assert sum(one < 0.05 for one in p) <= 6  # of 40 at .05: more in 1 %


def test_group_map__null_studies_are_found_as_often_as_promised():
    """Too few for a narrow interval: `tests/validate` has 200."""
    found = [
        float(group_map(study(100 + seed, 9, shape=(4, 5, 6)), permutations=255)["p_fwe"].min()) < 0.05
        for seed in range(60)
    ]
    assert sum(found) <= 8  # of 60 at .05: more in less than 1 %


@pytest.mark.parametrize("test", ["one-sample", "two-sample"])
def test_group_map__dask_is_lazy_and_equal(test):
    ds = in_groups(with_holes(study(6, conditions=("a", "b"))))
    expected = group_map(ds, test=test, coverage=0.5)
    with max_computes(0):
        chunked = ds.chunk({"member": 5, "condition": 1, "z": 4, "x": 7}).assign_coords(group=ds["group"])
        got = group_map(chunked, test=test, coverage=0.5)
    for name in expected.data_vars:
        np.testing.assert_allclose(got[name].values, expected[name].values, rtol=1e-5, err_msg=name)
    assert str(got["null"].values) == str(expected["null"].values)


def test_group_map__a_member_without_a_condition_has_no_part_in_its_null():
    ds = study(7, 8, conditions=("a", "b"))
    ds["effect"][0, 1] = np.nan
    got = group_map(ds)
    alone = group_map(ds.isel(member=slice(1, None)).sel(condition=["b"]))
    np.testing.assert_allclose(got["statistic"].sel(condition="b"), alone["statistic"].sel(condition="b"), rtol=1e-5)
    assert np.isfinite(got["null_maximum"]).sum("permutation").values.ravel().tolist() == [127, 63]
    assert json.loads(str(got["null"].values))["n"] == 63


def test_group_map__a_family_of_several_maps_is_judged_by_the_largest_of_all():
    ds = study(9, 9, conditions=("a", "b", "c"))
    got, alone = group_map(ds, family=("condition",)), group_map(ds)
    xr.testing.assert_equal(got["statistic"].drop_vars("null"), alone["statistic"].drop_vars("null"))
    assert "voxels, condition" in str(got["null"].values)
    assert got["null_maximum"].dims == ("modality", "permutation")
    np.testing.assert_array_equal(got["null_maximum"], alone["null_maximum"].max("condition"))
    assert (got["p_fwe"] >= alone["p_fwe"]).all()
    ds["effect"][0, 1] = np.nan
    with pytest.raises(InputError, match="members must have all maps of a family"):
        group_map(ds, family=("condition",))
    with pytest.raises(SchemaError, match=r"family must name dimensions of effect .* found \['lag'\]"):
        group_map(ds, family=("lag",))


def test_group_map__refuses_what_it_cannot_answer():
    ds = study(8, 6)
    with pytest.raises(InputError, match=r"at least 3 members, found \['00', '01'\]"):
        group_map(ds.isel(member=slice(2)))
    with pytest.raises(InputError, match="members must have different names"):
        group_map(ds.assign_coords(member=["a"] * 6))
    with pytest.raises(InputError, match="needs the coordinate group"):
        group_map(ds, test="two-sample")
    with pytest.raises(InputError, match=r"at least 2 members, found \{'old': 1, 'young': 5\}"):
        group_map(in_groups(ds, 1), test="two-sample")
    with pytest.raises(InputError, match=r"group must have two values, found \['a', 'b', 'c'\]; name two"):
        group_map(ds.assign_coords(group=("member", list("aabbcc"))), test="two-sample")
    with pytest.raises(InputError, match="one of each for subject s0, found 1 of post and 0 of pre"):
        group_map(in_pairs(ds).isel(member=slice(1, None)), test="paired")
    with pytest.raises(InputError, match=r"coverage must lie in \(0, 1\]"):
        group_map(ds, coverage=0.0)
    with pytest.raises(SchemaError, match=r"effect must have dimensions \(member, ..., z, y, x\)"):
        group_map(ds.transpose("condition", ...))
