"""Volumes of a run for the viewer, read from where they lie when somebody steps to them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from multimap_kernel.schema import InputError, affine_matrix, require

_BLOCK = 8  # volumes that are read at once: what a chunk of the store holds
_KEPT = 4  # blocks in memory


@dataclass(frozen=True)
class Volumes:
    """Volumes as a four-dimensional image whose parts are read when they are asked for.

    Parameters
    ----------
    bold : (time, z, y, x)
        The volumes, lazy or not.
    affine : (4, 4) float64
        Index (x, y, z, 1) of a voxel's centre to RAS+ mm.
    repetition_time
        s; volume i fills the time from i to i + 1 of it.
    limits
        Values drawn black and white.
    name
        Name of the layer.
    """

    bold: xr.DataArray
    affine: np.ndarray
    repetition_time: float
    limits: tuple[float, float]
    name: str = "volumes"
    _blocks: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of voxels along x, y and z."""
        return self.bold.shape[:0:-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along x, y, z, and of volumes."""
        return (*self.grid, self.bold.shape[0])

    dtype = np.dtype(np.float32)
    """What the parts come as."""

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        """A part (x, y, z, time) float32; NaN becomes 0."""
        *grid, time = where
        start, stop, _ = time.indices(self.bold.shape[0])
        parts = [self._volume(number)[tuple(grid)] for number in range(start, stop)]
        return np.stack(parts, -1)

    def _volume(self, number: int) -> np.ndarray:
        block, rest = divmod(number, _BLOCK)
        with self._lock:  # the viewer asks for several parts of a volume at once: they are read together
            if block not in self._blocks:
                part = self.bold[block * _BLOCK : (block + 1) * _BLOCK]
                values = np.nan_to_num(part.compute(scheduler="synchronous").values.astype(np.float32))
                self._blocks[block] = values.transpose(0, 3, 2, 1)
            while len(self._blocks) > _KEPT:
                del self._blocks[next(iter(self._blocks))]
            return np.asarray(self._blocks[block][rest])


def make_volumes(ds: xr.Dataset) -> Volumes:
    """Make the volumes of a run ready for the viewer; reads the first eight for the range of grey.

    Parameters
    ----------
    ds
        ``bold (time, z, y, x)`` with ``affine`` (mm) and the attribute ``repetition_time`` (s), lazy or not.

    Raises
    ------
    SchemaError
        If there is no BOLD or no affine.
    InputError
        If the repetition time is missing.
    """
    require(ds, "bold", where="make_volumes")
    repetition_time = float(ds.attrs.get("repetition_time", 0.0))
    if not repetition_time > 0:
        raise InputError(f"volumes must have a repetition_time over 0 s, found {repetition_time}; read with read_bold")
    volumes = Volumes(ds["bold"], affine_matrix(ds), repetition_time, (0.0, 1.0))
    first = volumes[:, :, :, 0:1]
    low, high = np.percentile(first[first != 0] if first.any() else first, [1, 99.5])
    limits = (min(0.0, float(low)), float(high) if high > low else float(low) + 1.0)
    return Volumes(ds["bold"], volumes.affine, repetition_time, limits, _blocks=volumes._blocks)  # noqa: SLF001  # its own
