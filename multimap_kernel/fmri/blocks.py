"""The fixed grid of volumes that every verb of this folder works on, whatever the chunks of its input."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

VOLUMES = 8
"""Volumes in one block: the chunk of the store, and small enough for a worker of 1 GiB."""


def is_lazy(*parts: xr.Dataset) -> bool:
    """Whether any variable of the Datasets is backed by Dask."""
    return any(variable.chunks for part in parts for variable in part.variables.values())


def in_blocks(array: xr.DataArray) -> da.Array:
    """Cut ``array (time, ...)`` into blocks of `VOLUMES` whole volumes; results then cannot depend on its chunks."""
    values = array.data if isinstance(array.data, da.Array) else da.from_array(array.values, chunks=-1)
    blocks: da.Array = values.rechunk((VOLUMES, *[-1] * (values.ndim - 1)))
    return blocks


def small(array: xr.DataArray) -> np.ndarray:
    """Read a small coordinate, chunked or not, in this thread: metadata are no work for a cluster."""
    return np.asarray(array.compute(scheduler="synchronous").values)


def volume_axis(ds: xr.Dataset) -> dict[str, xr.Variable]:
    """The coordinates of the volumes, in memory: their chunks may differ from ours."""
    names = [name for name in ("time", "volume", "steady_state") if name in ds.variables]
    return {name: ds[name].compute(scheduler="synchronous").variable for name in names}


def from_task(task: Any, shape: tuple[int, ...], dtype: Any) -> da.Array:
    """Wrap a delayed computation of one small array."""
    array: da.Array = da.from_delayed(task, shape=shape, dtype=np.dtype(dtype))
    return array


def finish(result: xr.Dataset, *inputs: xr.Dataset) -> xr.Dataset:
    """Give a lazy result for lazy inputs and a plain one for plain inputs."""
    return result if is_lazy(*inputs) else result.compute(scheduler="synchronous")
