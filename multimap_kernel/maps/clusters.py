"""Cluster size as an alternative to the single voxel: how large a patch beyond a height is, against its null."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from multimap_kernel.maps.inference import family_wise_p
from multimap_kernel.schema import InputError, to_volume

_NEIGHBOURS = ndimage.generate_binary_structure(3, 2)  # faces and edges, 18 neighbours


def height_of(p: float, degrees: float) -> float:
    """Size of the correlation with so many degrees of freedom whose two-sided p, uncorrected, is ``p``.

    Raises
    ------
    InputError
        If p is not between 0 and .05: larger heights join what has nothing to do with each other.
    """
    if not 0 < p <= 0.05:
        raise InputError(
            f"cluster_p, the uncorrected p of a cluster's voxels, must lie in (0, .05], found {p}; try .001"
        )
    t = float(-special.stdtrit(max(degrees, 1), p / 2))
    return float(t / np.sqrt(max(degrees, 1) + t**2))


def beyond(r: np.ndarray, height: float) -> np.ndarray:
    """Sign of correlations (...) that lie beyond the height, 0 for the others and NaN, int8."""
    return (r > height).astype(np.int8) - (r < -height)


def cluster_p(signs: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judge each cluster by the largest of all under the null.

    A cluster is a set of voxels of one sign beyond the height that touch by faces or edges; its statistic is the number
    of its voxels. Valid for the whole map, not for single voxels in it: what a cluster says is that the response lies
    somewhere in it.

    Parameters
    ----------
    signs : (map, 1 + member, voxel)
        Of `beyond`: each real map first, then its null. All maps are one family.
    mask : (z, y, x)
        Where the voxels lie.

    Returns
    -------
    p (map, voxel), float32, corrected for the family: 1 outside clusters; and the largest size of each member
    (member,).

    References
    ----------
    Nichols & Holmes (2002), Hum Brain Mapp 15:1. Eklund et al. (2016), PNAS 113:7900, for the height of .001.
    """
    size = np.array([_sizes(one[0], mask) for one in signs])
    largest = np.array([[_sizes(member, mask).max(initial=0) for member in one[1:]] for one in signs], np.float64).max(
        axis=0
    )
    p = family_wise_p(size, largest)
    return np.where(size > 0, p, np.float32(1.0)).astype(np.float32), largest


def _sizes(signs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Voxels in the cluster of each voxel (voxel,), 0 where there is none."""
    volume = to_volume(signs, mask, 0)
    sizes = np.zeros(volume.shape, np.int64)
    for sign in (1, -1):
        label, _ = ndimage.label(volume == sign, structure=_NEIGHBOURS)
        sizes += np.where(label > 0, np.bincount(label.ravel())[label], 0)
    return np.asarray(sizes[mask])
