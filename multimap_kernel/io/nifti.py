"""NIfTI images as lazy Datasets in RAS+ millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from multimap_kernel.io.files import exists, identity, name, read_json, read_values, sibling
from multimap_kernel.io.header import VolumeHeader, find_repetition_time, read_header, slice_times
from multimap_kernel.io.inflate import PlainCopy
from multimap_kernel.schema import InputError, affine_coordinate, annotate, require, volume_coordinates

VOLUMES = 8
"""Volumes in a block: each is read once, in one piece."""
GAPS = 0.01
"""Part of the voxels that may have values in some volumes and none in others."""


def read_bold(
    path: str,
    *,
    sidecar: Mapping[str, Any] | None = None,
    dummy_volumes: int = 0,
    repetition_time: float | None = None,
) -> xr.Dataset:
    """Read a BOLD run, lazily.

    Parameters
    ----------
    path
        Path or URL of a ``.nii`` or ``.nii.gz``.
    sidecar
        BIDS sidecar, inheritance applied; if not given, the JSON file beside the image.
    dummy_volumes
        Volumes at the start before the steady state; they are flagged and stay on the time axis.
    repetition_time
        What a person knows, s: wins over sidecar and header, also where these two disagree.

    Returns
    -------
    ``bold (time, z, y, x; 1)`` on Dask in blocks of 8 volumes, with ``time`` (s from the start of the first volume),
    ``volume``, ``steady_state``, ``affine (world, index; mm)`` and, where the sidecar states it, ``slice_time
    (z; s)``. Integers of up to 16 bits that the header does not scale stay as they are (half the memory of float32);
    everything else is scaled to float32; byte order is the machine's. Attributes: ``repetition_time`` (s), ``space``
    ``"native"``, and ``warnings``, a list of sentences. A compressed file is inflated once, streaming, into the
    temporary folder when its first block is computed: that folder must have room for the inflated run.

    Raises
    ------
    InputError
        If the image is not 4-D, its orientation is in doubt, its repetition time is unknown or stated twice
        differently, or its slice times do not fit it (see `header`). A file that breaks off raises when it is computed.
    """
    header = read_header(path)
    if len(header.shape) != 4:
        raise InputError(f"{path} must be 4-D with several volumes, found shape {header.shape}; give the whole run")
    known = sidecar_beside(path) if sidecar is None else sidecar
    seconds, repairs = find_repetition_time(header, known, repetition_time)
    slices, notes = slice_times(header, known, seconds)
    volumes = header.shape[3]
    if not 0 <= dummy_volumes < volumes:
        raise InputError(f"dummy_volumes of {path} must lie between 0 and {volumes - 1}, found {dummy_volumes}")
    dtype = header.dtype.newbyteorder("=") if _stays(header) else np.dtype(np.float32)
    bold = xr.DataArray(_lazy(header, dtype), dims=("time", "z", "y", "x"), name="bold")
    ds = annotate(bold).to_dataset()
    ds = ds.assign_coords(volume_coordinates(volumes, seconds, np.arange(volumes) >= dummy_volumes))
    ds = ds.assign_coords(affine=affine_coordinate(header.affine))
    ds["time"].attrs["units"] = "s"
    if slices is not None:
        ds = ds.assign_coords(slice_time=("z", slices, {"units": "s", "long_name": "start of a slice in its volume"}))
    ds.attrs = {"repetition_time": seconds, "space": "native", "warnings": [*header.warnings, *repairs, *notes]}
    return ds


def read_anatomy(path: str) -> xr.Dataset:
    """Read an anatomical image, lazily.

    Parameters
    ----------
    path
        Path or URL of a ``.nii`` or ``.nii.gz``.

    Returns
    -------
    ``anatomy (z, y, x; 1)`` float32 on Dask in one block, with ``affine (world, index; mm)``. Voxels without a finite
    value are 0. Attributes: ``space`` ``"native"`` and ``warnings``.

    Raises
    ------
    InputError
        If the image is not 3-D or its orientation is in doubt (see `header`).
    """
    header = read_header(path)
    if len(header.shape) != 3:
        raise InputError(f"{path} must be a single 3-D image, found shape {header.shape}; give one T1w volume")
    values = _lazy(header, np.dtype(np.float32))[0].map_blocks(np.nan_to_num, posinf=0.0, neginf=0.0)
    ds = annotate(xr.DataArray(values, dims=("z", "y", "x"), name="anatomy")).to_dataset()
    ds = ds.assign_coords(affine=affine_coordinate(header.affine))
    ds.attrs = {"space": "native", "warnings": list(header.warnings)}
    return ds


def check_values(ds: xr.Dataset) -> tuple[str, ...]:
    """Look for missing values in a BOLD run; this computes, in one pass over the data.

    Parameters
    ----------
    ds
        ``bold (time, z, y, x)``, best as it comes out of the store.

    Returns
    -------
    Sentences on what is missing and can be lived with; empty if all values are finite.

    Raises
    ------
    InputError
        If a whole volume has no finite value, or more than 1 % of the voxels that have values lack some.
    """
    require(ds, "bold", where="check_values")
    if ds["bold"].dtype.kind != "f":
        return ()
    finite = xr.apply_ufunc(np.isfinite, ds["bold"], dask="allowed")
    per_volume, per_voxel = dask.base.compute(finite.sum(("z", "y", "x")), finite.sum("time"))
    lost = np.flatnonzero(per_volume.values == 0)
    if lost.size:
        raise InputError(f"bold must have values in each volume, found none in volumes {lost.tolist()}; cut the run")
    counts, volumes = per_voxel.values, ds.sizes["time"]
    seen = counts > 0
    gaps = int(np.count_nonzero(seen & (counts < volumes)))
    if gaps > GAPS * np.count_nonzero(seen):
        found = f"{gaps} of {np.count_nonzero(seen)} voxels lack some"
        raise InputError(f"bold must have its values in all volumes, found that {found}; export the run again")
    empty = int(np.count_nonzero(~seen))
    sentences = [f"{gaps} voxels of the BOLD run lack values in some volumes"] if gaps else []
    return (*sentences, *([f"{empty} voxels of the BOLD run have no value at all"] if empty else []))


def sidecar_beside(path: str) -> dict[str, Any]:
    """The JSON of the same name beside an image; empty if there is none."""
    stem = name(path).removesuffix(".gz").removesuffix(".nii")
    url = sibling(path, f"{stem}.json")
    return read_json(url) if exists(url) else {}


def _stays(header: VolumeHeader) -> bool:
    unscaled = header.slope == 1.0 and header.intercept == 0.0
    return unscaled and header.dtype.kind in "iu" and header.dtype.itemsize <= 2


def _lazy(header: VolumeHeader, dtype: np.dtype[Any]) -> da.Array:
    """All volumes as (time, z, y, x): the order of the file, so that a block is one piece of it."""
    x, y, z, volumes = (*header.shape, 1)[:4]
    copy = PlainCopy(header.url, header.length) if header.compressed else None
    blocks = tuple(min(VOLUMES, volumes - start) for start in range(0, volumes, VOLUMES))
    lazy: da.Array = da.map_blocks(
        _read_block,
        header,
        dtype,
        copy,
        delayed(PlainCopy.ready)(copy) if copy else header.url,  # one task inflates, the others wait for it
        chunks=(blocks, (z,), (y,), (x,)),
        dtype=dtype,
        meta=np.empty((0, 0, 0, 0), dtype),
        name=f"volumes-{dask.base.tokenize(header.url, identity(header.url), str(dtype))}",
    )
    return lazy


def _read_block(
    header: VolumeHeader,
    dtype: np.dtype[Any],
    copy: PlainCopy | None,
    _inflated: str,
    block_info: Mapping[Any, Any],
) -> np.ndarray:
    start, stop = block_info[None]["array-location"][0]
    x, y, z = header.shape[:3]
    url = copy.ready() if copy else header.url  # on another machine than the first task's, the copy is made here
    offset = header.offset + start * x * y * z * header.dtype.itemsize
    values = read_values(url, header.dtype, (stop - start) * x * y * z, offset).reshape(stop - start, z, y, x)
    if header.slope != 1.0 or header.intercept != 0.0:
        values = values.astype(np.float64) * header.slope + header.intercept
    return values.astype(dtype, copy=False)
