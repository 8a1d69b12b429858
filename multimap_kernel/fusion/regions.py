"""Regions without an atlas: cubes of the space that the volumes are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from scipy import sparse

from multimap_kernel.maps.blocks import VOXELS, Array, array, call, is_lazy
from multimap_kernel.schema import InputError, affine_matrix, annotate, require

FILLED = 0.25
"""Share of the fullest cube's voxels that a cube must hold to count."""


def regions(ds: xr.Dataset, *, edge_mm: float) -> xr.Dataset:
    """Average the voxels of each cube.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``mask (z, y, x)`` and ``affine (world, index; mm)``. NumPy or Dask.
    edge_mm
        Edge of a cube, mm. A corner of a cube lies at 0, so that sessions in one space have the same cubes.

    Returns
    -------
    The Dataset, with ``region_series (time, region; 1)`` float32 in place of what runs along voxels. A region is named
    after its centre in mm, such as ``x-12 y+36 z+60``. Lazy if ``series`` is.

    Raises
    ------
    SchemaError
        If a variable is missing.
    InputError
        If the edge is not positive.

    Notes
    -----
    Cubes at the rim that hold less than a quarter of the fullest one are left out. An atlas would name the regions
    better; for learning, size and independence of the data matter.
    """
    require(ds, "series", "mask", where="fusion.regions")
    if not edge_mm > 0:
        raise InputError(f"edge_mm must be positive, found {edge_mm:g}; set fuse.region_mm")
    index = np.argwhere(np.asarray(ds["mask"].values))[:, ::-1]
    affine = affine_matrix(ds)
    cube = np.floor((index @ affine[:3, :3].T + affine[:3, 3]) / edge_mm).astype(int)
    places, member, count = np.unique(cube, axis=0, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(count >= FILLED * count.max())
    lazy = is_lazy(ds, "series")
    mean = call(lazy, _means, _sums(ds["series"].data, member, lazy), count, kept)
    values = array(mean, (ds.sizes["time"], kept.size), np.float32)
    centre = (places[kept] + 0.5) * edge_mm
    names = [f"x{x:+.0f} y{y:+.0f} z{z:+.0f}" for x, y, z in centre]
    rest = ds.drop_dims("voxel").drop_vars("mask")
    series = annotate(xr.DataArray(values, dims=("time", "region"), name="region_series"))
    return rest.assign(region_series=series).assign_coords(region=names)


def _sums(series: Array, member: np.ndarray, lazy: bool) -> list[Any]:
    """Sums (cube, time) over the voxels of each block, or the tasks that make them: no task holds all voxels."""
    starts, cubes = range(0, len(member), VOXELS), int(member.max(initial=-1)) + 1
    if not lazy:
        return [_sum(series[:, first : first + VOXELS], member[first : first + VOXELS], cubes) for first in starts]
    blocks = da.asarray(series).rechunk({0: -1, 1: VOXELS}).to_delayed(optimize_graph=False).ravel()
    own = [member[first : first + VOXELS] for first in starts]
    return [delayed(_sum)(block, part, cubes) for block, part in zip(blocks, own, strict=True)]


def _sum(series: np.ndarray, member: np.ndarray, cubes: int) -> np.ndarray:
    pick = sparse.csr_array((np.ones(member.size), (member, np.arange(member.size))), shape=(cubes, member.size))
    return np.asarray(pick @ series.T)


def _means(sums: list[np.ndarray], count: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean (time, region) of the voxels of each kept cube."""
    total: np.ndarray = np.stack(sums).sum(axis=0)
    return np.ascontiguousarray((total[kept] / count[kept, None]).T, np.float32)


def shared_regions(runs: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Leave in each run the regions that all have.

    Raises
    ------
    InputError
        If no region is in all runs.
    """
    names = [list(map(str, ds["region"].values)) for ds in runs.values()]
    shared = [name for name in names[0] if all(name in other for other in names)] if names else []
    if not shared:
        raise InputError(
            f"the runs {list(runs)} must share a region, found none; bring them to one space (normalise.space: MNI)"
        )
    return {name: ds.sel(region=shared) for name, ds in runs.items()}
