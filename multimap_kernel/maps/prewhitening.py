"""Generalised least squares with first-order autoregressive noise, one coefficient for each voxel."""

from __future__ import annotations

import numpy as np

from multimap_kernel.maps.design import Design
from multimap_kernel.maps.inference import normal_score
from multimap_kernel.schema import InputError


def fit_ar1(series: np.ndarray, design: Design, weights: np.ndarray, noise: str) -> dict[str, np.ndarray]:
    """Fit the design to each voxel and test contrasts.

    With the precision W of an AR(1) process of coefficient rho, X'WX and X'WY are quadratic polynomials in rho.
    Their three terms are products shared by all voxels, so that each voxel has its own rho, not a rounded one, at the
    price of a small solve.

    The statistic takes rho from the residuals, as nilearn and its like do, and agrees with theirs. Those residuals
    are less correlated than the noise, so that its tails are too heavy where one voxel in many thousands counts (pure
    AR(1) of .2, 120 volumes, 2 000 voxels: some voxel beyond Bonferroni .05 in 15 of 40 null runs). The p values
    therefore come from a second solve, with rho freed of this bias (6 of 40; 4 of 40 at 300 volumes); what remains
    is the error of rho itself.

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
    ``z``, ``p`` (two-sided, uncorrected), ``effect`` in percent of the voxel's mean over the steady volumes
    (contrast, voxel) and ``mean (1, voxel)``; NaN for voxels that are constant or hold NaN.

    Raises
    ------
    InputError
        If conditions cannot be told from each other or from the nuisance, or too few volumes are left.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1, with its appendix on the bias of the autocorrelation of residuals.
    """
    X = np.column_stack([design.task, design.nuisance])
    degrees = len(X) - X.shape[1]
    _check_estimable(design, degrees)
    mean = series[design.steady].mean(axis=0, dtype=np.float64)
    # the constant is in X: taking the mean out changes no contrast, and small numbers keep float32 products exact
    y = (series - mean).astype(np.float32)
    C = np.zeros((X.shape[1], len(weights)))
    C[: weights.shape[1]] = weights.T
    found, unbiased = _autocorrelation(y, X) if noise == "ar1" else np.where(y.any(axis=0), np.zeros((2, 1)), np.nan)
    estimate, t = _solve(y, X, C, found)
    z, p = normal_score(t.T, degrees)
    if noise == "ar1":
        p = normal_score(_solve(y, X, C, unbiased)[1].T, degrees)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.where(np.isnan(t), np.nan, 100 * estimate / mean[:, None])
    return {"z": z, "p": p, "effect": effect.T, "mean": mean[None]}


def _solve(y: np.ndarray, X: np.ndarray, C: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate and t (voxel, contrast) of contrasts C (k, contrast) with noise of autocorrelation rho (voxel,)."""
    sound = np.isfinite(rho)
    M, g, power = _normal_equations(y, X, np.where(sound, rho, 0.0)[:, None])
    solved = np.linalg.solve(M, np.concatenate([g[..., None], np.broadcast_to(C, (len(g), *C.shape))], axis=2))
    beta, spread = solved[..., 0], np.einsum("kc,vkc->vc", C, solved[..., 1:])
    variance = np.maximum(power - np.einsum("vk,vk->v", beta, g), 0.0) / (len(X) - X.shape[1])
    estimate = beta @ C
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((sound & (variance > 0))[:, None], estimate / np.sqrt(variance[:, None] * spread), np.nan)
    return estimate, t


def _autocorrelation(y: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Autocorrelation of the least-squares residuals, and of the noise behind them (voxel,).

    Residuals are less correlated than the noise, the more so the more regressors a short run has. Expected residual
    (co)variances at lags 0 and 1 are linear in those of the noise; the two equations are solved.
    """
    Q = np.linalg.qr(X)[0]
    slim = Q.astype(np.float32)
    rest = y - slim @ (slim.T @ y)
    lags = np.stack([np.einsum("ij,ij->j", rest, rest), np.einsum("ij,ij->j", rest[1:], rest[:-1])]).astype(np.float64)
    R = np.eye(len(X)) - Q @ Q.T
    beside = np.eye(len(X), k=1) + np.eye(len(X), k=-1)
    residual = R @ beside @ R
    # rows: of the residuals at lag 0 and 1; columns: of the noise at lag 0 and 1
    expected = [[np.trace(R), np.sum(R * beside)], [np.trace(residual) / 2, np.sum(residual * beside) / 2]]
    variance, covariance = np.linalg.solve(np.array(expected), lags)
    with np.errstate(divide="ignore", invalid="ignore"):
        found, unbiased = lags[1] / lags[0], covariance / np.where(variance > 0, variance, np.nan)
    return found, np.clip(unbiased, -0.95, 0.95)


def _normal_equations(y: np.ndarray, X: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'WX (voxel, k, k), X'Wy (voxel, k) and y'Wy (voxel,) for rho (voxel, 1).

    W has 1, 1 + rho^2, ..., 1 + rho^2, 1 on the diagonal and -rho beside it.
    """
    beside = X[1:].T @ X[:-1]
    whole = X.T @ X
    inner = whole - np.outer(X[0], X[0]) - np.outer(X[-1], X[-1])
    square = rho[..., None] ** 2
    M = whole - rho[..., None] * (beside + beside.T) + square * inner
    neighbours = np.zeros_like(X)
    neighbours[1:] += X[:-1]
    neighbours[:-1] += X[1:]
    products = (np.hstack([X, neighbours]).astype(np.float32).T @ y).astype(np.float64).T
    own, shifted = products[:, : X.shape[1]], products[:, X.shape[1] :]
    ends = y[0][:, None] * X[0] + y[-1][:, None] * X[-1]
    g = own - rho * shifted + rho**2 * (own - ends)
    power = np.einsum("ij,ij->j", y, y).astype(np.float64)
    lagged = 2 * np.einsum("ij,ij->j", y[1:], y[:-1]).astype(np.float64)
    flat = rho[:, 0]
    return M, g, power - flat * lagged + flat**2 * (power - y[0] ** 2 - y[-1] ** 2)


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
