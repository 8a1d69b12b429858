"""The mask holds the brain of a template, and only voxels that can be used."""

import nibabel as nib
import numpy as np
import pytest
from heads import GRID, head, upright
from nilearn.datasets import load_mni152_brain_mask
from nilearn.masking import compute_epi_mask
from scipy.ndimage import affine_transform

from multimap_kernel.fmri.mask import brain_mask


def brain_on(affine: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """The template's brain (z, y, x) on a grid."""
    template = load_mni152_brain_mask(resolution=2)
    matrix = np.linalg.inv(template.affine) @ affine
    brain = np.asarray(template.dataobj).astype(float)
    return affine_transform(brain, matrix[:3, :3], matrix[:3, 3], grid, order=1).T > 0.5


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice."""
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize(("grid", "voxel"), [(GRID, (6.5, 6.5, 6.5)), ((64, 64, 36), (3.5, 3.5, 3.8))])
def test_brain_mask__covers_the_brain_and_not_the_scalp(grid, voxel):
    affine = upright(grid, voxel)
    image, truth = head(affine, grid=grid), brain_on(affine, grid)
    found = brain_mask(image, affine[:, [2, 1, 0, 3]], np.ones(image.shape, bool))
    assert overlap(found, truth) > 0.9


@pytest.mark.parametrize(
    "shown", [np.s_[10:24], np.s_[16:28], np.s_[14:34, 20:], np.s_[:, :, 26:40]], ids=["z", "thin", "z and y", "x"]
)
def test_brain_mask__reaches_the_end_of_the_field_of_view_where_the_brain_goes_on(shown):
    grid = (64, 64, 36)
    affine = upright(grid, (3.5, 3.5, 3.8))
    image, truth = head(affine, grid=grid)[shown], brain_on(affine, grid)[shown]
    found = brain_mask(image, affine[:, [2, 1, 0, 3]], np.ones(image.shape, bool))  # its shift does not matter
    for axis in range(3):
        for face in (0, 1, -2, -1):
            if (brain := truth.take(face, axis)).sum() > 200:
                assert overlap(found.take(face, axis), brain) > 0.9, (axis, face)
    assert overlap(found, truth) > 0.95


@pytest.mark.parametrize("filled", [0.0, np.nan])
@pytest.mark.parametrize("shown", [np.s_[10:24], np.s_[10:36], np.s_[14:34, 20:]], ids=["middle", "top", "z and y"])
def test_brain_mask__is_the_same_with_outer_slices_of_no_data(shown, filled):
    """Slices of zeros, padded or left by a motion correction, had taken two slices of brain at each end with them."""
    grid = (64, 64, 36)
    affine = upright(grid, (3.5, 3.5, 3.8))
    image, to_world = head(affine, grid=grid)[shown], affine[:, [2, 1, 0, 3]]
    expected = brain_mask(image, to_world, np.ones(image.shape, bool))
    wide, inner = np.pad(image, ((1, 2), (2, 1), (0, 40)), constant_values=filled), np.s_[1:-2, 2:-1, :-40]
    for valid in (wide > 0, np.isfinite(wide)):  # zeros that change in a volume are valid
        found = brain_mask(wide, to_world, valid)
        np.testing.assert_array_equal(found[inner], expected)
        assert found.sum() == expected.sum()


def test_brain_mask__is_nilearns_where_the_head_lies_inside():
    grid = (60, 64, 48)
    affine = upright(grid, (4.0, 4.0, 4.0))
    image = head(affine, grid=grid)
    expected = np.asarray(compute_epi_mask(nib.Nifti1Image(image.T, affine)).dataobj).T > 0
    np.testing.assert_array_equal(brain_mask(image, affine[:, [2, 1, 0, 3]], np.ones(image.shape, bool)), expected)


def test_brain_mask__holds_valid_voxels_only():
    affine = upright()
    valid = np.random.default_rng(2).random(GRID[::-1]) > 0.3
    image = np.where(valid, head(affine), np.nan)
    assert not (brain_mask(image, affine[:, [2, 1, 0, 3]], valid) & ~valid).any()
