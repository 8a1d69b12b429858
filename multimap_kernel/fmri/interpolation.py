"""Cubic spline kernels in numba: sample a volume anywhere, and the normal equations of a rigid fit.

Coordinates are array indices (z, y, x). A volume is known from half a voxel before its first to half a voxel after
its last centre; the spline mirrors at the outer centres there, as SciPy's ``mode="mirror"`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba as nb
import numpy as np
from scipy.ndimage import spline_filter1d

PAD = 2
"""Mirrored coefficients on each side, so that the kernels need no test of the border."""
EDGE = 1e-6
"""A point half a voxel out has its four coefficients within `PAD`; rounding must not push it over."""
Real = float | np.floating[Any]
Four = tuple[Real, Real, Real, Real]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile without the interpreter lock, and keep the machine code on disk where a folder can be written.

    Without ``fastmath``: with it, the process that compiles rounds differently from those that load its code later
    (numba keeps two copies of an inner kernel, optimised apart), and so do processors of another kind.
    """
    try:
        kernel = nb.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no folder to write to: compile once per process
        kernel = nb.njit(nogil=True)(function)
    return cast("Kernel", kernel)


def coefficients(volume: np.ndarray) -> np.ndarray:
    """Cubic spline coefficients of a finite volume (z, y, x), mirrored by `PAD`, float32."""
    result = np.asarray(volume, np.float32)
    for axis, size in enumerate(result.shape):
        if size > 1:
            result = spline_filter1d(result, 3, axis=axis, output=np.float32, mode="mirror")
    return np.pad(result, PAD, mode="reflect")


@compiled
def _basis(t: Real) -> Four:
    """Weights of the four coefficients around a point that lies ``t`` after the second one."""
    one, four, six = np.float32(1), np.float32(4), np.float32(6)
    s = one - t
    t2, s2 = t * t, s * s
    middle = (four - six * t2 + np.float32(3) * t2 * t) / six
    after = (four - six * s2 + np.float32(3) * s2 * s) / six
    return s2 * s / six, middle, after, t2 * t / six


@compiled
def _slope(t: Real) -> Four:
    """Derivative of `_basis`."""
    half, two, more = np.float32(0.5), np.float32(2), np.float32(1.5)
    s = np.float32(1) - t
    return -s * s * half, t * (more * t - two), s * (two - more * s), t * t * half


@compiled
def _value(coefficient: np.ndarray, z: Real, y: Real, x: Real) -> Real:
    """The spline at one point (array indices of the volume)."""
    a, b, c = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    wz, wy, wx = _basis(np.float32(z - a)), _basis(np.float32(y - b)), _basis(np.float32(x - c))
    total = np.float32(0)
    for j in range(4):
        plane = np.float32(0)
        for k in range(4):
            line = coefficient[a + j + 1, b + k + 1]
            plane += wy[k] * (wx[0] * line[c + 1] + wx[1] * line[c + 2] + wx[2] * line[c + 3] + wx[3] * line[c + 4])
        total += wz[j] * plane
    return total


@compiled
def _value_and_gradient(coefficient: np.ndarray, z: Real, y: Real, x: Real) -> Four:
    """The spline at one point, and its derivatives along z, y, x per voxel."""
    a, b, c = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    tz, ty, tx = np.float32(z - a), np.float32(y - b), np.float32(x - c)
    wz, wy, wx, dz, dy, dx = _basis(tz), _basis(ty), _basis(tx), _slope(tz), _slope(ty), _slope(tx)
    value, gz, gy, gx = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for j in range(4):
        v, vy, vx = np.float32(0), np.float32(0), np.float32(0)
        for k in range(4):
            line = coefficient[a + j + 1, b + k + 1]
            c0, c1, c2, c3 = line[c + 1], line[c + 2], line[c + 3], line[c + 4]
            along = wx[0] * c0 + wx[1] * c1 + wx[2] * c2 + wx[3] * c3
            v += wy[k] * along
            vy += dy[k] * along
            vx += wy[k] * (dx[0] * c0 + dx[1] * c1 + dx[2] * c2 + dx[3] * c3)
        value += wz[j] * v
        gz += dz[j] * v
        gy += wz[j] * vy
        gx += wz[j] * vx
    return value, gz, gy, gx


@compiled
def _move(matrix: np.ndarray, p: Real, q: Real, r: Real) -> tuple[Real, Real, Real]:
    """Three rows of an affine times a point."""
    return (
        matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3],
        matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3],
        matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3],
    )


@compiled
def _inside(size: np.ndarray, z: Any, y: Any, x: Any, margin: float) -> bool:
    """Whether a point lies within the volume, up to ``margin`` voxels beyond its outer centres."""
    if min(z, y, x) < -margin:
        return False
    return bool(z <= size[0] - 1 + margin and y <= size[1] - 1 + margin and x <= size[2] - 1 + margin)


