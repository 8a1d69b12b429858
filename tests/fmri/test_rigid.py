"""Motion parameters as matrices, in the convention of the docstring."""

import numpy as np
import pytest
import xarray as xr

from multimap_kernel.fmri import motion_matrices
from multimap_kernel.fmri.rigid import PARAMETERS, parameters
from multimap_kernel.schema import SchemaError


def dataset(values, **attrs):
    coords = {"parameter": list(PARAMETERS)}
    return xr.Dataset({"motion": (("time", "parameter"), np.atleast_2d(values), attrs)}, coords=coords)


def turn(axis, angle):
    c, s = np.cos(angle), np.sin(angle)
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = c
    matrix[b, a], matrix[a, b] = s, -s
    return matrix


def shift(by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def test_motion_matrices__follow_the_written_convention():
    centre, six = np.array([3.0, -18.0, 10.0]), np.array([0.5, -1.2, 2.0, 0.03, -0.05, 0.08])
    wanted = shift(centre + six[:3]) @ turn(2, six[5]) @ turn(1, six[4]) @ turn(0, six[3]) @ shift(-centre)
    found = motion_matrices(dataset(six, centre=centre.tolist()))[0]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(parameters(found, centre), six, atol=1e-12)


def test_motion_matrices__refuses_motion_without_centre():
    with pytest.raises(SchemaError, match=r"attrs\['centre'\].*realign"):
        motion_matrices(dataset(np.zeros(6)))
