"""Runs of a head whose place is known: nilearn's template, as an EPI sequence would show it."""

from functools import cache

import numpy as np
import xarray as xr
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from scipy import ndimage

from multimap_kernel import schema

GRID = (32, 32, 20)  # x, y, z
VOXEL_MM = (6.5, 6.5, 6.5)
MIDDLE = np.array([0.0, -18.0, 12.0])


def run_of(volumes: np.ndarray, affine: np.ndarray, repetition_time: float = 2.0, steady=None) -> xr.Dataset:
    """Wrap volumes (time, z, y, x) as the readers do."""
    coords = schema.volume_coordinates(len(volumes), repetition_time, steady)
    return xr.Dataset(
        {"bold": (("time", "z", "y", "x"), volumes)},
        coords={**coords, "affine": schema.affine_coordinate(affine)},
        attrs={"repetition_time": repetition_time, "space": "native"},
    )


def upright(grid=GRID, voxel=VOXEL_MM, middle=MIDDLE) -> np.ndarray:
    """Affine of an upright RAS grid around the head."""
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = middle - np.array(voxel) * (np.array(grid) - 1) / 2
    return affine


@cache
def _source(voxel: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """EPI contrast at 2 mm (liquor bright, white matter dark), blurred to the voxel; and its affine."""
    t1, brain = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    values = np.asarray(t1.dataobj, np.float32)
    inside = np.asarray(brain.dataobj) > 0
    shell = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(inside, iterations=3)
    signal = 1000 * np.where(inside, 1.4 - values / values.max(), 0.25 * shell)
    return ndimage.gaussian_filter(signal, np.array(voxel) * 0.42 / 2), t1.affine


def head(affine: np.ndarray, to_template=None, grid=GRID) -> np.ndarray:
    """The head (z, y, x) on a grid; ``to_template`` takes its world to the template's."""
    source, place = _source(tuple(np.linalg.norm(affine[:3, :3], axis=0)))
    matrix = np.linalg.inv(place) @ (np.eye(4) if to_template is None else to_template) @ affine
    return ndimage.affine_transform(source, matrix[:3, :3], matrix[:3, 3], grid, order=3).T.astype(np.float32)


def landmarks() -> np.ndarray:
    """Points (n, 3) all over the brain of the template, mm."""
    brain = load_mni152_brain_mask(resolution=2)
    points = np.argwhere(np.asarray(brain.dataobj) > 0)[::997]
    return points @ brain.affine[:3, :3].T + brain.affine[:3, 3]
