"""Fit the pose of one volume to a reference: Gauss-Newton on cubic splines, with Tukey's weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from multimap_kernel.fmri.interpolation import PAD, accumulate, coefficients
from multimap_kernel.fmri.rigid import grid_centre, small_motion

COARSE_MM = 8.0
"""Voxel size of the first, coarse fit: motion of this size is still found from a standing start."""
STEPS = 15
"""Gauss-Newton steps at most; 3 to 6 are usual."""
STILL_MM = 3e-4
"""A fit is done when no point 60 mm from the centre moves further than this."""
POOL, MOST = 0.4, 12_000
"""A fit looks at the 40 % of voxels with the strongest gradient, thinned evenly to this many. The strongest alone
are the most aliased edges of the scalp: on a 64x64x36 grid they triple the error."""
BLUR = 0.7
"""Gaussian on volume and reference alike, in voxels: halves the error that the sampled edges cause."""
TUKEY = 4.685 * 1.4826
"""Cut-off over the median absolute residual: 95 % efficient for normal noise."""


@dataclass(frozen=True)
class Target:
    """What a volume is fitted to, at one resolution.

    Parameters
    ----------
    coefficient : (z + 2 PAD, y + 2 PAD, x + 2 PAD) float32
        Spline coefficients of the reference.
    points : (n, 3) float32
        Voxels (z, y, x) of the reference with the strongest gradient.
    to_world : (4, 4)
        Array indices to RAS+ mm.
    centre : (3,)
        Centre of rotation, RAS+ mm.
    factors
        How many voxels of the volume make one voxel here, per axis.
    """

    coefficient: np.ndarray
    points: np.ndarray
    to_world: np.ndarray
    centre: np.ndarray
    factors: tuple[int, int, int]

    @property
    def size(self) -> np.ndarray:
        """Shape of the reference at this resolution."""
        return np.array(self.coefficient.shape) - 2 * PAD


def make_targets(reference: np.ndarray, to_world: np.ndarray) -> tuple[Target, Target]:
    """Prepare a finite reference (z, y, x): a coarse target that catches large motion, and the fine one."""
    voxel = np.linalg.norm(to_world[:3, :3], axis=0)
    fewest = np.maximum(1, np.array(reference.shape) // 8)
    z, y, x = np.clip(np.rint(COARSE_MM / voxel), 1, fewest).astype(int).tolist()
    return _target(reference, to_world, (z, y, x)), _target(reference, to_world, (1, 1, 1))


def fit_pose(volume: np.ndarray, targets: tuple[Target, ...]) -> np.ndarray:
    """Find where the head of the reference is in a volume.

    Parameters
    ----------
    volume : (z, y, x)
        The volume; voxels that are not finite are left out.
    targets
        From `make_targets`, coarse first. Every volume starts from no motion, so that no volume depends on another.

    Returns
    -------
    Matrix (4, 4): reference RAS+ mm to volume RAS+ mm; NaN where the volume shows too little to be fitted.
    """
    missing = ~np.isfinite(volume)
    filled = np.where(missing, 0, volume).astype(np.float32)
    pose = np.eye(4)  # volume to reference, while fitting
    for target in targets:
        seen = _shrink(filled, target.factors)
        if target is targets[-1] and missing.any():
            seen[binary_dilation(missing)] = np.nan
        pose = _descend(seen, target, pose)
        if not np.isfinite(pose).all():
            return np.full((4, 4), np.nan)
    return np.linalg.inv(pose)


def _target(reference: np.ndarray, to_world: np.ndarray, factors: tuple[int, int, int]) -> Target:
    seen, grid = _shrink(reference, factors), _shrunk(to_world, factors)
    slope = np.stack(np.gradient(seen), -1) @ np.linalg.inv(grid[:3, :3])
    strength = np.linalg.norm(slope, axis=-1).ravel()
    pool = int(POOL * strength.size)
    chosen = np.sort(np.argpartition(strength, -pool)[-pool:])
    chosen = chosen[np.linspace(0, pool - 1, min(pool, MOST)).astype(np.intp)]
    points = np.stack(np.unravel_index(chosen, seen.shape), -1).astype(np.float32)
    return Target(coefficients(seen), points, grid, grid_centre(to_world, reference.shape), factors)


def _shrink(volume: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Blur a finite volume; coarse ones are the mean over blocks of voxels: broad slopes that lead home from afar."""
    if factors == (1, 1, 1):
        blurred: np.ndarray = gaussian_filter(volume.astype(np.float32), BLUR, mode="nearest", truncate=3.5)
        return blurred
    whole = [size // factor * factor for size, factor in zip(volume.shape, factors, strict=True)]
    cut = volume[: whole[0], : whole[1], : whole[2]].astype(np.float32)
    shape = [part for size, factor in zip(whole, factors, strict=True) for part in (size // factor, factor)]
    coarse: np.ndarray = gaussian_filter(cut.reshape(shape).mean((1, 3, 5)), 1.0, mode="nearest")
    return coarse


def _shrunk(to_world: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    scale = np.diag([*factors, 1.0])
    scale[:3, 3] = (np.array(factors) - 1) / 2
    return to_world @ scale


def _descend(volume: np.ndarray, target: Target, pose: np.ndarray) -> np.ndarray:
    """Gauss-Newton from ``pose`` (volume to reference, RAS+ mm) to a better one."""
    points, values = _look(volume, target, pose)
    residual = np.empty(len(values), np.float32)
    normal, right, cutoff = np.zeros((10, 10)), np.zeros(10), np.inf
    gain: np.ndarray = np.zeros(4)
    floor = 1e-4 * float(np.abs(target.coefficient).max())
    for _ in range(STEPS):
        geometry = _geometry(target, pose)
        accumulate(target.coefficient, target.size, geometry, points, values, gain, cutoff, normal, right, residual)
        seen = np.abs(residual[np.isfinite(residual)])
        if len(seen) < 0.25 * len(target.points) or np.linalg.cond(normal) > 1e16:
            return np.full((4, 4), np.nan)
        solution = np.linalg.solve(normal, right)
        if np.any(gain):  # the first pass has no gain to judge residuals by
            cutoff = max(TUKEY * float(np.median(seen)), floor)
        gain = solution[6:]
        pose = small_motion(solution[:6], target.centre) @ pose
        if cutoff < np.inf and np.abs(solution[:3]).max() + 60 * np.abs(solution[3:6]).max() < STILL_MM:
            break
    return pose


def _look(volume: np.ndarray, target: Target, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume's voxels nearest to where the target's points are now, and their values."""
    back = np.linalg.inv(target.to_world) @ np.linalg.inv(pose) @ target.to_world
    at = np.rint(target.points @ back[:3, :3].T + back[:3, 3]).astype(np.intp)
    at = at[((at >= 0) & (at < target.size)).all(1)]
    values = volume[tuple(at.T)].astype(np.float32)
    finite = np.isfinite(values)
    return at[finite].astype(np.float32), values[finite]


def _geometry(target: Target, pose: np.ndarray) -> np.ndarray:
    """The matrices that `accumulate` asks for."""
    result = np.zeros((3, 3, 4))
    result[0] = (np.linalg.inv(target.to_world) @ pose @ target.to_world)[:3]
    result[1] = target.to_world[:3]
    result[1, :, 3] -= target.centre
    result[2, :, :3] = np.linalg.inv(target.to_world[:3, :3]).T
    result[2, 0, 3] = 0.5 * float(np.max(target.size * np.linalg.norm(target.to_world[:3, :3], axis=0)))
    return result
