"""Motion against transforms that other tools planted, on usual, coarse and tiny grids."""

import nibabel as nib
import numpy as np
import pytest
from heads import GRID, VOXEL_MM, head, run_of, upright
from lazy import max_computes

from multimap_kernel.fmri import motion_matrices, realign
from multimap_kernel.fmri.rigid import matrices
from multimap_kernel.schema import InputError


def displacement(found, true, points):
    """Root mean square displacement (time,) in mm between two series of matrices, against their first volume."""
    world = np.c_[points, np.ones(len(points))].T
    change = found @ np.linalg.inv(found[0]) - true @ np.linalg.inv(true[0])
    return np.sqrt(((change @ world)[:, :3] ** 2).sum(1).mean(-1))


def moving_run(motion, grid=GRID, voxel=VOXEL_MM, noise=0.01, seed=1):
    """The head, moved; noise is a share of the mean brain."""
    affine = upright(grid, voxel)
    centre = (affine @ np.append((np.array(grid) - 1) / 2, 1))[:3]
    true = matrices(motion, centre)
    volumes = np.stack([head(affine, np.linalg.inv(matrix), grid) for matrix in true])
    volumes += noise * 900 * np.random.default_rng(seed).standard_normal(volumes.shape, np.float32)
    return run_of(volumes.astype(np.float32), affine), true


def brain_points(ds):
    mask = ds["mask"].values
    return np.argwhere(mask)[::5, ::-1] @ ds["affine"].values[:, :3].T + ds["affine"].values[:, 3]


@pytest.fixture(scope="module")
def walk():
    steps = np.random.default_rng(3).standard_normal((11, 6)) * [0.25, 0.25, 0.4, 0.004, 0.003, 0.003]
    motion = np.concatenate([np.zeros((1, 6)), np.cumsum(steps, 0)])
    return (*moving_run(motion), motion)


def read(path):
    image = nib.load(path)
    return run_of(np.asarray(image.dataobj).T, image.affine)


def test_realign__finds_the_motion_put_into_the_afni_run(shared_data):
    """The run of AFNI's 3dvolreg; its truth turns about the same point, but as Rx Ry Rz."""
    truth = np.loadtxt(shared_data / "afni_3dvolreg" / "truth.tsv")
    ds = realign(read(shared_data / "afni_3dvolreg" / "run.nii.gz"))
    centre = np.array([0, -18, 10])
    true = np.tile(np.eye(4), (len(truth), 1, 1))
    for k, six in enumerate(truth):
        x, y, z = (matrices(np.eye(6)[[3 + axis]] * six[3 + axis], centre)[0] for axis in range(3))
        true[k] = matrices(np.append(six[:3], np.zeros(3))[None], centre)[0] @ x @ y @ z
    found = motion_matrices(ds)
    assert ds["motion"].attrs["centre"] == pytest.approx(centre.tolist())
    assert displacement(found, true, brain_points(ds)).max() < 0.05
    turns = np.linalg.inv(true[:, :3, :3]) @ found[:, :3, :3] @ np.linalg.inv(found[0, :3, :3])
    assert np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1))).max() < 0.05
    assert np.abs((ds["motion"] - ds["motion"][0]).values - truth)[:, :3].max() < 0.05


def test_realign__is_exact_on_the_usual_grid():
    """Bar 5 of methods.md: at most 2 mm and 1 degree of motion, mean error 0.03 mm, greatest 0.08 mm."""
    motion = np.random.default_rng(4).uniform(-1, 1, (9, 6)) * [1.2, 1.2, 1.2, 0.017, 0.017, 0.017]
    ds, true = moving_run(motion, (64, 64, 36), (3.5, 3.5, 3.8))
    found = realign(ds)
    error = displacement(motion_matrices(found), true, brain_points(found))
    assert error[1:].mean() < 0.03
    assert error.max() < 0.08


def test_realign__follows_a_walk_on_coarse_voxels(walk):
    """At 6.5 mm the scalp is thinner than a voxel; 2 % of a voxel is what can be had."""
    ds, true, motion = walk
    found = realign(ds)
    error = displacement(motion_matrices(found), true, brain_points(found))
    assert error.max() < 0.02 * 6.5
    assert np.corrcoef(found["motion"][:, 2], motion[:, 2])[0, 1] > 0.999


