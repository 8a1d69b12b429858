"""What a joint model must be shown beside: dull predictors under the same split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import gamma
from sklearn.cross_decomposition import PLSRegression
from sklearn.neighbors import KNeighborsRegressor

from multimap_kernel.fusion.linear import ridge
from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.tables import Table

Predictor = Callable[[Table, Fold], np.ndarray]
"""Prediction (row of the fold's test part, region)."""
NEIGHBOURS = 3
COMPONENTS = 8
"""Of partial least squares; the rhythms and responses that the simulator knows are four."""


def mean(table: Table, fold: Fold) -> np.ndarray:
    """Mean of each region in the training part."""
    return np.broadcast_to(table.target[fold.train].mean(axis=0), (fold.test.size, table.target.shape[1]))


def design(table: Table, fold: Fold) -> np.ndarray:
    """Least squares on the convolved events: what the task alone tells."""
    if not table.design.shape[1]:
        return np.asarray(mean(table, fold))
    X = np.column_stack([np.ones(len(table.run)), table.design]).astype(np.float64)
    weight = np.linalg.lstsq(X[fold.train], table.target[fold.train], rcond=None)[0]
    return np.asarray(X[fold.test] @ weight, np.float32)


def alpha(table: Table, fold: Fold) -> np.ndarray:
    """Mean alpha power of all channels, weighted over lags by a fixed response: one regressor, no choice."""
    if "alpha" not in table.bands:
        return np.asarray(mean(table, fold))
    weight = gamma.pdf(np.maximum(np.asarray(table.lags_s), 0.5), 6.0)
    course = table.scaled(fold.train)[..., table.bands.index("alpha")].mean(axis=2) @ (weight / weight.sum())
    X = np.column_stack([np.ones(course.size), course]).astype(np.float64)
    slope = np.linalg.lstsq(X[fold.train], table.target[fold.train], rcond=None)[0]
    return np.asarray(X[fold.test] @ slope, np.float32)


def partial_least_squares(table: Table, fold: Fold) -> np.ndarray:
    """Partial least squares on all lags."""
    X = table.scaled(fold.train).reshape(len(table.run), -1)
    most = min(COMPONENTS, X.shape[1], table.target.shape[1], fold.train.size - 1)
    model = PLSRegression(most, scale=False).fit(X[fold.train], table.target[fold.train])
    return np.asarray(model.predict(X[fold.test]), np.float32)


def neighbours(table: Table, fold: Fold) -> np.ndarray:
    """Nearest neighbours in the EEG of all lags: they see a leak in time that a ridge does not."""
    X = table.scaled(fold.train).reshape(len(table.run), -1)
    model = KNeighborsRegressor(NEIGHBOURS).fit(X[fold.train], table.target[fold.train])
    return np.asarray(model.predict(X[fold.test]), np.float32)


def shifted_ridge(table: Table, fold: Fold, penalty: float, shift: int) -> np.ndarray:
    """Refit the ridge on EEG shifted around each run by rows, and predict from shifted EEG."""
    source = np.arange(len(table.run))
    for number in np.unique(table.run):
        rows = np.flatnonzero(table.run == number)
        source[rows] = np.roll(rows, shift)
    X = table.scaled(fold.train).reshape(len(table.run), -1)[source]
    predicted: np.ndarray = ridge(X[fold.train], table.target[fold.train], X[fold.test], np.array([penalty]))[0]
    return predicted


def shuffled(table: Table, folds: int, seed: int) -> tuple[Fold, ...]:
    """Folds of rows drawn at random: the split that leaks, to show that the probe can see it."""
    rows = np.random.default_rng(seed).permutation(len(table.run))
    parts = [np.sort(part) for part in np.array_split(rows, folds)]
    return tuple(Fold(part, np.setdiff1d(rows, part)) for part in parts)


BASELINES: dict[str, Predictor] = {
    "mean": mean,
    "design only": design,
    "alpha x response": alpha,
    "partial least squares": partial_least_squares,
}
"""Baselines of the model card, by the name that it prints."""
__all__ = ["BASELINES", "Predictor", "neighbours", "shifted_ridge", "shuffled"]
