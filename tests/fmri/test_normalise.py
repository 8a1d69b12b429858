"""One interpolation to the target grid, and none where nothing moved."""

import numpy as np
import pytest
import xarray as xr
from heads import GRID, head, run_of, upright
from lazy import max_computes
from scipy.ndimage import affine_transform

from multimap_kernel.fmri import motion_matrices, normalise, realign
from multimap_kernel.io.templates import load_template
from multimap_kernel.schema import InputError, affine_coordinate


@pytest.fixture(scope="module")
def ds():
    rng = np.random.default_rng(6)
    still = head(upright())
    volumes = np.stack([still + 20 * rng.standard_normal(still.shape) for _ in range(11)])
    return run_of(volumes.astype(np.float32), upright())


@pytest.fixture(scope="module")
def motion(ds):
    """No estimation, but motion all the same, so that it is known."""
    found = realign(ds, backend="none")
    found["motion"][1:] = np.random.default_rng(7).uniform(-1, 1, (10, 6)) * [3, 3, 3, 0.04, 0.04, 0.04]
    return found


@pytest.fixture(scope="module")
def target():
    return load_template(5.0)


def transform():
    matrix = np.diag([1.03, 0.97, 1.02, 1.0])
    matrix[:3, 3] = [2, -3, 4]
    matrix[0, 1] = 0.05
    return xr.Dataset({"transform": (("world", "index"), matrix[:3])})


def test_normalise__leaves_an_unmoved_native_run_bit_for_bit(ds):
    still = realign(ds, backend="none")
    result = normalise(ds, motion=still)
    mask = still["mask"].values
    np.testing.assert_array_equal(result["mask"], mask)
    np.testing.assert_array_equal(result["bold"].values[:, mask], ds["bold"].values[:, mask])
    assert np.isnan(result["bold"].values[:, ~mask]).all()
    assert result.attrs["space"] == "native"


def test_normalise__leaves_a_single_slice_alone():
    values = np.random.default_rng(1).integers(500, 900, (6, 1, 20, 40)).astype(np.int16)
    ds = run_of(values, np.diag([-3.1, 3.75, 3.75, 1]))
    result = normalise(ds, motion=realign(ds, backend="none"))
    assert result["mask"].all()
    np.testing.assert_array_equal(result["bold"], values)


def test_normalise__interpolates_once(ds, motion, target):
    """SciPy in double precision, with motion and affine as one matrix."""
    result = normalise(ds, motion=motion, transform=transform(), target=target)
    own, goal = (np.vstack([one["affine"].values, [0, 0, 0, 1]]) for one in (ds, target))
    to_native = np.linalg.inv(np.vstack([transform()["transform"].values, [0, 0, 0, 1]]))
    mask = result["mask"].values
    for k in (0, 4):
        matrix = np.linalg.inv(own) @ motion_matrices(motion)[k] @ to_native @ goal
        volume, shape = ds["bold"][k].values.T.astype(np.float64), target["mask"].shape[::-1]
        wanted = affine_transform(volume, matrix[:3, :3], matrix[:3, 3], shape, order=3, mode="mirror").T
        error = np.abs(result["bold"][k].values - wanted)[mask]
        assert error.max() < 1e-5 * np.abs(wanted).max()
    assert result.attrs["space"] == target.attrs["space"]
    assert mask.sum() > 0.9 * target["mask"].values.sum()


def test_normalise__undoes_the_motion_of_a_run():
    """A point that moves with the head stays where it is in the result."""
    blob = np.zeros((4, *GRID[::-1]), np.float32)
    z, y, x = np.indices(GRID[::-1])
    path = np.array([[0, 0, 0], [1.5, 0, 0], [0, -2, 0], [0, 0, 1]])  # voxels along x, y, z
    for volume, (i, j, k) in zip(blob, path, strict=True):
        volume[:] = np.exp(-((x - 15 - i) ** 2 + (y - 15 - j) ** 2 + (z - 9 - k) ** 2) / 8) + 1
    ds = run_of(blob, upright())
    motion = realign(ds, backend="none")
    motion["mask"][:] = True
    motion["motion"][:, :3] = path * 6.5
    result = normalise(ds, motion=motion)["bold"].values
    np.testing.assert_allclose(result[1:, 5:15, 8:24, 8:24], result[:1, 5:15, 8:24, 8:24].repeat(3, 0), atol=2e-3)


def test_normalise__gives_the_same_for_mirrored_storage(ds, motion, target):
    """LAS files and RAS files of one head must not differ: left stays left."""
    mirror = np.array([[-1, 0, 0, GRID[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    affine = affine_coordinate(np.vstack([ds["affine"].values, [0, 0, 0, 1]]) @ mirror)
    other = [one.isel(x=slice(None, None, -1)).assign_coords(affine=affine) for one in (ds, motion)]
    found = normalise(other[0], motion=other[1], transform=transform(), target=target)
    wanted = normalise(ds, motion=motion, transform=transform(), target=target)
    np.testing.assert_array_equal(found["mask"], wanted["mask"])
    np.testing.assert_allclose(found["bold"], wanted["bold"], atol=1e-5 * 1500)


def test_normalise__leaves_out_what_no_volume_shows(ds, motion, target):
    slab, seen = ds.isel(z=slice(0, 8)), motion.isel(z=slice(0, 8))
    result = normalise(slab, motion=seen, transform=transform(), target=target)
    mask = result["mask"].values
    assert 0 < mask.sum() < 0.6 * target["mask"].values.sum()
    assert np.isfinite(result["bold"].values[:, mask]).all()


def test_normalise__keeps_missing_voxels_missing(ds, target):
    damaged = ds.copy(deep=True)
    damaged["bold"][:, 10, 12:16, 12:16] = np.nan
    still = realign(damaged, backend="none")
    result = normalise(damaged, motion=still, transform=transform(), target=target)
    whole = normalise(ds, motion=realign(ds, backend="none"), transform=transform(), target=target)
    lost = whole["mask"].values & ~result["mask"].values
    assert 20 < lost.sum() < 80  # 16 voxels of 6.5 mm are 35 of 5 mm
    assert np.isfinite(result["bold"].values[:, result["mask"].values]).all()


@pytest.mark.parametrize("native", [True, False])
def test_normalise__does_not_depend_on_chunks(ds, motion, target, native):
    options = {} if native else {"transform": transform(), "target": target}
    whole = normalise(ds, motion=motion, **options)
    for chunks in ({"time": 3, "x": 5}, {"time": 1}, {"time": -1, "z": 6}):
        with max_computes(0):
            lazy = normalise(ds.chunk(chunks), motion=motion.chunk(time=4), **options)
        np.testing.assert_array_equal(lazy["bold"].compute(), whole["bold"])
        np.testing.assert_array_equal(lazy["mask"].compute(), whole["mask"])
        assert max(lazy["bold"].chunks[0]) == 8


def test_normalise__refuses_a_transform_without_target(ds, motion):
    with pytest.raises(InputError, match="transform and target must be given together"):
        normalise(ds, motion=motion, transform=transform())


def test_normalise__refuses_motion_of_another_run(ds, motion):
    with pytest.raises(InputError, match="the same volumes, found 11 and 9"):
        normalise(ds.isel(time=slice(0, 9)), motion=motion)


def test_normalise__refuses_a_head_that_is_elsewhere(ds, motion, target):
    away = transform()
    away["transform"][0, 3] = 900
    with pytest.raises(InputError, match="field of view must hold voxels"):
        normalise(ds, motion=motion, transform=away, target=target)
