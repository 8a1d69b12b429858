"""All voxels at a glance: what moves many of them at once shows as a vertical line."""

from __future__ import annotations

import numpy as np
import xarray as xr

from multimap_kernel.schema import annotate, require


def carpet(ds: xr.Dataset, *, voxels: int = 1500) -> xr.Dataset:
    """Take voxels at equal distances in the order of the mask, bottom to top of the head, and scale each.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)`` with coordinate ``time (s)``.
    voxels
        Rows of the carpet, about.

    Returns
    -------
    ``carpet (row, time; 1)`` float64: each series without mean and linear trend, in units of its own standard
    deviation (population); 0 where it is constant. Lazy if the input is.

    Raises
    ------
    SchemaError
        If there is no ``series``.

    References
    ----------
    Power (2017), NeuroImage 154, 150-158.
    """
    require(ds, "series", where="carpet")
    step = max(1, ds.sizes["voxel"] // voxels)
    series = ds["series"].isel(voxel=slice(None, None, step)).astype(np.float64).drop_vars("voxel", errors="ignore")
    line = xr.DataArray(np.linspace(-1, 1, series.sizes["time"]), dims="time")
    series = series - series.mean("time")
    series = series - line * ((line * series).sum("time") / (line**2).sum())
    scale = series.std("time")
    scaled = (series / scale.where(scale > 0, 1.0)).rename(voxel="row").transpose("row", "time").rename("carpet")
    return annotate(scaled).to_dataset()
