"""Circular shifts and phase-randomised surrogates: the null of every EEG map, as blocked float32 matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

EXCLUSION_S = 30.0
"""Shifts nearer to zero than this still carry the effect, through the haemodynamic response and slow fluctuation."""
MEMBERS = 299
"""A longer run has more distinct shifts; that many are enough for p = 1/300, unless more are asked for."""
SURROGATES = 199
"""Phase-randomised members of a null; the smallest p is 1/200 for a run of any length."""
BINS = 4096
"""Resolution of the pooled null distribution of |r|, 1/4096."""
_TOGETHER = 1024  # voxels in one product: 9 600 rows (32 channels, 300 members) x 1 024 floats are 39 MB


def distinct_shifts(count: int, step_s: float, seed: int, limit: int = MEMBERS) -> np.ndarray:
    """List the circular shifts of a run that may serve as null, each once.

    Parameters
    ----------
    count
        Samples in the run.
    step_s
        Time from sample to sample, s.
    seed
        Chooses which shifts are taken, without repetition, where there are more.
    limit
        Largest number of them.

    Returns
    -------
    Shifts in samples, ascending, none within `EXCLUSION_S` of zero in either direction; empty for a run that is
    too short to have any.
    """
    excluded = int(np.ceil(EXCLUSION_S / step_s - 1e-9))
    shifts = np.arange(excluded, count - excluded + 1)
    if shifts.size > limit:
        shifts = np.sort(np.random.default_rng(seed).choice(shifts, limit, replace=False))
    return shifts


def basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal basis (time, rank) of what the columns (time, column) span, float64; redundant ones are dropped."""
    scale = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    scaled = columns[:, scale > 0] / scale[scale > 0]
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    return left[:, singular > 1e-7 * max(singular.max(initial=0.0), 1.0)]


