"""What a NIfTI header says, checked before any voxel is read: shape, values, place of the head, timing."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from multimap_kernel.io.files import size
from multimap_kernel.schema import InputError

FLIP_MM = 1.0
"""The two orientations of a header may differ by this much at the corners of the image."""
TR_TOLERANCE = 0.01
"""Header and sidecar may differ by this part of the repetition time."""
LONGEST_TR_S = 100.0
"""A longer repetition time is one in milliseconds under a wrong unit."""
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
MILLIMETRES = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """A NIfTI header in this project's convention.

    Parameters
    ----------
    url
        The file.
    shape
        Voxels along x, y, z, and volumes if there are four.
    dtype
        Type of the stored values, with the file's byte order.
    offset
        Byte of the first value.
    slope, intercept
        value = stored * slope + intercept.
    affine : (4, 4)
        Index (x, y, z, 1) to RAS+ millimetres.
    repetition_time
        As the header states it, in s; NaN if it does not.
    warnings
        What was repaired or is in doubt, in sentences.
    """

    url: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray
    repetition_time: float
    warnings: tuple[str, ...]

    @property
    def compressed(self) -> bool:
        """Whether the file is gzipped."""
        return self.url.endswith(".gz")

    @property
    def length(self) -> int:
        """Bytes of the whole file, inflated."""
        return self.offset + int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(url: str) -> VolumeHeader:
    """Read and check the header of a ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    url
        Path or URL.

    Returns
    -------
    The header, with an affine that is finite and unambiguous.

    Raises
    ------
    InputError
        If the file is no single-file NIfTI, is shorter than its header says, holds voxels that are not single real
        numbers (RGB, complex), or has an affine that is not finite, is singular, or is stated twice differently.
    """
    raw = _parse(url)
    dtype = raw.get_data_dtype()
    if dtype.kind not in "fiu":
        kind = "colours" if dtype.fields else str(dtype)
        raise InputError(
            f"{url} must hold one real number per voxel, found {kind}; give the image that it was made from"
        )
    try:
        slope, intercept = raw.get_slope_inter()
    except HeaderDataError as fault:
        raise InputError(f"{url} must have a finite scl_slope and scl_inter, found: {fault}") from fault
    affine, doubts = _orientation(raw, url)
    seconds, repairs = _stored_time(raw, url)
    header = VolumeHeader(
        url=url,
        shape=_shape(raw, url),
        dtype=dtype,
        offset=max(int(raw["vox_offset"]), raw.single_vox_offset),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        affine=affine,
        repetition_time=seconds,
        warnings=(*doubts, *repairs),
    )
    if not header.compressed and size(url) < header.length:
        raise InputError(f"{url} must hold {header.length} bytes, found {size(url)}; copy the file again")
    return header


def _parse(url: str) -> nib.Nifti1Header:
    fs, path = fsspec.core.url_to_fs(url)
    if not path.endswith((".nii", ".nii.gz")):
        raise InputError(
            f"{url} must be a .nii or .nii.gz file; convert it first, for example with nibabel or dcm2niix"
        )
    try:
        with fs.open(path, "rb") as raw:
            block = (gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw).read(nib.Nifti2Header.sizeof_hdr)
    except FileNotFoundError as fault:
        raise InputError(f"{url} must be a file, found none; check the path") from fault
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise InputError(f"{url} must be a whole gzip file, found: {fault}; copy the file again") from fault
    kinds: tuple[tuple[Any, int], ...] = ((nib.Nifti1Header, 344), (nib.Nifti2Header, 4))  # and where their magic is
    for kind, at in kinds:
        if block[at : at + 2] == b"n+" and len(block) >= kind.sizeof_hdr:
            try:
                parsed: nib.Nifti1Header = kind(block[: kind.sizeof_hdr], check=False)
            except HeaderDataError as fault:
                raise InputError(f"{url} must have a valid NIfTI header, found: {fault}") from fault
            return parsed
    raise InputError(f"{url} must be a NIfTI file that holds header and data, found neither NIfTI-1 nor NIfTI-2")


def _shape(raw: nib.Nifti1Header, url: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in raw.get_data_shape())
    except HeaderDataError as fault:
        raise InputError(f"{url} must state its shape, found: {fault}") from fault
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"{url} must have the shape (x, y, z) or (x, y, z, time), found {shape}")
    return shape


def _orientation(raw: nib.Nifti1Header, url: str) -> tuple[np.ndarray, list[str]]:
    try:
        sform, qform = raw.get_sform(coded=True)[0], raw.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as fault:
        raise InputError(f"{url} must have a valid orientation (qform, sform), found: {fault}") from fault
    doubts = []
    if sform is None and qform is None:
        doubts.append(
            f"{url.rpartition('/')[2]}: left and right are unknown, the header has neither sform nor qform; "
            "the voxels are taken as running from right to left"
        )
    affine = raw.get_best_affine().astype(np.float64)
    for stated, named in ((sform, "sform"), (qform, "qform"), (affine, "affine")):
        if stated is not None and not (np.isfinite(stated).all() and abs(np.linalg.det(stated[:3, :3])) > 1e-9):
            raise InputError(f"{url} must have a finite, invertible {named}, found {np.asarray(stated).tolist()}")
    if sform is not None and qform is not None:
        _compare(sform, qform, _shape(raw, url), url)
    unit = raw.get_xyzt_units()[0]
    affine[:3] *= MILLIMETRES.get(unit, 1.0)
    return affine, doubts


def _compare(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...], url: str) -> None:
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n - 1) for n in shape[:3]))], float)
    apart = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    if apart > FLIP_MM:
        raise InputError(
            f"{url} must have one orientation: sform ({''.join(nib.aff2axcodes(sform))}) and qform "
            f"({''.join(nib.aff2axcodes(qform))}) lie {apart:.1f} mm apart; find out which is right and set the code "
            "of the other to 0 in a copy (nibabel: image.set_qform(None, 0) or image.set_sform(None, 0))"
        )


def _stored_time(raw: nib.Nifti1Header, url: str) -> tuple[float, list[str]]:
    stored, unit = float(raw["pixdim"][4]), raw.get_xyzt_units()[1]
    if raw["dim"][0] < 4 or not np.isfinite(stored) or stored <= 0:
        return np.nan, []
    return _seconds(stored * SECONDS.get(unit, 1.0), f"the header of {url.rpartition('/')[2]}")


def _seconds(value: float, where: str) -> tuple[float, list[str]]:
    if value <= LONGEST_TR_S:
        return round(value, 6), []  # the header holds it as float32, which makes 2.1600001 of 2.16
    return value / 1e3, [f"{where} states a repetition time of {value:g} s; it is taken as milliseconds"]


def find_repetition_time(
    header: VolumeHeader, sidecar: Mapping[str, Any], given: float | None = None
) -> tuple[float, tuple[str, ...]]:
    """Repetition time in s, from the sidecar or else the header, with what was repaired.

    Parameters
    ----------
    header
        Header of the BOLD file.
    sidecar
        Its BIDS sidecar, inheritance applied.
    given
        What a person said, s; then nothing else is asked.

    Raises
    ------
    InputError
        If neither states one, both do and disagree by more than 1 %, or volumes are not regular (``VolumeTiming``).
    """
    if given is not None:
        return given, (f"a person set the repetition time of {header.url.rpartition('/')[2]} to {given:g} s",)
    if "VolumeTiming" in sidecar:
        raise InputError(
            f"{header.url} must have regular volumes, its sidecar states VolumeTiming; give RepetitionTime"
        )
    stated, repairs = np.nan, list[str]()
    if "RepetitionTime" in sidecar:
        try:
            stated = float(sidecar["RepetitionTime"])
        except (TypeError, ValueError):
            stated = np.nan
        if not (np.isfinite(stated) and stated > 0):
            found = sidecar["RepetitionTime"]
            raise InputError(f"RepetitionTime of {header.url} must be a positive number of seconds, found {found!r}")
        stated, repairs = _seconds(stated, f"the sidecar of {header.url.rpartition('/')[2]}")
    stored = header.repetition_time
    if np.isnan(stated) and np.isnan(stored):
        raise InputError(
            f"{header.url} must have a repetition time, found none in header or sidecar; add RepetitionTime"
        )
    if not np.isnan(stated) and not np.isnan(stored) and abs(stated - stored) > TR_TOLERANCE * stated:
        raise InputError(
            f"{header.url} must have one repetition time: the header states {stored:g} s, the sidecar {stated:g} s; "
            "find out which is right and correct the other"
        )
    return (stored if np.isnan(stated) else stated), tuple(repairs)


def slice_times(
    header: VolumeHeader, sidecar: Mapping[str, Any], seconds: float
) -> tuple[np.ndarray | None, list[str]]:
    """Start of each slice along z within a volume, in s; None if the sidecar does not state it.

    Parameters
    ----------
    header
        Header of the BOLD file.
    sidecar
        Its BIDS sidecar.
    seconds
        Repetition time.

    Raises
    ------
    InputError
        If there is not one time per slice, or a time lies outside the volume and is not one in milliseconds.
    """
    if not sidecar.get("SliceTiming"):
        return None, []
    direction = str(sidecar.get("SliceEncodingDirection", "k"))
    if not direction.startswith("k"):
        return None, [f"SliceTiming of {header.url.rpartition('/')[2]} is not used: the slices lie along {direction}"]
    try:
        times = np.asarray(sidecar["SliceTiming"], np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"SliceTiming of {header.url} must be a list of seconds, found: {fault}") from fault
    if times.shape != (header.shape[2],):
        raise InputError(f"SliceTiming of {header.url} must hold {header.shape[2]} times, found {times.size}")
    repairs = []
    if times.max() >= seconds and times.max() / 1e3 < seconds and times.max() > LONGEST_TR_S / 10:
        repairs.append(f"SliceTiming of {header.url.rpartition('/')[2]} is taken as milliseconds")
        times = times / 1e3
    if not (np.isfinite(times).all() and times.min() >= 0 and times.max() < seconds):
        found = f"{times.min():g} to {times.max():g} s"
        raise InputError(f"SliceTiming of {header.url} must lie within a volume of {seconds:g} s, found {found}")
    return (times[::-1].copy() if direction.endswith("-") else times), repairs
