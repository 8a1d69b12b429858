"""From volumes to the series of the voxels of a mask."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, in_blocks, volume_axis


def series(ds: xr.Dataset) -> xr.Dataset:
    """Take the voxels of the mask out of each volume.

    Parameters
    ----------
    ds
        Dataset with ``bold (time, z, y, x; 1)`` and ``mask (z, y, x)``. A lazy mask is computed, because the number
        of voxels must be known; nothing else is.

    Returns
    -------
    Dataset, lazy if ``bold`` is:

    - series : (time, voxel; 1) float32
    - mask : (z, y, x) bool, in memory
    - the coordinates of ``bold`` that do not run along its grid, ``affine`` and the attributes

    Raises
    ------
    SchemaError
        If ``bold`` or ``mask`` is missing.
    InputError
        If their grids differ or the mask is empty.

    Notes
    -----
    The mask decides alone: its voxels come out one to one, in C order, a NaN as a NaN. `realign` has already left
    out voxels that are constant or not finite in some volume, `normalise` those outside the field of view.
    """
    schema.require(ds, "bold", "mask", where="series")
    mask = np.asarray(ds["mask"].values)
    if mask.shape != ds["bold"].shape[1:]:
        raise schema.InputError(f"bold and mask must share a grid, found {ds['bold'].shape[1:]} and {mask.shape}")
    if not mask.any():
        raise schema.InputError("the mask must hold a voxel, found none; look at the reference volume of realign")
    blocks, count = in_blocks(ds["bold"]), int(mask.sum())
    values = da.map_blocks(
        _take,
        blocks,
        mask,
        dtype=np.float32,
        drop_axis=[2, 3],
        chunks=(blocks.chunks[0], (count,)),
        meta=np.empty((0, 0), np.float32),
    )
    coords: dict[str, xr.Variable | xr.DataArray] = {**volume_axis(ds)}
    if "affine" in ds.variables:
        coords["affine"] = schema.affine_coordinate(schema.affine_matrix(ds))
    result = xr.Dataset(
        {"series": (("time", "voxel"), values), "mask": (("z", "y", "x"), mask)}, coords=coords, attrs=ds.attrs
    )
    for name in ("series", "mask"):
        result[name] = schema.annotate(result[name])
    return finish(result, ds[["bold"]])


def _take(block: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray(block[:, mask], np.float32)