def shifted(regressors: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Shift regressors (time, regressor) around the run: (regressor, 1 + shift, time), the real one first."""
    count = len(regressors)
    source = (np.arange(count)[None, :] - np.r_[0, shifts][:, None]) % count
    return np.asarray(np.ascontiguousarray(regressors.T)[:, source])


def surrogates(regressors: np.ndarray, members: int, seed: int) -> np.ndarray:
    """Give regressors random phases.

    All regressors get the same phases, so that each keeps its spectrum and all keep their correlation with each other
    at every frequency. For stationary Gaussian regressors that have nothing to do with the data, or for any regressors
    and stationary Gaussian data, the real phases are as good as any others: the real regressors are one more member of
    their null. A circular shift is the special case of phases that grow evenly with frequency.

    Parameters
    ----------
    regressors : (time, regressor)
        Raw regressors.
    members
        Members of the null.
    seed
        Of the phases.

    Returns
    -------
    Copies (regressor, 1 + member, time), the real one first.

    References
    ----------
    Theiler et al. (1992), Physica D 58:77. Prichard & Theiler (1994), Phys Rev Lett 73:951, for several series.
    """
    count = len(regressors)
    spectrum = np.fft.rfft(regressors, axis=0).T
    turned = spectrum[:, None] * np.exp(1j * random_phases(count, members, seed))
    return np.asarray(np.fft.irfft(turned, count, axis=2))


def random_phases(count: int, members: int, seed: int) -> np.ndarray:
    """Phases (1 + member, frequency) for series of ``count`` samples: those of the real one, 0, then random ones."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (1 + members, count // 2 + 1))
    phase[0] = phase[:, 0] = 0  # the real one; the mean
    if count % 2 == 0:
        phase[1:, -1] = np.where(phase[1:, -1] < np.pi, 0, np.pi)  # the fastest frequency is real
    return phase


def circulant(phase: np.ndarray, count: int) -> np.ndarray:
    """Matrix (time, time), float32, that turns the phases (frequency,) of any series of ``count`` samples."""
    first = np.fft.irfft(np.exp(1j * phase), count)
    return np.asarray(first[np.subtract.outer(np.arange(count), np.arange(count)) % count], np.float32)


def scaled(rows: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
    """Scale rows so that their product with partialled data is a correlation.

    A regressor is moved first and partialled afterwards, so that each copy loses what the nuisance explains of it, as
    the real one does. (Partialled before as well, the copies lose slow variance twice and are weaker than the real
    one: 31 % of null sessions of 60 volumes were significant.) The data are orthogonal to the nuisance already, so that
    only the copy's length after partialling is needed, not the partialled copy itself.

    Parameters
    ----------
    rows : (regressor, 1 + member, time)
        Of `shifted` or `surrogates`.
    nuisance : (time, rank)
        Orthonormal basis.

    Returns
    -------
    Rows of the same shape, float32; NaN for a regressor that the nuisance explains whole.
    """
    whole = np.einsum("ijk,ijk->ij", rows, rows)
    explained = rows @ nuisance
    left = whole - np.einsum("ijk,ijk->ij", explained, explained)
    length = np.sqrt(np.where(left > 1e-8 * whole, left, np.nan))
    return np.asarray(rows / length[..., None], np.float32)


def unit_residuals(data: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
    """Partial the nuisance (time, rank) out of data (time, voxel) and scale to length 1; NaN where nothing is left."""
    # the nuisance holds the constant; small numbers keep float32 exact
    return _slab_by_slab(data, nuisance, lambda slab: (slab - slab[0]).astype(np.float32, copy=False))


def unit_rest(centred: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
    """As `unit_residuals`, for float32 data (time, voxel) that are small already; they need not hold a constant."""
    return _slab_by_slab(centred, nuisance, np.ascontiguousarray)


def _slab_by_slab(data: np.ndarray, nuisance: np.ndarray, centre: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    out, slim = np.empty(data.shape, np.float32), nuisance.astype(np.float32)
    for first in range(0, data.shape[1], _TOGETHER):  # what is held in between stays in the cache
        part = slice(first, first + _TOGETHER)
        centred = centre(data[:, part])
        rest = centred - slim @ (slim.T @ centred)
        rest -= slim @ (slim.T @ rest)  # twice: dummies and drifts are many times larger than what is left
        power = np.einsum("ij,ij->j", rest, rest)
        floor = 1e-9 * np.einsum("ij,ij->j", centred, centred)
        np.divide(rest, np.sqrt(np.where(power > floor, power, np.nan)), out=out[:, part])
    return out


class Strongest(NamedTuple):
    """The strongest of several regressors at each voxel, and the same of their null.

    Parameters
    ----------
    best : (voxel,)
        Signed r of the regressor with the largest ``|r|``.
    chosen : (voxel,)
        Its position, -1 where there is none.
    maximum : (member,)
        Largest ``|r|`` over regressors and voxels.
    counts : (bin,)
        How often ``|r|`` of the strongest regressor fell into each of `BINS` bins, over all members and voxels.
    """

    best: np.ndarray
    chosen: np.ndarray
    maximum: np.ndarray
    counts: np.ndarray


def strongest(rows: np.ndarray, data: np.ndarray) -> Strongest:
    """Correlate a group of regressors and their null with data, keeping the strongest regressor.

    Parameters
    ----------
    rows : (regressor, 1 + member, time)
        Of `scaled`.
    data : (time, voxel)
        Of `unit_residuals`.
    """
    voxels = data.shape[1]
    best, chosen = np.full(voxels, np.nan, np.float32), np.full(voxels, -1, np.int16)
    maximum, counts = np.zeros(max(rows.shape[1] - 1, 0), np.float32), np.zeros(BINS, np.int64)
    flat = rows.reshape(-1, rows.shape[-1])
    room = np.empty(len(flat) * min(_TOGETHER, voxels), np.float32)  # the same for each product
    for first in range(0, voxels, _TOGETHER):
        part = data[:, first : first + _TOGETHER]
        r = room[: len(flat) * part.shape[1]].reshape(len(flat), -1)
        np.matmul(flat, part, out=r)
        own = slice(first, first + _TOGETHER)
        reduce_strongest(r.reshape(*rows.shape[:2], -1), best[own], chosen[own], maximum, counts)
    return Strongest(best, chosen, maximum, counts)


@numba.njit(cache=True, nogil=True)
def reduce_strongest(
    r: np.ndarray, best: np.ndarray, chosen: np.ndarray, maximum: np.ndarray, counts: np.ndarray
) -> None:
    """Bring the four arrays of a `Strongest` up to date with r (regressor, 1 + member, voxel), in one pass.

    Comparisons with NaN are false, so that NaN never wins.
    """
    regressors, members, voxels = r.shape
    size = np.empty(voxels, np.float32)
    for regressor in range(regressors):
        for voxel in range(voxels):
            value = r[regressor, 0, voxel]
            if abs(value) > abs(best[voxel]) or (chosen[voxel] < 0 and not np.isnan(value)):
                best[voxel], chosen[voxel] = value, regressor
    for member in range(1, members):
        size[:] = -1.0
        for regressor in range(regressors):
            for voxel in range(voxels):
                value = abs(r[regressor, member, voxel])
                if value > size[voxel]:  # noqa: PLR1730 - max() would let NaN win
                    size[voxel] = value
        top = maximum[member - 1]
        for voxel in range(voxels):
            value = size[voxel]
            if value >= 0:
                top = max(top, value)
                counts[min(int(value * BINS), BINS - 1)] += 1
        maximum[member - 1] = top
