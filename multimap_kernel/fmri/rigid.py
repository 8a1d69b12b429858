"""Rigid motion as six numbers and as a matrix; the one place that knows the order of the rotations."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.spatial.transform import Rotation

from multimap_kernel import schema

PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Millimetres and radians, RAS+."""


def motion_matrices(ds: xr.Dataset) -> np.ndarray:
    """Turn the motion of a run into matrices.

    Parameters
    ----------
    ds
        Dataset with ``motion (time, parameter; mm, rad)``, as `realign` gives it; its attribute ``centre`` is the
        point that the head turns about.

    Returns
    -------
    Matrices (time, 4, 4), float64: each takes a point of the head in the reference volume (RAS+ mm) to where that
    point is in volume k, ``T(centre + trans) Rz(rot_z) Ry(rot_y) Rx(rot_x) T(-centre)``. Lazy motion is computed.

    Raises
    ------
    SchemaError
        If there is no motion, or it does not say its centre.

    Notes
    -----
    The angles turn about the fixed axes x, y and z, in this order; the six parameters are those of a rigid body.
    """
    schema.require(ds, "motion", where="motion_matrices")
    return matrices(np.asarray(ds["motion"].values), centre_of(ds))


def centre_of(ds: xr.Dataset) -> np.ndarray:
    """The point that the rotations of ``motion`` turn about, RAS+ mm. Raises SchemaError if it is not stored."""
    if "centre" not in ds["motion"].attrs:
        raise schema.SchemaError("motion", ["motion.attrs['centre'] (mm) must be there; take motion from realign"])
    return np.asarray(ds["motion"].attrs["centre"], np.float64)


def grid_matrix(ds: xr.Dataset) -> np.ndarray:
    """The (4, 4) matrix that takes array indices (z, y, x, 1) to RAS+ mm."""
    return schema.affine_matrix(ds)[:, [2, 1, 0, 3]]


def grid_centre(to_world: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Middle of a grid in RAS+ mm."""
    centre: np.ndarray = (to_world @ np.append((np.array(shape) - 1) / 2, 1.0))[:3]
    return centre


def matrices(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Turn parameters (n, 6) into matrices (n, 4, 4)."""
    parameters = np.asarray(parameters, np.float64)
    rotation = Rotation.from_euler("xyz", parameters[:, 3:]).as_matrix()
    result = np.tile(np.eye(4), (len(parameters), 1, 1))
    result[:, :3, :3] = rotation
    result[:, :3, 3] = centre + parameters[:, :3] - rotation @ centre
    return result


def parameters(matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Turn one matrix (4, 4) into its parameters (6,)."""
    angles = Rotation.from_matrix(matrix[:3, :3]).as_euler("xyz")
    return np.concatenate([matrix[:3, :3] @ centre + matrix[:3, 3] - centre, angles])


def small_motion(change: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Matrix (4, 4) of a translation (mm) and a rotation vector (rad) about the centre."""
    result = np.eye(4)
    result[:3, :3] = Rotation.from_rotvec(change[3:]).as_matrix()
    result[:3, 3] = change[:3] + centre - result[:3, :3] @ centre
    return result
