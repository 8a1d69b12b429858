"""Generalised least squares with first-order autoregressive noise, one coefficient for each voxel."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np

from multimap_kernel.maps.clusters import beyond
from multimap_kernel.maps.design import Design
from multimap_kernel.maps.inference import normal_score
from multimap_kernel.maps.shifts import BINS, basis, scaled, strongest, unit_rest
from multimap_kernel.schema import InputError

_LEVEL = 3.0  # deviations: measured BOLD stands 10 to 200 above 0, residuals stand at it


def fit_ar1(series: np.ndarray, design: Design, weights: np.ndarray, noise: str) -> dict[str, np.ndarray]:
    """Fit the design to each voxel and test contrasts.

    With the precision W of an AR(1) process of coefficient rho, X'WX and X'WY are quadratic polynomials in rho.
    Their three terms are products shared by all voxels, so that each voxel has its own rho, not a rounded one, at the
    price of a small factorisation.

    The coefficient is taken from the residuals, as nilearn and its like do, and z agrees with theirs. Their tails are
    too heavy for a parametric family-wise error (see `activation_map`), so that p values come from `permute`.

    Parameters
    ----------
    series : (time, voxel)
        BOLD.
    design
        Of the run.
    weights : (contrast, condition)
        Contrasts.
    noise
        ``"ar1"`` or ``"ols"``.

    Returns
    -------
    ``z``, ``effect`` in percent of the voxel's mean over the steady volumes, ``effect_variance`` in percent squared
    (contrast, voxel), ``mean`` and ``deviation (1, voxel)`` over the steady volumes; NaN for voxels that are constant
    or hold NaN.

    Raises
    ------
    InputError
        If conditions cannot be told from each other or from the nuisance, or too few volumes are left.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1.
    """
    X = np.column_stack([design.task, design.nuisance])
    degrees = len(X) - X.shape[1]
    _check_estimable(design, degrees)
    mean = series[design.steady].mean(axis=0, dtype=np.float64)
    # the constant is in X: taking the mean out changes no contrast, and small numbers keep float32 products exact
    y = (series - mean).astype(np.float32)
    C = np.zeros((X.shape[1], len(weights)))
    C[: weights.shape[1]] = weights.T
    rho = _autocorrelation(y, X) if noise == "ar1" else np.where(y.any(axis=0), 0.0, np.nan)
    estimate, t, variance = _solve(y, X, C, rho)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = 100 / np.where(np.isnan(t), np.nan, mean[:, None])
    return {
        "z": normal_score(t.T, degrees)[0],
        "effect": (percent * estimate).T,
        "effect_variance": (percent**2 * variance).T,
        "mean": mean[None],
        "deviation": y[design.steady].std(axis=0, dtype=np.float64)[None],
    }


def in_percent(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The values, if there is a level of which they can be percent: mean and deviation are (run, voxel).

    Raises
    ------
    InputError
        If BOLD of a run does not stand well above its deviation, in the median over voxels.
    """
    known = np.isfinite(mean).all(axis=0) & np.isfinite(deviation).all(axis=0)
    for level, spread in zip(mean[:, known], deviation[:, known], strict=True):
        if level.size and not np.median(level) > _LEVEL * np.median(spread):
            raise InputError(
                f"BOLD must stand at least {_LEVEL:g} deviations above 0 for effects in percent of its mean, found "
                f"mean {np.median(level):.3g} and deviation {np.median(spread):.3g} in the median over voxels; give "
                "the series as it was measured, not demeaned, standardised or freed of confounds, which the model does"
            )
    return values


