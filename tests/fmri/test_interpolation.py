"""Against SciPy in double precision, and against the interpreter bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from multimap_kernel.fmri.interpolation import accumulate, coefficients, covered, sample


@pytest.mark.parametrize("shape", [(9, 12, 10), (1, 12, 10)])
def test_sample__agrees_with_scipy_up_to_the_border(shape):
    rng = np.random.default_rng(5)
    volume = rng.standard_normal(shape).astype(np.float32)
    points = np.stack([rng.uniform(-0.5, size - 0.5, 2000) for size in shape], -1).astype(np.float32)
    if shape[0] == 1:
        points[:, 0] = 0
    out = np.empty(len(points), np.float32)
    sample(coefficients(volume), np.array(shape), np.eye(4)[:3], points, out)
    wanted = map_coordinates(volume.astype(np.float64), points.T.astype(np.float64), order=3, mode="mirror")
    assert np.abs(out - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_sample__is_nan_outside():
    volume = np.ones((5, 6, 7), np.float32)
    points = np.array([[-0.6, 2, 2], [2, 5.6, 2], [2, 2, 6.6], [2, 2, 6.4]], np.float32)
    out = np.empty(4, np.float32)
    sample(coefficients(volume), np.array(volume.shape), np.eye(4)[:3], points, out)
    assert np.isnan(out).tolist() == [True, True, True, False]
    assert covered(np.array(volume.shape), np.eye(4)[None, :3], points).tolist() == [False, False, False, True]


def bits():
    """What both kernels make of a small volume."""
    rng = np.random.default_rng(6)
    volume = rng.standard_normal((9, 12, 10)).astype(np.float32)
    points = np.stack([rng.uniform(0, size - 1, 100) for size in volume.shape], -1).astype(np.float32)
    size, matrix = np.array(volume.shape), rng.uniform(-0.02, 0.02, (3, 4)) + np.eye(4)[:3]
    out, residual = np.empty((2, len(points)), np.float32)
    normal, right, gain = np.empty((10, 10)), np.empty(10), np.array([0.9, 0.1, -0.1, 0.05])
    sample(coefficients(volume), size, matrix, points, out)
    geometry = np.stack([matrix, matrix * 3, matrix + 1])
    accumulate(coefficients(volume), size, geometry, points, out.copy(), gain, 3.0, normal, right, residual)
    assert np.isfinite(residual).mean() > 0.5
    return b"".join(array.tobytes() for array in (out, residual, normal, right))


def test_kernels__round_as_the_interpreter_does():
    """So the compiler has no freedom: whoever compiles, whatever processor, a session has one result."""
    told = subprocess.run(
        [sys.executable, "-c", "import test_interpolation as t; print(t.bits().hex())"],
        cwd=Path(__file__).parent,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert bytes.fromhex(told) == bits()
