"""Rigid motion within a run, estimated volume by volume against one reference."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from dask.delayed import delayed

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, from_task, in_blocks, small, volume_axis
from multimap_kernel.fmri.interpolation import coefficients, sample
from multimap_kernel.fmri.mask import brain_mask
from multimap_kernel.fmri.rigid import PARAMETERS, grid_centre, grid_matrix, parameters
from multimap_kernel.fmri.rigidfit import Target, fit_pose, make_targets

SAMPLES = 15
"""Volumes that the reference is the median of."""
WIDTH = 16
"""Blocks that are joined at a time."""
FEWEST_VOXELS = 4
"""Along each axis; with fewer, motion across that axis cannot be seen."""


class _Part(NamedTuple):
    """What is known of some volumes: motion (time, parameter), least and greatest value of each voxel (z, y, x)."""

    motion: np.ndarray
    low: np.ndarray
    high: np.ndarray


def realign(ds: xr.Dataset, *, backend: Literal["native", "none"] = "native") -> xr.Dataset:
    """Estimate how the head moved during a run; the volumes themselves are not touched.

    The reference is the median of up to 15 steady-state volumes, spread over the run and aligned to the first of
    them. Each volume is then fitted to it by itself, first coarsely, then on the cubic spline of the reference, by
    Gauss-Newton least squares with Tukey's weights and a gain that may change linearly over the head. A volume that
    cannot be fitted (empty, or mostly lost) takes the motion between its neighbours.

    Parameters
    ----------
    ds
        Dataset with ``bold (time, z, y, x; 1)`` and ``affine (world, index; mm)``.
    backend
        ``"none"`` estimates nothing: all motion is zero, and the reference is the median of volumes as they are.

    Returns
    -------
    Dataset, lazy if ``bold`` is:

    - motion : (time, parameter; mm and rad) float64, against the reference; ``attrs["centre"]`` is the point that
      the head turns about (see `motion_matrices`)
    - reference : (z, y, x) float32; NaN where a volume is not finite
    - mask : (z, y, x) bool; brain voxels that are finite in all volumes and not constant
    - affine : (world, index; mm)

    Raises
    ------
    SchemaError
        If ``bold`` or its affine is missing.
    InputError
        If there are fewer than two steady-state volumes, if the grid is too thin to see motion across it, or (when
        computed) if no voxel is finite in all volumes.

    References
    ----------
    Friston et al. (1995), Hum Brain Mapp 3:165; Cox & Jesmanowicz (1999), Magn Reson Med 42:1014.
    """
    schema.require(ds, "bold", where="realign")
    to_world = grid_matrix(ds)
    bold = ds["bold"]
    _check(bold, backend)
    blocks = in_blocks(bold)
    reference = delayed(_reference)(blocks[_spread(ds)], to_world, backend)
    targets = delayed(make_targets)(reference, to_world) if backend == "native" else None
    run = delayed(_judge)(_join_all([_look(block, targets, to_world) for block in blocks.to_delayed().ravel()]))
    motion = from_task(delayed(_complete)(run), (ds.sizes["time"], len(PARAMETERS)), np.float64)
    mask = from_task(delayed(_mask)(reference, to_world, run), bold.shape[1:], bool)
    shown = from_task(delayed(_hide)(reference, run), bold.shape[1:], np.float32)
    result = xr.Dataset(
        {
            "motion": (("time", "parameter"), motion),
            "reference": (("z", "y", "x"), shown),
            "mask": (("z", "y", "x"), mask),
        },
        coords={**volume_axis(ds), "affine": schema.affine_coordinate(schema.affine_matrix(ds))},
        attrs=ds.attrs,
    ).assign_coords(parameter=list(PARAMETERS))
    for name in ("motion", "reference", "mask"):
        result[name] = schema.annotate(result[name])
    result["motion"].attrs["centre"] = grid_centre(to_world, bold.shape[1:]).tolist()
    return finish(result, ds)


def _check(bold: xr.DataArray, backend: str) -> None:
    if backend not in ("native", "none"):
        raise schema.InputError(f"backend must be 'native' or 'none', found {backend!r}")
    grid = dict(zip("zyx", bold.shape[1:], strict=True))
    if backend == "native" and min(grid.values()) < FEWEST_VOXELS:
        raise schema.InputError(
            f"native realignment needs {FEWEST_VOXELS} voxels along each axis, found {grid}; set realign.backend: none"
        )


def _spread(ds: xr.Dataset) -> np.ndarray:
    """Up to `SAMPLES` steady-state volumes, evenly spread, the first one first."""
    steady = np.arange(ds.sizes["time"])
    if "steady_state" in ds.variables:
        steady = np.flatnonzero(small(ds["steady_state"]))
    if len(steady) < 2:
        raise schema.InputError(
            f"realign needs at least two steady-state volumes, found {len(steady)} of {ds.sizes['time']}; "
            "give the whole run, or lower ingest.dummy_volumes"
        )
    return np.unique(steady[np.linspace(0, len(steady) - 1, min(SAMPLES, len(steady))).astype(np.intp)])


@delayed
def _look(block: np.ndarray, targets: tuple[Target, ...] | None, to_world: np.ndarray) -> _Part:
    """All that is asked of a block of volumes, in one task: no block is held until another needs it again."""
    centre = grid_centre(to_world, block.shape[1:])
    motion = np.zeros((len(block), len(PARAMETERS)))
    if targets is not None:
        motion = np.array([_six(fit_pose(volume, targets), centre) for volume in block])
    return _Part(motion, block.min(0).astype(np.float32), block.max(0).astype(np.float32))


def _six(pose: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return parameters(pose, centre) if np.isfinite(pose).all() else np.full(len(PARAMETERS), np.nan)


def _join_all(parts: list[Any]) -> Any:
    """Join the blocks in a tree, so that a long run never has all their extremes in memory."""
    while len(parts) > 1:
        parts = [delayed(_join)(parts[start : start + WIDTH]) for start in range(0, len(parts), WIDTH)]
    return parts[0]


def _join(parts: list[_Part]) -> _Part:
    motion, low, high = zip(*parts, strict=True)
    return _Part(np.concatenate(motion), np.min(low, 0), np.max(high, 0))


def _judge(run: _Part) -> _Part:
    if not _valid(run).any():
        raise schema.InputError(
            "some voxels of bold must be finite in all volumes and change over time, found none; "
            "look for volumes of NaN or constant value in the file"
        )
    return run


def _finite(run: _Part) -> np.ndarray:
    finite: np.ndarray = np.isfinite(run.low) & np.isfinite(run.high)
    return finite


def _valid(run: _Part) -> np.ndarray:
    valid: np.ndarray = _finite(run) & (run.high > run.low)
    return valid


def _mask(reference: np.ndarray, to_world: np.ndarray, run: _Part) -> np.ndarray:
    return brain_mask(reference, to_world, _valid(run))


def _hide(reference: np.ndarray, run: _Part) -> np.ndarray:
    return np.where(_finite(run), reference, np.nan).astype(np.float32)


def _reference(volumes: np.ndarray, to_world: np.ndarray, backend: str) -> np.ndarray:
    """Median of volumes, aligned to the first that shows anything; finite."""
    filled = np.where(np.isfinite(volumes).all(0), volumes, 0).astype(np.float32)
    if backend == "none":
        return np.median(filled, 0)
    anchor = next((volume for volume in filled if volume.std() > 0), filled[0])
    targets = make_targets(anchor, to_world)
    points = np.indices(anchor.shape, np.float32).reshape(3, -1).T.copy()
    aligned = []
    for volume in filled:
        pose = fit_pose(volume, targets)
        if np.isfinite(pose).all():
            out = np.empty(len(points), np.float32)
            to_index = np.linalg.inv(to_world) @ pose @ to_world
            sample(coefficients(volume), np.array(anchor.shape), to_index[:3], points, out)
            aligned.append(np.where(np.isfinite(out), out, anchor.ravel()))
    return np.median(aligned or [anchor.ravel()], 0).reshape(anchor.shape).astype(np.float32)


def _complete(run: _Part) -> np.ndarray:
    """Volumes that could not be fitted get the motion between their neighbours."""
    known = np.isfinite(run.motion).all(1)
    if not known.any():
        raise schema.InputError("no volume could be aligned to the reference; set realign.backend: none")
    volumes = np.arange(len(run.motion))
    columns = [np.interp(volumes, volumes[known], column[known]) for column in run.motion.T]
    return np.where(known[:, None], run.motion, np.stack(columns, 1))