def _solve(y: np.ndarray, X: np.ndarray, C: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, t and variance of the estimate (voxel, contrast).

    ``C`` (k, contrast) are the contrasts, ``rho`` (voxel,) the autocorrelation of the noise.
    """
    sound = np.isfinite(rho)
    quadratic, linear, power = _normal_equations(y, X, np.where(sound, rho, 0.0))
    estimate, spread, explained = _solve_each(*quadratic, *linear, np.where(sound, rho, 0.0), C)
    variance = np.maximum(power - explained, 0.0) / (len(X) - X.shape[1])
    squared = variance[:, None] * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((sound & (variance > 0))[:, None], estimate / np.sqrt(squared), np.nan)
    return estimate, t, squared


@numba.njit(cache=True, nogil=True)
def _solve_each(
    whole: np.ndarray, beside: np.ndarray, inner: np.ndarray, own: np.ndarray, shifted: np.ndarray, middle: np.ndarray,
    rho: np.ndarray, C: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Estimates c'b and c'M^-1 c (voxel, contrast), and b'g (voxel,), for M b = g of each voxel.

    With M = LL', all three are products of L^-1 g and L^-1 c, so that one forward substitution each is enough.
    """
    voxels, size, contrasts = len(rho), len(C), C.shape[1]
    estimate, spread = np.empty((voxels, contrasts)), np.empty((voxels, contrasts))
    explained = np.empty(voxels)
    L, right = np.empty((size, size)), np.empty((1 + contrasts, size))
    for voxel in range(voxels):
        r = rho[voxel]
        for i in range(size):
            for j in range(i + 1):
                total = whole[i, j] - r * beside[i, j] + r * r * inner[i, j]
                for k in range(j):
                    total -= L[i, k] * L[j, k]
                L[i, j] = np.sqrt(total) if i == j else total / L[j, j]
            right[0, i] = own[voxel, i] - r * shifted[voxel, i] + r * r * middle[voxel, i]
            right[1:, i] = C[i]
            for row in range(1 + contrasts):
                for k in range(i):
                    right[row, i] -= L[i, k] * right[row, k]
                right[row, i] /= L[i, i]
        explained[voxel] = np.sum(right[0] ** 2)
        for contrast in range(contrasts):
            estimate[voxel, contrast] = np.sum(right[0] * right[1 + contrast])
            spread[voxel, contrast] = np.sum(right[1 + contrast] ** 2)
    return estimate, spread, explained


def _autocorrelation(y: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Autocorrelation of the least-squares residuals (voxel,), NaN where there are none."""
    slim = np.linalg.qr(X)[0].astype(np.float32)
    rest = y - slim @ (slim.T @ y)
    power = np.einsum("ij,ij->j", rest, rest).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("ij,ij->j", rest[1:], rest[:-1]) / np.where(power > 0, power, np.nan))


Terms = tuple[np.ndarray, np.ndarray, np.ndarray]


def _normal_equations(y: np.ndarray, X: np.ndarray, rho: np.ndarray) -> tuple[Terms, Terms, np.ndarray]:
    """Terms of X'WX (k, k) and of X'Wy (voxel, k) for rho to the powers 0, 1 (subtracted) and 2, and y'Wy (voxel,).

    W has 1, 1 + rho^2, ..., 1 + rho^2, 1 on the diagonal and -rho beside it.
    """
    beside = X[1:].T @ X[:-1]
    whole = X.T @ X
    inner = whole - np.outer(X[0], X[0]) - np.outer(X[-1], X[-1])
    neighbours = np.zeros_like(X)
    neighbours[1:] += X[:-1]
    neighbours[:-1] += X[1:]
    products = (np.hstack([X, neighbours]).astype(np.float32).T @ y).astype(np.float64).T
    own, shifted = products[:, : X.shape[1]], products[:, X.shape[1] :]
    ends = y[0][:, None] * X[0] + y[-1][:, None] * X[-1]
    power = np.einsum("ij,ij->j", y, y).astype(np.float64)
    lagged = 2 * np.einsum("ij,ij->j", y[1:], y[:-1]).astype(np.float64)
    power = power - rho * lagged + rho**2 * (power - y[0].astype(np.float64) ** 2 - y[-1].astype(np.float64) ** 2)
    return (whole, beside + beside.T, inner), (own, shifted, own - ends), power


def _check_estimable(design: Design, degrees: int) -> None:
    if degrees < 3:
        raise InputError(
            f"a GLM needs at least 3 volumes more than regressors, found {len(design.task)} volumes and "
            f"{len(design.task) - degrees} regressors; use a smaller confound model or a lower high-pass cut-off"
        )
    own = design.task - design.nuisance @ (design.nuisance.T @ design.task)
    lengths = np.linalg.norm(design.task, axis=0)
    lost = [name for name, left, all_ in zip(design.conditions, np.linalg.norm(own, axis=0), lengths, strict=True)
            if left <= 1e-4 * all_]  # fmt: skip
    scaled = own / np.where(lengths > 0, lengths, 1.0)
    if lost or np.linalg.matrix_rank(scaled, tol=1e-4) < len(design.conditions):
        raise InputError(
            "conditions must differ from each other and from the nuisance regressors, found that "
            f"{', '.join(lost) or 'some of ' + ', '.join(design.conditions)} cannot be estimated; check both"
        )


RHO_STEP = 0.02
"""Voxels whose autocorrelation rounds to the same multiple are prewhitened together for the null."""


def permute(
    series: np.ndarray, rows: np.ndarray, others: np.ndarray, noise: str, height: float = np.inf
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Test a regressor and the members of its null on prewhitened data, by matrix products.

    Data, regressors and nuisance of all voxels of one autocorrelation are filtered by the inverse of its AR(1) process;
    the t of a member is then a partial correlation, of the same order at equal freedom. The autocorrelation is that of
    the residuals without the contrast: those of the full model know where the real regressor lies, and favour it (with
    them, synthetic null sessions of 60 volumes had p_fwe < .05 in 38 of 200).

    Parameters
    ----------
    series : (time, voxel)
        BOLD; the mean is taken out.
    rows : (1 + member, time)
        The regressor, then its null.
    others : (time, column)
        All other columns of the model, a constant among them.
    noise
        ``"ar1"`` or ``"ols"``.
    height
        Size of the correlation from which on a voxel belongs to a cluster.

    Returns
    -------
    Partial correlation (voxel,), largest ``|r|`` of each member over the voxels, its pooled counts, and the signs (1 +
    member, voxel) of what lies beyond the height.
    """
    signs = np.zeros((len(rows), series.shape[1]), np.int8)
    r = np.full(series.shape[1], np.nan, np.float32)
    maximum, counts = np.zeros(len(rows) - 1, np.float32), np.zeros(BINS, np.int64)
    for own, white, rho in _alike(series, others, noise):
        nuisance = basis(_whiten(others, rho))
        data = unit_rest(white, nuisance)
        moved = scaled(_whiten(rows.T, rho).T[None], nuisance)
        found = strongest(moved, data)
        if np.isfinite(height):
            signs[:, own] = beyond(moved[0] @ data, height)
        r[own] = found.best
        maximum, counts = np.maximum(maximum, found.maximum), counts + found.counts
    return r, maximum, counts, signs


def score(series: np.ndarray, rows: np.ndarray, others: np.ndarray, noise: str) -> tuple[np.ndarray, np.ndarray]:
    """Score and information of a regressor and of each member of its null, which add up over independent runs.

    On prewhitened data as in `permute`, in units of the noise: their ratio is the estimate of least squares, one over
    the information its variance, and the score over the root of the information its t. Those of several runs, summed,
    give the same of the model of all runs in which each has its own nuisance and noise.

    Parameters
    ----------
    series, rows, others, noise
        As for `permute`.

    Returns
    -------
    Two arrays (1 + member, voxel), float32; NaN for voxels that are constant or hold NaN.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1, section on combining runs.
    """
    found = np.full((2, len(rows), series.shape[1]), np.nan, np.float32)
    for own, white, rho in _alike(series, others, noise):
        nuisance = basis(_whiten(others, rho))
        data, freedom = unit_rest(white, nuisance), max(len(white) - nuisance.shape[1] - 1, 1)
        deviation = np.einsum("ij,ij->j", white, data) / np.sqrt(freedom)
        moved = _whiten(rows.T, rho).T
        moved -= moved @ nuisance @ nuisance.T
        found[0][:, own] = (moved.astype(np.float32) @ data) * np.sqrt(freedom) / deviation
        found[1][:, own] = np.einsum("ij,ij->i", moved, moved)[:, None] / deviation**2
    return found[0], found[1]


def _alike(series: np.ndarray, others: np.ndarray, noise: str) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Voxels that are prewhitened together: their places, their white series (time, voxel), their autocorrelation."""
    mean = series.mean(axis=0, dtype=np.float64).astype(np.float32)  # what rounding leaves of it, the constant takes
    centred = np.subtract(series, mean, dtype=np.float32)
    rho = (
        _autocorrelation(centred, others) if noise == "ar1" else np.where(centred.any(axis=0), 0.0 * centred[0], np.nan)
    )
    rounded = np.where(np.isfinite(rho), np.round(rho / RHO_STEP), np.nan)
    for place in np.unique(rounded[np.isfinite(rounded)]):
        own, value = np.flatnonzero(rounded == place), float(np.clip(place * RHO_STEP, -0.98, 0.98))
        white = centred[:, own]
        yield own, _whiten(white, value) if value else white, value


def _whiten(values: np.ndarray, rho: float) -> np.ndarray:
    """Filter (time, ...) by the inverse square root of an AR(1) covariance."""
    white = values.copy()
    white[1:] -= rho * values[:-1]
    white[0] *= np.sqrt(1 - rho**2)
    return white
