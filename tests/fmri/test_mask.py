"""The mask holds the brain of a template, and only voxels that can be used."""

import numpy as np
import pytest
from heads import GRID, head, upright
from nilearn.datasets import load_mni152_brain_mask
from scipy.ndimage import affine_transform

from multimap_kernel.fmri.mask import brain_mask


@pytest.mark.parametrize(("grid", "voxel"), [(GRID, (6.5, 6.5, 6.5)), ((64, 64, 36), (3.5, 3.5, 3.8))])
def test_brain_mask__covers_the_brain_and_not_the_scalp(grid, voxel):
    affine = upright(grid, voxel)
    image = head(affine, grid=grid)
    template = load_mni152_brain_mask(resolution=2)
    matrix = np.linalg.inv(template.affine) @ affine
    brain = np.asarray(template.dataobj).astype(float)
    truth = affine_transform(brain, matrix[:3, :3], matrix[:3, 3], grid, order=1).T > 0.5
    found = brain_mask(image, affine[:, [2, 1, 0, 3]], np.ones(image.shape, bool))
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_brain_mask__holds_valid_voxels_only():
    affine = upright()
    valid = np.random.default_rng(2).random(GRID[::-1]) > 0.3
    image = np.where(valid, head(affine), np.nan)
    assert not (brain_mask(image, affine[:, [2, 1, 0, 3]], valid) & ~valid).any()
