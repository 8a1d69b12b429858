"""Gaussian smoothing inside the mask."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, call, is_lazy
from multimap_kernel.schema import InputError, annotate, require, to_volume

_VOLUMES = 32  # volumes in a task: a 64 x 64 x 36 grid is then 19 MB
_FWHM = np.sqrt(8 * np.log(2))


def smooth(ds: xr.Dataset, *, fwhm_mm: float) -> xr.Dataset:
    """Smooth voxel series with a Gaussian that stops at the edge of the mask.

    Normalised convolution: values and mask are smoothed alike and divided, so that nothing leaks in from outside and
    the mean at the edge stays. A voxel that is NaN gives nothing to its neighbours and stays NaN.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``mask (z, y, x)``, ``affine (world, index; mm)``; ``prediction (time, voxel; 1)``
        is smoothed too if there. NumPy or Dask; lazy on Dask, in blocks of volumes.
    fwhm_mm
        Full width at half maximum, mm; 0 changes nothing.

    Returns
    -------
    The Dataset with ``series`` and ``prediction`` smoothed, float32.

    Raises
    ------
    SchemaError
        If a variable is missing or has the wrong form.
    InputError
        If the width is negative.

    References
    ----------
    Knutsson & Westin (1993), Normalized and differential convolution, CVPR.
    """
    names = [name for name in ("series", "prediction") if name == "series" or name in ds]
    require(ds, "mask", *names, where="smooth")
    if fwhm_mm < 0:
        raise InputError(f"fwhm_mm must be 0 or more, found {fwhm_mm}; give the width of the Gaussian in mm")
    if fwhm_mm == 0:
        return ds
    lazy = is_lazy(ds, "mask", "affine", *names)
    shared = call(lazy, _kernels, ds["mask"].data, ds["affine"].data, fwhm_mm)
    smoothed = {name: _by_volume(lazy, ds[name].data, shared) for name in names}
    return ds.assign({name: annotate(ds[name].copy(data=data), name) for name, data in smoothed.items()})


def _kernels(mask: np.ndarray, affine: np.ndarray, fwhm_mm: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """The mask (z, y, x) and the kernel of each of its axes."""
    sizes = np.linalg.norm(affine[:, :3], axis=0)[::-1]  # mm along z, y, x
    return mask, [gaussian_matrix(count, fwhm_mm / _FWHM / size) for count, size in zip(mask.shape, sizes, strict=True)]


def gaussian_matrix(count: int, sigma: float) -> np.ndarray:
    """Gaussian convolution along an axis of that many voxels as a matrix (count, count), float32, cut at 4 sigma.

    A banded matrix product runs at the speed of BLAS. The rows need not sum to 1: `smooth` divides by the mask.
    """
    distance = np.abs(np.arange(count)[:, None] - np.arange(count)[None, :])
    weights = np.where(distance <= np.ceil(4 * sigma), np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    return np.asarray(weights / (sigma * np.sqrt(2 * np.pi)), np.float32)


def smooth_masked(values: np.ndarray, mask: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    """Normalised convolution of values (time, voxel) of the mask (z, y, x) with a kernel for each axis."""
    known = np.isfinite(values)
    # the mean goes first: the rest is small, and float32 keeps its digits
    mean = np.where(known, values, 0).sum(axis=1, keepdims=True, dtype=np.float64) / np.maximum(
        known.sum(axis=1, keepdims=True), 1
    )
    numerator = _convolve(to_volume(np.where(known, values - mean, 0).astype(np.float32), mask, 0.0), kernels)[:, mask]
    weight = mask[None] if known.all() else to_volume(known, mask, False)
    denominator = _convolve(weight.astype(np.float32), kernels)[:, mask]
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = numerator / denominator + mean
    return np.where(known, smoothed, np.nan).astype(np.float32)


def _convolve(volumes: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    along_z, along_y, along_x = kernels
    time, z, y, x = volumes.shape
    rows = (volumes.reshape(-1, x) @ along_x.T).reshape(time, z, y, x)
    planes = np.matmul(along_y, rows)
    filtered: np.ndarray = np.matmul(along_z, planes.reshape(time, z, y * x))
    return filtered.reshape(time, z, y, x)


def _block(values: np.ndarray, shared: tuple[np.ndarray, list[np.ndarray]]) -> np.ndarray:
    return smooth_masked(values, *shared)


def _by_volume(lazy: bool, values: Array, shared: Any) -> Array:
    if not lazy:
        starts = range(0, values.shape[0], _VOLUMES)
        return np.concatenate([_block(values[at : at + _VOLUMES], shared) for at in starts])
    blocks = da.asarray(values).rechunk({0: _VOLUMES, 1: -1})
    return blocks.map_blocks(_block, shared, dtype=np.float32, meta=np.empty((0, 0), np.float32))
