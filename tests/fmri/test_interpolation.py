"""Against SciPy in double precision."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from multimap_kernel.fmri.interpolation import coefficients, covered, sample


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
