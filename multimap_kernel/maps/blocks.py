"""Work over a fixed grid of voxel blocks: at once on NumPy input, as one task a block on Dask input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from dask.delayed import delayed
from numpy.typing import DTypeLike

from multimap_kernel.schema import to_volume

Array = Any
"""A NumPy or a Dask array."""
Shape = tuple[tuple[int, ...], DTypeLike]
"""Leading dimensions and dtype of an output; the last dimension is the voxel or the block."""

VOXELS = 8192
"""Voxels in a block. The grid never follows the input's chunks, so that these cannot change a result."""


def is_lazy(ds: xr.Dataset, *names: str) -> bool:
    """Whether any of the named variables (all, if none is named) is a Dask array."""
    present = [name for name in names or ds.variables if name in ds.variables]
    return any(is_dask_collection(ds[name].data) for name in present)


def call(lazy: bool, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function now, or as one task of the graph; Dask arguments then arrive as NumPy arrays.

    Dask arrays are handed on as the tasks of their blocks: given as arrays, `delayed` would optimise the graph of each
    by itself, and what several of them rest on would be computed once for each.
    """
    return delayed(function)(*map(_whole, arguments), **options) if lazy else function(*arguments, **options)


def _whole(value: Any) -> Any:
    if not isinstance(value, da.Array):
        return value
    blocks = value.to_delayed(optimize_graph=False)
    return blocks.item() if blocks.size == 1 else delayed(np.block)(blocks.tolist())


def array(value: Any, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Make an array of what `call` gave; ``shape`` is all that is known of it before it is computed."""
    if is_dask_collection(value):
        return da.from_delayed(delayed(np.asarray)(value, dtype), shape, np.dtype(dtype))
    return np.asarray(value, dtype)


def per_block(
    lazy: bool, function: Callable[..., dict[str, np.ndarray]], values: Array, *shared: Any, gives: Mapping[str, Shape]
) -> dict[str, Array]:
    """Apply a function to each block of voxels.

    Parameters
    ----------
    lazy
        Build a graph instead of computing.
    function
        Takes values (..., voxels of the block) and the shared arguments; gives arrays by name, whose last
        dimension is either the block's voxels or has length 1 (one entry per block).
    values : (..., voxel)
        NumPy or Dask array.
    shared
        Further arguments, the same for all blocks; may be what `call` gave.
    gives
        Leading dimensions and dtype of each output; a name that ends in ``_block`` has one entry per block.

    Returns
    -------
    The outputs, joined along their last dimension.
    """
    count = values.shape[-1]
    starts = range(0, count, VOXELS)
    if not lazy:
        parts = [function(values[..., first : first + VOXELS], *shared) for first in starts]
        return {
            name: np.concatenate([np.asarray(part[name], dtype) for part in parts], axis=-1)
            for name, (_, dtype) in gives.items()
        }
    grid = dict.fromkeys(range(values.ndim - 1), -1) | {values.ndim - 1: VOXELS}
    blocks = da.asarray(values).rechunk(grid).to_delayed(optimize_graph=False).ravel()
    held = [value if is_dask_collection(value) else delayed(value, traverse=False) for value in shared]  # sent once
    tasks = [delayed(function)(block, *held) for block in blocks]
    widths = [min(VOXELS, count - first) for first in starts]
    return {name: _joined(tasks, widths, name, shape) for name, shape in gives.items()}


def _joined(tasks: list[Any], widths: list[int], name: str, shape: Shape) -> Array:
    leading, dtype = shape
    last = [1] * len(widths) if name.endswith("_block") else widths
    parts = [
        da.from_delayed(task[name], (*leading, width), np.dtype(dtype)) for task, width in zip(tasks, last, strict=True)
    ]
    return da.concatenate(parts, axis=-1)


def on_grid(lazy: bool, values: Array, mask: xr.DataArray, fill: float = np.nan) -> Array:
    """Put values (..., voxel) back on the grid (..., z, y, x) of the mask."""
    placed = call(lazy, to_volume, values, mask.data, fill)
    return array(placed, (*values.shape[:-1], *mask.shape), values.dtype)


def as_text(value: Any) -> Array:
    """Make a text array without dimensions of a string that may not be computed yet."""
    return array(value, (), "<U320")
