"""How well BOLD that the EEG does not drive would be predicted: the null of every score that is made out of fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from multimap_kernel.fusion.linear import ridge
from multimap_kernel.fusion.scores import Pieces, agreement, cosine, sums
from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.tables import Table
from multimap_kernel.maps.shifts import random_phases

MEMBERS = 999
_TOGETHER = 37  # members in one product: 37 x 24 regions x 2 400 rows x 8 bytes are 17 MB


class Null(NamedTuple):
    """Correlation of each region (region,), its family-wise p, and the members of the null of the mean over regions."""

    r: np.ndarray
    p_fwe: np.ndarray
    mean: np.ndarray
    threshold: float
    smallest_p: float


def phase_null(
    predicted: np.ndarray, table: Table, folds: Sequence[Fold], penalties: Sequence[float], pieces: Pieces, seed: int
) -> Null:
    """Judge predictions beside refits of the ridge to BOLD in random phases, by the largest correlation over regions.

    The BOLD of each run gets phases of its own, all regions the same ones, which keeps its autocorrelation and that
    between regions. The refit is needed: folds learn from each other, so that a chance agreement between two of them
    is counted in both, and predictions that are merely moved against BOLD know nothing of it (of 160 sessions that
    hold nothing, 16 passed .05 by predictions in random phases; of 200, 17 by shifted ones).

    Parameters
    ----------
    predicted : (row, region)
        Out of fold, of the rows that the folds test, in the order of the table.
    table
        The runs.
    folds, penalties
        Each fold that was learned, and the ridge's penalty in it.
    pieces
        Of the same rows as ``predicted``.
    seed
        Of the phases.

    References
    ----------
    Prichard & Theiler (1994), Phys Rev Lett 73:951. Westfall & Young (1993), Resampling-based multiple testing (max-T).
    Varoquaux (2018), NeuroImage 180:68, for the spread of scores out of fold.
    """
    hats = [_hat(table, fold, penalty) for fold, penalty in zip(folds, penalties, strict=True)]
    rows = np.sort(np.concatenate([fold.test for fold in folds]))
    spaces, regions, members = pieces.spaces(), table.target.shape[1], []
    for moved in _surrogates(table, seed):
        again = np.empty_like(moved)
        for fold, hat in zip(folds, hats, strict=True):
            again[fold.test] = hat @ moved[fold.train]
        members.append(cosine(*sums(again[rows], moved[rows], spaces)).reshape(-1, regions))
    null = np.concatenate(members)
    top = null.max(axis=1)
    real = agreement(predicted, table.target[rows], pieces)
    p = (1 + (top[:, None] >= real).sum(axis=0)) / (1 + MEMBERS)
    return Null(real, p, null.mean(axis=1), float(np.quantile(top, 0.95)), 1 / (1 + MEMBERS))


def _hat(table: Table, fold: Fold, penalty: float) -> np.ndarray:
    """Matrix (test row, training row) from BOLD to what the ridge predicts of it."""
    X = table.scaled(fold.train).reshape(len(table.run), -1)
    hat: np.ndarray = ridge(X[fold.train], np.eye(fold.train.size), X[fold.test], np.array([penalty]))[0]
    return hat


def _surrogates(table: Table, seed: int) -> Iterator[np.ndarray]:
    """BOLD (row, member x region) in random phases, some members at a time."""
    runs = [np.flatnonzero(table.run == number) for number in np.unique(table.run)]
    spectra = [np.fft.rfft(table.target[rows], axis=0)[:, None] for rows in runs]
    phases = [random_phases(rows.size, MEMBERS, seed + number)[1:] for number, rows in enumerate(runs)]
    for first in range(0, MEMBERS, _TOGETHER):
        members = slice(first, first + _TOGETHER)
        moved = [
            np.fft.irfft(spectrum * np.exp(1j * phase[members]).T[..., None], rows.size, axis=0)
            for rows, spectrum, phase in zip(runs, spectra, phases, strict=True)
        ]
        together = np.empty((len(table.run), *moved[0].shape[1:]), np.float32)
        for rows, values in zip(runs, moved, strict=True):
            together[rows] = values
        yield together.reshape(len(table.run), -1)
