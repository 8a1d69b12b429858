"""From statistics and their null to p values: family-wise by the maximum, false discovery rate by ranks."""

from __future__ import annotations

import json

import numpy as np
from scipy import special

from multimap_kernel.schema import InputError


def smallest_p(members: int) -> float:
    """Smallest p that a null of that many members can give, 1 / (1 + members)."""
    return 1.0 / (1 + members)


def family_wise_p(statistic: np.ndarray, null_maximum: np.ndarray) -> np.ndarray:
    """Compare each statistic with the maxima over the family under the null.

    Parameters
    ----------
    statistic : (...)
        Any statistic whose size counts, two-sided.
    null_maximum : (permutation,)
        Largest size over the family for each member of the null; NaN where a member does not exist.

    Returns
    -------
    p (...) = (1 + members that reach the statistic) / (1 + members), float32; NaN where the statistic is NaN.

    References
    ----------
    Westfall & Young (1993), Resampling-based multiple testing. Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39,
    for the one that is added.
    """
    members = np.sort(null_maximum[np.isfinite(null_maximum)])
    size = np.abs(statistic)
    reached = members.size - np.searchsorted(members, size, side="left")
    return np.where(np.isnan(size), np.nan, (1 + reached) / (1 + members.size)).astype(np.float32)


def pooled_p(statistic: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compare each correlation with the null pooled over voxels and shifts, uncorrected.

    Parameters
    ----------
    statistic : (..., voxel)
        Correlations.
    counts : (..., bin)
        How often ``|r|`` fell into each of the equal bins of 0 to 1 under the null.

    Returns
    -------
    p (..., voxel), float64; NaN where the statistic is NaN. Valid on average over the voxels that were pooled.
    """
    bins = counts.shape[-1]
    at_least = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    size = np.abs(statistic)
    place = np.minimum(np.nan_to_num(size) * bins, bins - 1).astype(np.int64)
    reached = np.take_along_axis(at_least, place, axis=-1)
    return np.where(np.isnan(size), np.nan, (1 + reached) / (1 + at_least[..., :1]))


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Turn uncorrected p values of one family into q values.

    Parameters
    ----------
    p : (...)
        All dimensions are one family; NaN does not belong to it.

    Returns
    -------
    q (...), float32: the smallest false discovery rate at which the test is still called a discovery.

    References
    ----------
    Benjamini & Hochberg (1995), J R Stat Soc B 57:289.
    """
    q = np.full(p.size, np.nan, np.float32)
    family = np.flatnonzero(np.isfinite(p))
    order = family[np.argsort(p.ravel()[family], kind="stable")]
    scaled = p.ravel()[order] * order.size / np.arange(1, order.size + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q.reshape(p.shape)


def judge(r: np.ndarray, maximum: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Judge the correlations of several families.

    Parameters
    ----------
    r : (family, voxel)
        Correlations.
    maximum : (family, permutation)
        Largest ``|r|`` of each member of the null.
    counts : (family, bin)
        As in `pooled_p`.

    Returns
    -------
    ``p_fwe`` and ``q_fdr (family, voxel)``.
    """
    p = np.array([family_wise_p(*pair) for pair in zip(r, maximum, strict=True)])
    return {"p_fwe": p, "q_fdr": np.array([false_discovery_rate(one) for one in pooled_p(r, counts)])}


def student(r: np.ndarray, degrees: float | np.ndarray) -> np.ndarray:
    """The t of a partial correlation with so many degrees of freedom, float64; the order is the same."""
    return np.asarray(r * np.sqrt(np.maximum(degrees, 1) / np.maximum(1 - r.astype(np.float64) ** 2, 1e-12)))


def normal_score(t: np.ndarray, degrees: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn t into z of the same tail probability, and give the two-sided p; both float64.

    The smaller tail is used on both sides, so that large positive t keep their digits.
    """
    tail = np.maximum(special.stdtr(degrees, -np.abs(t)), np.finfo(np.float64).tiny)
    return -np.sign(t) * special.ndtri(tail), np.minimum(2 * tail, 1.0)


def critical_value(null_maximum: np.ndarray, p: float) -> float:
    """Smallest statistic whose family-wise p is at most ``p``.

    Parameters
    ----------
    null_maximum : (permutation,)
        As in `family_wise_p`.
    p
        Family-wise error p that is wished.

    Raises
    ------
    InputError
        If the null has too few members for this p.
    """
    members = np.sort(null_maximum[np.isfinite(null_maximum)])
    least = smallest_p(members.size)
    if p < least:
        raise InputError(
            f"a threshold must not lie below the smallest possible p, {least:.4g} with {members.size} members of the "
            f"null; found p = {p:g}; choose a larger p, or more volumes or runs"
        )
    allowed = int(np.floor(p * (1 + members.size) + 1e-9)) - 1
    return 0.0 if allowed >= members.size else float(np.nextafter(members[members.size - 1 - allowed], np.inf))


def describe_null(method: str, members: int | None = None, seed: int | None = None) -> str:
    """Say as JSON text how a null was made, how many members it has and which p it cannot go below.

    A parametric null has neither members nor seed.
    """
    least = None if members is None else round(smallest_p(members), 6)
    return json.dumps({"method": method, "n": members, "smallest_p": least, "seed": seed})