def test_realign__finds_large_motion_with_lost_slices_and_missing_voxels():
    motion = np.zeros((10, 6))
    motion[4:] = [3.0, -4.0, 6.0, 0.08, -0.05, 0.06]
    ds, true = moving_run(motion)
    values = ds["bold"].values
    values[6, 8:11] = 0
    values[:, 5, 10:13, 10:13] = np.nan
    found = realign(ds)
    assert displacement(motion_matrices(found), true, brain_points(found)).max() < 0.15
    assert not found["mask"].values[5, 10:13, 10:13].any()
    assert np.isnan(found["reference"].values[5, 10:13, 10:13]).all()


def test_realign__gives_an_empty_volume_the_motion_of_its_neighbours(walk):
    ds, _, _ = walk
    damaged = ds.copy(deep=True)
    damaged["bold"][5] = 0
    motion = realign(damaged)["motion"].values
    np.testing.assert_allclose(motion[5], (motion[4] + motion[6]) / 2)


def test_realign__uses_the_steady_state_only_for_its_reference(walk):
    ds, _, _ = walk
    bright = ds.copy(deep=True)
    bright["bold"][:2] *= 1.5
    bright = bright.assign_coords(steady_state=("time", np.arange(12) >= 2))
    found = realign(bright)["reference"].values
    assert found.max() < 1.1 * ds["bold"][2:].values.max()


@pytest.mark.parametrize("backend", ["native", "none"])
def test_realign__does_not_depend_on_chunks(walk, backend):
    ds, _, _ = walk
    whole = realign(ds, backend=backend)
    for chunks in ({"time": 5, "z": 7}, {"time": 1}, {"time": -1, "y": 9}):
        with max_computes(0):
            lazy = realign(ds.chunk(chunks), backend=backend)
        for name in ("motion", "reference", "mask"):
            np.testing.assert_array_equal(lazy[name].compute(), whole[name])


@pytest.mark.parametrize("name", ["bold_1slice.nii.gz", "bold_25mm.nii.gz"])
def test_realign__takes_tiny_grids_without_estimation(shared_data, name):
    folder = shared_data / "haxby_pymvpa" / "haxby2001" / "sub001" / "BOLD" / "task001_run001"
    ds = read(folder / name)
    found = realign(ds, backend="none")
    assert not found["motion"].values.any()
    mean = ds["bold"].mean("time").values
    mask = found["mask"].values
    assert 0.1 < mask.mean() < 0.9
    assert mean[mask].min() > 0.2 * np.percentile(mean, 98)


def test_realign__estimates_on_25_mm_voxels(shared_data):
    """Haxby's run was resampled to 25 mm; its head moved less than 2 mm."""
    folder = shared_data / "haxby_pymvpa" / "haxby2001" / "sub001" / "BOLD" / "task001_run001"
    found = realign(read(folder / "bold_25mm.nii.gz"))
    assert np.abs(found["motion"].values[:, :3]).max() < 2
    assert np.abs(found["motion"].values[:, 3:]).max() < 0.03


def test_realign__refuses_a_slab_it_cannot_see_through(walk):
    ds, _, _ = walk
    with pytest.raises(InputError, match=r"4 voxels along each axis.*realign.backend: none"):
        realign(ds.isel(z=slice(0, 1)))


def test_realign__refuses_a_run_without_steady_state(walk):
    ds, _, _ = walk
    with pytest.raises(InputError, match="two steady-state volumes, found 1 of 12"):
        realign(ds.assign_coords(steady_state=("time", np.arange(12) == 0)))


def test_realign__refuses_a_run_that_never_changes():
    with pytest.raises(InputError, match="finite in all volumes and change over time"):
        realign(run_of(np.ones((5, 8, 8, 8), np.float32), np.eye(4)))


def test_realign__refuses_an_unknown_backend(walk):
    with pytest.raises(InputError, match="'native' or 'none', found 'fsl'"):
        realign(walk[0], backend="fsl")
