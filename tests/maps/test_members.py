"""Maps of runs and sessions stacked and combined, as nilearn combines them."""

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nilearn.glm.contrasts import compute_fixed_effects

from multimap_kernel.maps import fixed_effects, group_map, stack_maps
from multimap_kernel.schema import InputError, SchemaError, affine_coordinate

SHAPE = (3, 4, 5)


def one_map(seed, *, conditions=("a", "b"), edge=3.0, shape=SHAPE):
    random = np.random.default_rng(seed)
    dims = ("condition", "modality", "z", "y", "x")
    effect = random.normal(0, 1, (len(conditions), 1, *shape)).astype(np.float32)
    variance = random.gamma(3, 1, effect.shape).astype(np.float32)
    return xr.Dataset(
        {"effect": (dims, effect, {"units": "1"}), "effect_variance": (dims, variance), "p_fwe": (dims, effect)},
        {
            "condition": list(conditions),
            "modality": ["bold"],
            "affine": affine_coordinate(np.diag([edge, edge, edge, 1])),
            "null": ("modality", [f"null {seed}"]),
        },
        {"space": "native"},
    )


def test_fixed_effects__agrees_with_nilearn():
    maps = {f"run-{seed}": one_map(seed, conditions=("a",)) for seed in range(3)}
    got = fixed_effects(stack_maps(maps, dim="run"))
    images = [
        [nib.Nifti1Image(ds[name].values[0, 0].astype(np.float64), np.eye(4)) for ds in maps.values()]
        for name in ("effect", "effect_variance")
    ]
    mask = nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4))
    effect, variance, *_ = compute_fixed_effects(*images, mask, precision_weighted=True)
    np.testing.assert_allclose(got["effect"].values[0, 0], effect.get_fdata(), rtol=1e-5)
    np.testing.assert_allclose(got["effect_variance"].values[0, 0], variance.get_fdata(), rtol=1e-5)


def test_fixed_effects__a_run_without_a_voxel_does_not_count():
    maps = {f"run-{seed}": one_map(seed) for seed in range(2)}
    maps["run-1"]["effect"][0, 0, 1, 2, 3] = np.nan
    got = fixed_effects(stack_maps(maps, dim="run"))["effect"]
    assert float(got[0, 0, 1, 2, 3]) == pytest.approx(float(maps["run-0"]["effect"][0, 0, 1, 2, 3]))
    assert np.isfinite(got).all()


def test_fixed_effects__lazy_and_equal():
    stacked = stack_maps({f"run-{seed}": one_map(seed) for seed in range(3)}, dim="run")
    got = fixed_effects(stacked.chunk({"run": 1, "z": 2}))
    assert got.chunks
    xr.testing.assert_allclose(got.compute(), fixed_effects(stacked), rtol=1e-6)


def test_fixed_effects__refuses_what_is_not_stacked():
    with pytest.raises(SchemaError, match=r"effect must have the dimension run, found .*use stack_maps"):
        fixed_effects(one_map(0))


def test_stack_maps__a_condition_that_one_map_lacks_is_nan():
    got = stack_maps({"01": one_map(0), "02": one_map(1, conditions=("b",))}, labels={"group": {"01": "x", "02": "y"}})
    assert got["effect"].dims == ("member", "condition", "modality", "z", "y", "x")
    assert got["effect"].isnull().all(("modality", "z", "y", "x")).values.tolist() == [[False, False], [True, False]]
    assert got["group"].values.tolist() == ["x", "y"]
    assert got.attrs["space"] == "native"


def test_stack_maps__correlations_become_fisher_z():
    r = one_map(0).rename(effect="statistic").assign_coords(statistic_kind="r", null="shifts")
    r["statistic"] = r["statistic"].clip(-0.9, 0.9)
    got = stack_maps({"01": r, "02": r})
    np.testing.assert_allclose(np.tanh(got["effect"].values[1]), r["statistic"].values, rtol=1e-6)
    assert "effect_variance" not in got


def test_stack_maps__refuses():
    with pytest.raises(InputError, match=r"must lie on one grid .* for 01 and .* for 02"):
        stack_maps({"01": one_map(0), "02": one_map(1, edge=4.0)})
    with pytest.raises(InputError, match=r"\(3, 4, 5\) in native for 01 and \(4, 4, 5\) in native for 02"):
        stack_maps({"01": one_map(0), "02": one_map(1, shape=(4, 4, 5))})
    with pytest.raises(InputError, match="at least one map"):
        stack_maps({})
    with pytest.raises(SchemaError, match="02 must have an effect, or r as statistic"):
        stack_maps({"01": one_map(0), "02": one_map(1).drop_vars("effect")})


def test_fixed_effects__runs_of_unknown_variance_weigh_the_same():
    maps = {f"run-{seed}": one_map(seed) for seed in range(3)}
    for ds in maps.values():
        ds["effect_variance"][1] = np.nan
    maps["run-2"]["effect"][1, 0, 0, 0, 0] = np.nan
    for stacked in (stack_maps(maps, dim="run"), stack_maps(maps, dim="run").chunk({"run": 1})):
        got = fixed_effects(stacked)
        values = np.stack([ds["effect"].values[1] for ds in maps.values()])
        np.testing.assert_allclose(got["effect"][1], np.nanmean(values, axis=0), rtol=1e-6)
        assert got["effect_variance"][1].isnull().all()
        known = fixed_effects(stacked.isel(condition=[0]))
        np.testing.assert_array_equal(got["effect"][0], known["effect"][0])


def test_group_map__members_with_several_runs_stay_where_the_variance_is_unknown():
    """As of the EEG of activation maps: four members have two runs, four have one."""
    members = {f"sub-{seed}": one_map(seed) for seed in range(8)}
    for seed, ds in enumerate(members.values()):
        ds["effect_variance"][:] = np.nan
        if seed < 4:
            runs = {"1": ds, "2": one_map(100 + seed).assign(effect_variance=ds["effect_variance"])}
            members[f"sub-{seed}"] = fixed_effects(stack_maps(runs, dim="run"))
    assert (group_map(stack_maps(members), permutations=19)["n"] == 8).all()
