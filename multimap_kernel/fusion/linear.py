"""Linear predictors of many runs: the ridge, and the subspace that two sides share."""

from __future__ import annotations

import numpy as np

from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.tables import Table

PENALTIES = 10.0 ** np.arange(-2, 3.5, 0.5)
"""Candidates, times the number of features: the features are standardised, so that this is the mean eigenvalue."""
SHRINKAGE = 0.3
"""Share of the mean variance that is added to each direction before two sides are compared."""


def ridge(X: np.ndarray, Y: np.ndarray, at: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Predict by ridge regression at several penalties.

    Parameters
    ----------
    X : (row, feature)
        Standardised features that train.
    Y : (row, region)
        What they are to predict.
    at : (place, feature)
        Features to predict at.
    penalties : (penalty,)
        Per feature.

    Returns
    -------
    Prediction (penalty, place, region), float32.
    """
    X, Y, at = (np.asarray(values, np.float64) for values in (X, Y, at))
    mean, level = X.mean(axis=0), Y.mean(axis=0)
    X, at = X - mean, at - mean
    if len(X) > X.shape[1]:
        size, U = np.linalg.eigh(X.T @ X)
        left, right = at @ U, U.T @ (X.T @ (Y - level))
    else:  # the same by the rows' products, which are fewer
        size, U = np.linalg.eigh(X @ X.T)
        left, right = at @ X.T @ U, U.T @ (Y - level)
    shrunk = 1 / (np.maximum(size, 0) + penalties[:, None] * X.shape[1])
    return np.asarray((left * shrunk[:, None]) @ right + level, np.float32)


def correlations(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Correlation of each column (..., row, region) with its like; 0 where one does not vary."""
    a = predicted - predicted.mean(axis=-2, keepdims=True, dtype=np.float64)
    b = measured - measured.mean(axis=-2, keepdims=True, dtype=np.float64)
    size = np.sqrt((a**2).sum(axis=-2) * (b**2).sum(axis=-2))
    return np.asarray((a * b).sum(axis=-2) / np.where(size > 0, size, np.inf))


def ridge_out_of_fold(
    table: Table, train: np.ndarray, test: np.ndarray, inner: tuple[Fold, ...]
) -> tuple[float, np.ndarray, np.ndarray]:
    """The tuned ridge of one fold.

    Parameters
    ----------
    table
        The runs.
    train, test
        Rows.
    inner
        Folds inside ``train``; the penalty with the highest mean correlation in them is taken, one for all regions.

    Returns
    -------
    The penalty per feature; the prediction of ``train`` by models that did not see the row (row, region), NaN where
    inner gaps leave one out; the prediction of ``test``.
    """
    scores, inside = np.zeros(len(PENALTIES)), []
    place = np.full(len(table.run), -1)
    place[train] = np.arange(train.size)
    for fold in inner:
        power = table.scaled(fold.train).reshape(len(table.run), -1)
        inside.append(ridge(power[fold.train], table.target[fold.train], power[fold.test], PENALTIES))
        scores += correlations(inside[-1], table.target[fold.test]).mean(axis=-1) * fold.test.size
    best = int(scores.argmax())
    own = np.full((train.size, table.target.shape[1]), np.nan, np.float32)
    for fold, predicted in zip(inner, inside, strict=True):
        own[place[fold.test]] = predicted[best]
    power = table.scaled(train).reshape(len(table.run), -1)
    there = ridge(power[train], table.target[train], power[test], PENALTIES[best : best + 1])[0]
    return float(PENALTIES[best]), own, there


def principal_filters(power: np.ndarray, run: np.ndarray, rank: int) -> np.ndarray:
    """The strongest spatial patterns of each band's slow power.

    Parameters
    ----------
    power : (row, channel, band)
        Standardised log power at one lag.
    run : (row,)
        Run of each row; means over five volumes do not cross runs.
    rank
        Patterns per band.

    Returns
    -------
    Filters (band, channel, rank), whose courses have deviation 1, float32.
    """
    rank = min(rank, power.shape[1])
    slow = np.concatenate([_moving_mean(power[run == number]) for number in np.unique(run)])
    filters = []
    for band in range(power.shape[2]):
        part = slow[:, :, band].astype(np.float64)
        size, patterns = np.linalg.eigh(part.T @ part / len(part))
        chosen = patterns[:, ::-1][:, :rank]
        chosen = chosen * np.where(chosen.sum(axis=0) < 0, -1, 1)  # eigenvectors have no sign of their own
        filters.append(chosen / np.sqrt(np.maximum(size[::-1][:rank], 1e-12)))
    return np.asarray(filters, np.float32)


def _moving_mean(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((2, 2), (0, 0), (0, 0)), mode="edge")
    return np.asarray(np.mean([padded[first : first + len(values)] for first in range(5)], axis=0))


def shared_axes(first: np.ndarray, second: np.ndarray, latent: int) -> tuple[np.ndarray, np.ndarray]:
    """Regularised canonical axes of two tables of the same rows.

    Parameters
    ----------
    first, second : (row, column)
        Two views of the same moments.
    latent
        Number of axes.

    Returns
    -------
    Axes (column, latent) of both, float32. A course is weighted by what its canonical correlation r tells of a moment,
    sqrt(r / (1 - r^2)) on each side, so that the inner product of two courses is the log likelihood ratio of "the
    same moment" but for terms of each side alone.

    References
    ----------
    Hotelling (1936), Biometrika 28:321. Bach & Jordan (2005), report 688, for the probabilistic reading.
    """
    roots = [_inverse_root(values) for values in (first, second)]
    a, b = ((values - values.mean(axis=0)) @ root for values, root in zip((first, second), roots, strict=True))
    left, r, right = np.linalg.svd(a.T.astype(np.float64) @ b / len(a), full_matrices=False)
    r = np.clip(r[:latent], 1e-3, 0.95)
    weight = np.sqrt(r / (1 - r**2))
    return tuple(  # type: ignore[return-value]
        np.asarray(root @ axes[:, :latent] * weight, np.float32)
        for root, axes in zip(roots, (left, right.T), strict=True)
    )


def _inverse_root(values: np.ndarray) -> np.ndarray:
    centred = np.asarray(values - values.mean(axis=0), np.float64)
    size, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return np.asarray(axes / np.sqrt(size + SHRINKAGE * max(size.mean(), 1e-12)) @ axes.T)
