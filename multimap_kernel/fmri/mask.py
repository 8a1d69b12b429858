"""Which voxels of a run hold brain."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
from nilearn.masking import compute_epi_mask
from scipy.ndimage import find_objects

SMALLEST = 12
"""Grids with fewer voxels along an axis are too small for the morphology of an EPI mask."""
SHARE = 0.25
"""On those grids, voxels above this share of the bright ones (98th percentile) are kept."""


def brain_mask(reference: np.ndarray, to_world: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Find the brain in a reference volume.

    Parameters
    ----------
    reference : (z, y, x)
        Reference volume of a run.
    to_world : (4, 4)
        Array indices (z, y, x, 1) to RAS+ mm.
    valid : (z, y, x) bool
        Voxels that may be in the mask: finite in all volumes, and not constant.

    Returns
    -------
    Mask (z, y, x): nilearn's EPI mask, carried on beyond the field of view where the brain is cut by it, or a plain
    threshold where the grid is too small for it. Outer slices of zeros or without a valid voxel are not part of the
    field of view: padding does not change the mask.
    """
    image = np.where(valid, np.nan_to_num(reference), 0.0).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    for seen in find_objects((image != 0).astype(np.uint8)):  # one box, or none
        if min(image[seen].shape) >= SMALLEST:
            mask[seen] = _epi_mask(image[seen], to_world)
    if not (mask & valid).any() and valid.any():
        mask = image > SHARE * np.percentile(image[valid], 98)
    brain: np.ndarray = mask & valid
    return brain


def _epi_mask(image: np.ndarray, to_world: np.ndarray) -> np.ndarray:
    # Opening works in voxels: at 6 mm, nilearn's default of 2 would eat the poles of the brain.
    opening = 2 if float(np.cbrt(abs(np.linalg.det(to_world[:3, :3])))) < 5 else 1
    brain = _opened(image, to_world, opening)
    # Opening takes what lies outside the field of view for air, and with it the outer slices of a brain that goes on.
    beyond = 2 * opening
    widths = [
        tuple(beyond * bool(brain.take(face, axis).any()) for face in (opening, -1 - opening)) for axis in range(3)
    ]
    if not np.any(widths):
        return brain
    inner = tuple(slice(low, low + size) for (low, _), size in zip(widths, image.shape, strict=True))
    return _opened(np.pad(image, widths, mode="edge"), to_world, opening)[inner]


def _opened(image: np.ndarray, to_world: np.ndarray, opening: int) -> np.ndarray:
    """Mask of nilearn; where the grid lies does not matter to it."""
    picture = nib.Nifti1Image(image.transpose(2, 1, 0), to_world[:, [2, 1, 0, 3]])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Computed an empty mask")
        found = compute_epi_mask(picture, opening=opening)
    brain: np.ndarray = np.asarray(found.dataobj).transpose(2, 1, 0) > 0
    return brain
