"""The axes that all steps share: EEG samples, volumes, voxel indices against world millimetres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from multimap_kernel.schema.errors import SchemaError

WORLD = ("x", "y", "z")
"""World axes: RAS+ millimetres."""
INDEX = ("i", "j", "k", "1")
"""Columns of an affine: voxel index along x, y, z, and the constant."""


class Sampling(NamedTuple):
    """A regular time axis: first sample (s), samples per second (Hz), number of samples."""

    start: float
    frequency: float
    samples: int


def regular_time(start: float, frequency: float, count: int) -> xr.Coordinates:
    """Make the time axis of an EEG Dataset; it is an index of two numbers, never a stored array.

    Parameters
    ----------
    start
        Time of the first sample, s.
    frequency
        Samples per second, Hz.
    count
        Number of samples.

    Returns
    -------
    Coordinates with ``time (time; s)``.
    """
    index = xr.indexes.RangeIndex.linspace(start, start + count / frequency, count, endpoint=False, dim="time")
    return xr.Coordinates.from_xindex(index)


def sampling(ds: xr.Dataset) -> Sampling:
    """Read start, frequency and length of a regular time axis.

    Raises
    ------
    SchemaError
        If ``time`` is not a regular axis made by `regular_time`.
    """
    index = ds.xindexes.get("time")
    if not isinstance(index, xr.indexes.RangeIndex):
        raise SchemaError(
            "sampling", [f"time must be a regular axis (schema.regular_time), found {type(index).__name__}"]
        )
    return Sampling(float(index.start), 1.0 / float(index.step), ds.sizes["time"])


def volume_coordinates(
    count: int, repetition_time: float, steady_state: np.ndarray | None = None
) -> dict[str, tuple[str, np.ndarray]]:
    """Make the coordinates of the volume axis.

    Parameters
    ----------
    count
        Number of volumes.
    repetition_time
        Seconds from volume to volume.
    steady_state : (time,) bool
        False for volumes before the steady state; all True if not given.

    Returns
    -------
    ``time (time; s)`` start of each volume, ``volume (time)`` integer, ``steady_state (time)`` flag.
    """
    flags = np.ones(count, bool) if steady_state is None else np.asarray(steady_state, bool)
    volume = np.arange(count)
    return {
        "time": ("time", volume * float(repetition_time)),
        "volume": ("time", volume),
        "steady_state": ("time", flags),
    }


def affine_coordinate(matrix: np.ndarray) -> xr.DataArray:
    """Wrap a voxel-to-world matrix, (4, 4) or (3, 4), as ``affine (world, index; mm)``.

    The columns take the index along x, y, z of the array axes named so (arrays are stored ``z, y, x``) to
    the centre of that voxel in RAS+ millimetres.
    """
    values = np.asarray(matrix, np.float64)[:3, :4]
    return xr.DataArray(
        values, dims=("world", "index"), coords={"world": list(WORLD), "index": list(INDEX)}, attrs={"units": "mm"}
    )


def affine_matrix(ds: xr.Dataset) -> np.ndarray:
    """Read ``affine`` as a (4, 4) float64 matrix: index (x, y, z, 1) to RAS+ millimetres.

    Raises
    ------
    SchemaError
        If the Dataset has no affine.
    """
    if "affine" not in ds.variables:
        raise SchemaError("affine_matrix", ["affine (world, index; mm) must be there; read images with io.read_bold"])
    return np.vstack(
        [np.asarray(ds["affine"].compute(scheduler="synchronous").values, np.float64), [0.0, 0.0, 0.0, 1.0]]
    )


def to_volume(values: np.ndarray, mask: np.ndarray, fill: float = np.nan) -> np.ndarray:
    """Put values of the mask's voxels back on the grid.

    Parameters
    ----------
    values : (..., voxel)
        Values in C order of the mask.
    mask : (z, y, x) bool
        Voxels that the values belong to.
    fill
        Value of all other voxels.

    Returns
    -------
    Array (..., z, y, x) of the values' dtype.
    """
    grid = np.full((*values.shape[:-1], *mask.shape), fill, values.dtype)
    grid[..., mask] = values
    return grid