@compiled
def sample(coefficient: np.ndarray, size: np.ndarray, matrix: np.ndarray, points: np.ndarray, out: np.ndarray) -> None:
    """Sample a volume at ``matrix @ point``.

    Parameters
    ----------
    coefficient : (z + 2 PAD, y + 2 PAD, x + 2 PAD) float32
        From `coefficients`.
    size : (3,) int
        Shape of the volume.
    matrix : (3, 4) float64
        Takes a point to indices of the volume.
    points : (n, 3) float32
        Points, z first.
    out : (n,) float32
        Gets the values; NaN outside the volume.
    """
    for i in range(points.shape[0]):
        z, y, x = _move(matrix, points[i, 0], points[i, 1], points[i, 2])
        out[i] = _value(coefficient, z, y, x) if _inside(size, z, y, x, 0.5 - EDGE) else np.nan


@compiled
def covered(size: np.ndarray, matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether each point (n, 3) lies inside the volume for every one of the matrices (time, 3, 4)."""
    result = np.ones(points.shape[0], np.bool_)
    for i in range(points.shape[0]):
        for k in range(matrices.shape[0]):
            z, y, x = _move(matrices[k], points[i, 0], points[i, 1], points[i, 2])
            if not _inside(size, z, y, x, 0.5 - EDGE):
                result[i] = False
    return result


@compiled
def accumulate(
    coefficient: np.ndarray,
    size: np.ndarray,
    geometry: np.ndarray,
    points: np.ndarray,
    values: np.ndarray,
    gain: np.ndarray,
    cutoff: float,
    normal: np.ndarray,
    right: np.ndarray,
    residual: np.ndarray,
) -> None:
    """Add up the weighted normal equations of one Gauss-Newton step of a rigid fit.

    The model is ``reference(step(W x)) = values(x) * (gain[0] + gain[1:] @ arm)``: six rigid unknowns, and a gain
    that may change linearly over the head. Points outside the reference, or worse than ``cutoff``, have no weight.

    Parameters
    ----------
    coefficient, size
        The reference, as in `sample`.
    geometry : (3, 3, 4) float64
        [0]: point to reference indices; [1]: reference indices to the arm from the centre of rotation, mm; [2]: rows
        that take a gradient per voxel to one per mm, and in [2, 0, 3] the length (mm) that scales the gain.
    points : (n, 3) float32
        Voxels of the moving volume.
    values : (n,) float32
        The moving volume there.
    gain : (4,) float64
        Gain of the step before, which the weights are judged by.
    cutoff : float
        Tukey's constant; infinite for plain least squares.
    normal : (10, 10), right : (10,), residual : (n,)
        Results, overwritten; residual is NaN outside the reference.

    References
    ----------
    Beaton & Tukey (1974), Technometrics 16:147.
    """
    normal[:] = 0.0
    right[:] = 0.0
    row = np.empty(10)
    for i in range(points.shape[0]):
        z, y, x = _move(geometry[0], points[i, 0], points[i, 1], points[i, 2])
        if not _inside(size, z, y, x, 0.0):
            residual[i] = np.nan
            continue
        value = _fill_row(coefficient, geometry, z, y, x, values[i], row)
        misfit = value + gain[0] * row[6] + gain[1] * row[7] + gain[2] * row[8] + gain[3] * row[9]
        residual[i] = misfit
        _add_row(row, value, misfit / cutoff, normal, right)
    for m in range(10):
        for n in range(m):
            normal[n, m] = normal[m, n]


@compiled
def _fill_row(
    coefficient: np.ndarray, geometry: np.ndarray, z: Real, y: Real, x: Real, seen: Real, row: np.ndarray
) -> Real:
    """One row of the linearised model: translation, rotation, gain; returns the value of the reference."""
    value, gz, gy, gx = _value_and_gradient(coefficient, z, y, x)
    u, v, w = _move(geometry[1], z, y, x)
    for axis in range(3):
        m = geometry[2, axis]
        row[axis] = m[0] * gz + m[1] * gy + m[2] * gx
    row[3] = v * row[2] - w * row[1]
    row[4] = w * row[0] - u * row[2]
    row[5] = u * row[1] - v * row[0]
    row[6] = -seen
    scale = -seen / geometry[2, 0, 3]
    row[7], row[8], row[9] = u * scale, v * scale, w * scale
    return value


@compiled
def _add_row(row: np.ndarray, value: Real, misfit: Any, normal: np.ndarray, right: np.ndarray) -> None:
    """Add one row with Tukey's weight (``misfit`` in units of the cut-off) to the lower half of the equations."""
    if abs(misfit) >= 1:
        return
    weight = (1 - misfit * misfit) ** 2
    for m in range(10):
        scaled = weight * row[m]
        right[m] -= scaled * value
        for n in range(m + 1):
            normal[m, n] += scaled * row[n]
