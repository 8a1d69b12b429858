"""Where colour starts: the value of a statistic from which on it passes an error rate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from multimap_kernel.maps.inference import critical_value, smallest_p


class Boundary(NamedTuple):
    """Family-wise threshold of a map, whether any voxel reaches it, and the threshold of false discoveries."""

    threshold: float
    passes: bool
    fdr_threshold: float | None = None


def find_boundary(ds: xr.Dataset, null_maximum: np.ndarray, alpha: float) -> Boundary:
    """Find the values of ``|statistic|`` from which on ``p_fwe < alpha`` and ``q_fdr < alpha``.

    The smallest value that passes; if none does, the value that one voxel would have needed family-wise, and no
    threshold of false discoveries: the rate depends on what is found, so that without a finding there is none.

    Parameters
    ----------
    ds
        ``statistic, p_fwe`` and, if it was computed, ``q_fdr``, all of one shape; NaN outside the mask.
    null_maximum : (permutation,)
        Largest ``|statistic|`` of each member of the null; empty or NaN where p is parametric.
    alpha
        Error rate.

    Returns
    -------
    The boundary. If nothing passes family-wise, its threshold never lies below the map's largest value, so that
    nothing is shown; without a null, or with one too small for ``alpha``, it lies just above it.
    """
    size = np.abs(ds["statistic"].values)
    fdr_threshold = _smallest(size, ds["q_fdr"].values < alpha) if "q_fdr" in ds else None
    passing = _smallest(size, ds["p_fwe"].values < alpha)
    if passing is not None:
        return Boundary(passing, passes=True, fdr_threshold=fdr_threshold)
    members = int(np.isfinite(null_maximum).sum())
    needed = critical_value(np.abs(null_maximum), alpha) if members and smallest_p(members) <= alpha else 0.0
    largest = np.float32(np.nanmax(size, initial=0.0))
    just_above = float(np.nextafter(largest, np.float32(np.inf)))
    return Boundary(max(needed, just_above), passes=False, fdr_threshold=fdr_threshold)


def _smallest(size: np.ndarray, passes: np.ndarray) -> float | None:
    return float(size[passes].min()) if passes.any() else None
