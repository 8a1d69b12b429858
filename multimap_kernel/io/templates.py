"""The template that sessions are normalised to; it comes with nilearn, no network is needed."""

from __future__ import annotations

import numpy as np
import xarray as xr
from nilearn.datasets import load_mni152_template
from nilearn.image import resample_img

from multimap_kernel.schema import InputError, affine_coordinate, annotate

SPACE = "MNI152NLin2009aSym"
FINEST_MM, COARSEST_MM = 1.0, 20.0
BRAIN = 0.2
"""Brightness of the template above which nilearn takes a voxel as brain."""


def load_template(resolution_mm: float) -> xr.Dataset:
    """Load the skull-stripped MNI152 template (ICBM 2009a, symmetric) on a grid of the wanted resolution.

    Parameters
    ----------
    resolution_mm
        Edge of a voxel, mm, from 1 to 20.

    Returns
    -------
    ``anatomy (z, y, x; 1)`` float32, at most 1, ``mask (z, y, x)`` of the brain, ``affine (world, index; mm)``;
    attribute ``space`` ``"MNI152NLin2009aSym"``.

    Raises
    ------
    InputError
        If the resolution is out of range.

    References
    ----------
    .. [1] Fonov et al. 2011, NeuroImage 54: 313-327.
    """
    if not FINEST_MM <= resolution_mm <= COARSEST_MM:
        raise InputError(f"resolution_mm must lie between {FINEST_MM:g} and {COARSEST_MM:g}, found {resolution_mm:g}")
    # nilearn's own option takes whole millimetres only; this is what it does with them
    image = resample_img(load_mni152_template(resolution=1), np.eye(3) * resolution_mm)
    anatomy = np.ascontiguousarray(np.asarray(image.dataobj, np.float32).T)
    dims = ("z", "y", "x")
    ds = xr.Dataset({"anatomy": (dims, anatomy), "mask": (dims, anatomy > BRAIN)}, attrs={"space": SPACE})
    return ds.map(annotate).assign_coords(affine=affine_coordinate(image.affine))
