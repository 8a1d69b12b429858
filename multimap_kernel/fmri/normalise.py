"""Bring a run to a target grid; motion and normalisation are applied together, so data are interpolated once."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, from_task, in_blocks, volume_axis
from multimap_kernel.fmri.interpolation import coefficients, covered, sample
from multimap_kernel.fmri.rigid import centre_of, grid_matrix, matrices

SAME = 1e-7
"""A matrix this close to the identity leaves a volume as it is, bit for bit."""


@dataclass(frozen=True)
class _Plan:
    """Where each voxel of the result comes from: ``matrices[k] @ point`` is an index (z, y, x) of volume k."""

    mask: np.ndarray
    points: np.ndarray
    matrices: np.ndarray


def normalise(
    ds: xr.Dataset, *, motion: xr.Dataset, transform: xr.Dataset | None = None, target: xr.Dataset | None = None
) -> xr.Dataset:
    """Resample a run to a target grid by cubic splines, once.

    For each volume the way from a voxel of the target through the affine and the motion of that volume to the
    volume itself is one matrix. Only voxels of the target's mask are computed. Without ``transform`` and ``target``
    the run stays in its native space, on its own grid: its motion is applied, and where there is none the values
    are those of the file.

    Parameters
    ----------
    ds
        Dataset with ``bold (time, z, y, x; 1)`` and ``affine (world, index; mm)``.
    motion
        Dataset from `realign`: ``motion, reference, mask`` and their affine.
    transform
        Dataset with ``transform (world, index; mm)``, native to target, from `estimate_normalisation`.
    target
        Dataset with ``mask (z, y, x)``, ``affine`` and the attribute ``space``, from `io.load_template`.

    Returns
    -------
    Dataset, lazy in blocks of volumes if ``bold`` or ``motion`` is:

    - bold : (time, z, y, x; 1) float32; NaN outside the mask, and where the voxel nearest in the volume is NaN
    - mask : (z, y, x) bool; the target's mask without voxels that are outside the field of view in any volume, or
      that are not finite in some volume (in native space: the mask of the run without those)
    - affine : (world, index; mm) of the target; ``attrs["space"]``

    Raises
    ------
    SchemaError
        If a variable is missing.
    InputError
        If only one of ``transform`` and ``target`` is given, if motion and bold differ in their volumes, or (when
        computed) if no voxel of the target's mask lies in the field of view.

    References
    ----------
    Unser, Aldroubi & Eden (1993), IEEE Trans Signal Process 41:821.
    """
    schema.require(ds, "bold", where="normalise")
    schema.require(motion, "motion", "reference", "mask", where="normalise")
    if (transform is None) != (target is None):
        raise schema.InputError("transform and target must be given together; leave out both for native space")
    if motion.sizes["time"] != ds.sizes["time"]:
        found = f"{motion.sizes['time']} and {ds.sizes['time']}"
        raise schema.InputError(f"motion and bold must have the same volumes, found {found}; realign this run")
    own = grid_matrix(ds)
    goal = motion if target is None else target
    to_native = np.eye(4)[:3] if transform is None else _inverse(transform)
    plan = delayed(_plan)(
        motion["motion"].data,
        centre_of(motion),
        to_native,
        own,
        grid_matrix(goal if target is not None else ds),
        goal["mask"].data,
        motion["reference"].data,
    )
    blocks = in_blocks(ds["bold"])
    shape = goal["mask"].shape
    starts = da.arange(ds.sizes["time"], chunks=blocks.chunks[:1])[:, None, None, None]
    bold = da.map_blocks(
        _resample,
        blocks,
        starts,
        plan,
        dtype=np.float32,
        chunks=(blocks.chunks[0], *shape),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    coords = volume_axis(ds)
    result = xr.Dataset(
        {
            "bold": (("time", "z", "y", "x"), bold),
            "mask": (("z", "y", "x"), from_task(delayed(_mask_of)(plan), shape, bool)),
        },
        coords={**coords, "affine": schema.affine_coordinate(schema.affine_matrix(ds if target is None else target))},
        attrs={**ds.attrs, "space": "native" if target is None else target.attrs["space"]},
    )
    for name in ("bold", "mask"):
        result[name] = schema.annotate(result[name])
    return finish(result, ds, motion, *(part for part in (transform, target) if part is not None))


def _inverse(transform: xr.Dataset) -> da.Array | np.ndarray:
    """Target to native, (3, 4)."""
    schema.require(transform, "transform", where="normalise")
    return from_task(delayed(_invert)(transform["transform"].data), (3, 4), np.float64)


def _invert(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]]))[:3]


def _plan(
    motion: np.ndarray,
    centre: np.ndarray,
    to_native: np.ndarray,
    own: np.ndarray,
    goal: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray,
) -> _Plan:
    still = np.linalg.inv(own) @ np.vstack([to_native, [0.0, 0.0, 0.0, 1.0]]) @ goal
    moved = np.linalg.inv(own) @ matrices(motion, centre) @ own @ still
    points = np.argwhere(mask).astype(np.float32)
    at = np.rint(points @ still[:3, :3].T + still[:3, 3]).astype(np.intp)
    size = np.array(reference.shape)
    seen = covered(size, np.concatenate([moved, still[None]])[:, :3], points)
    seen[seen] = np.isfinite(reference[tuple(np.clip(at[seen], 0, size - 1).T)])
    if not seen.any():
        raise schema.InputError(
            f"the field of view must hold voxels of the target's mask, found none of {len(points)}; "
            "look at the affine of the BOLD file, or choose normalise.space: native"
        )
    kept = np.zeros(mask.shape, bool)
    kept[mask] = seen
    return _Plan(kept, points[seen], moved[:, :3])


def _mask_of(plan: _Plan) -> np.ndarray:
    return plan.mask


def _resample(block: np.ndarray, starts: np.ndarray, plan: _Plan) -> np.ndarray:
    result = np.full((len(block), *plan.mask.shape), np.nan, np.float32)
    for k, (volume, matrix) in enumerate(zip(block, plan.matrices[starts.ravel()], strict=True)):
        if volume.shape == plan.mask.shape and np.abs(matrix - np.eye(4)[:3]).max() < SAME:
            result[k][plan.mask] = volume[plan.mask]
        else:
            result[k][plan.mask] = _sampled(volume, matrix, plan.points)
    return result


def _sampled(volume: np.ndarray, matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    missing = ~np.isfinite(volume)
    size, out = np.array(volume.shape), np.empty(len(points), np.float32)
    sample(coefficients(np.where(missing, 0, volume)), size, matrix, points, out)
    if missing.any():
        at = np.rint(points @ matrix[:, :3].T + matrix[:, 3]).astype(np.intp)
        out[missing[tuple(np.clip(at, 0, size - 1).T)]] = np.nan
    return out
