"""How well predictions agree with what was measured, and how well they would by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t

from multimap_kernel.fusion.lessons import NEIGHBOUR_S
from multimap_kernel.fusion.model import WINDOW
from multimap_kernel.maps.shifts import basis, distinct_shifts

MEMBERS = 999
"""Of a null over several runs, each shifted by itself; one run has no more than its distinct shifts."""


class Pieces(NamedTuple):
    """Which rows belong together.

    Parameters
    ----------
    run, fold, volume : (row,)
        Run and fold of each row, and its volume in the run.
    nuisance : (row, column)
        Taken out of both sides before they are compared, beside the mean of each piece (a fold of a run).
    step_s
        Repetition time, s.
    """

    run: np.ndarray
    fold: np.ndarray
    volume: np.ndarray
    nuisance: np.ndarray
    step_s: float

    def labels(self) -> np.ndarray:
        """Number of the piece of each row."""
        _, label = np.unique(np.stack([self.run, self.fold]), axis=1, return_inverse=True)
        return np.asarray(label)

    def take(self, rows: np.ndarray) -> Pieces:
        """The same for some of the rows."""
        return Pieces(self.run[rows], self.fold[rows], self.volume[rows], self.nuisance[rows], self.step_s)


class Null(NamedTuple):
    """Correlation of each region (region,), its family-wise p, and the members of the null of the mean over regions."""

    r: np.ndarray
    p_fwe: np.ndarray
    mean: np.ndarray
    threshold: float
    smallest_p: float


def agreement(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation of each region (region,) over all pieces, their means and the nuisance taken out."""
    label, total = pieces.labels(), np.zeros((3, measured.shape[1]))
    for number in np.unique(label):
        rows = label == number
        out = basis(np.column_stack([np.ones(rows.sum()), pieces.nuisance[rows]]))
        a, b = (values - out @ (out.T @ values) for values in (predicted[rows], measured[rows]))
        total += [(a * b).sum(axis=0), (a * a).sum(axis=0), (b * b).sum(axis=0)]
    return np.asarray(_cosine(*total))


def by_piece(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation (piece, region) in each piece by itself."""
    label = pieces.labels()
    rows = [np.flatnonzero(label == number) for number in np.unique(label)]
    return np.stack([agreement(predicted[own], measured[own], pieces.take(own)) for own in rows])


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean by Student's t; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def shift_null(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces, seed: int) -> Null:
    """Shift predictions around their runs, all regions alike, and take the largest correlation of each member.

    Several runs are shifted independently, `MEMBERS` times. One run has as many members as distinct shifts outside
    the exclusion zone, each taken once, and a smallest p that follows from them.

    References
    ----------
    Westfall & Young (1993), Resampling-based multiple testing (max-T).
    """
    rows = [np.flatnonzero(pieces.run == number) for number in np.unique(pieces.run)]
    shifts = [distinct_shifts(own.size, pieces.step_s, seed) for own in rows]
    if any(not one.size for one in shifts):
        shifts = [np.array([], int) for _ in rows]
    draw = np.random.default_rng(seed)
    single = len(rows) == 1
    table = shifts[0][:, None] if single else np.stack([draw.choice(one, MEMBERS) for one in shifts], axis=1)
    real = agreement(predicted, measured, pieces)
    members = np.zeros((len(table), measured.shape[1]))
    for member, moves in zip(members, table, strict=True):
        moved = np.empty_like(predicted)
        for own, move in zip(rows, moves, strict=True):
            moved[own] = np.roll(predicted[own], move, axis=0)
        member[:] = agreement(moved, measured, pieces)
    top = members.max(axis=1, initial=-1.0)
    p = (1 + (top[:, None] >= real).sum(axis=0)) / (1 + len(members))
    threshold = float(np.quantile(top, 0.95)) if top.size else float("nan")
    return Null(real, p, members.mean(axis=1), threshold, 1 / (1 + len(members)))


def top_one(first: np.ndarray, second: np.ndarray, pieces: Pieces) -> tuple[np.ndarray, float]:
    """How often a moment's place on one side is nearest to its own place on the other.

    Parameters
    ----------
    first, second : (row, column)
        Unit vectors; NaN where a row has none.

    Returns
    -------
    Share of moments found in each run (run,), mean over all galleries of moments `NEIGHBOUR_S` apart; and chance.
    """
    apart = int(np.ceil(NEIGHBOUR_S / pieces.step_s))
    known = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
    found, chance = [], []
    for number in np.unique(pieces.run):
        hits = []
        for begin in range(apart):
            rows = np.flatnonzero(known & (pieces.run == number) & (pieces.volume % apart == begin))
            if rows.size > 1:
                hits.append(((first[rows] @ second[rows].T).argmax(axis=1) == np.arange(rows.size)).mean())
                chance.append(1 / rows.size)
        found.append(np.mean(hits) if hits else np.nan)
    return np.array(found), float(np.mean(chance)) if chance else float("nan")


def patterns(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unit vectors (row, volume x region) of the windows around rows; NaN where ``known`` says there is none."""
    half = WINDOW // 2
    padded = np.pad(values, ((half, half), (0, 0)))
    flat = np.concatenate([padded[place : place + len(values)] for place in range(WINDOW)], axis=1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    size = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    flat = flat / np.where(size > 0, size, 1.0)
    flat[~known] = np.nan
    return flat


def _cosine(product: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size = np.sqrt(first * second)
    return np.asarray(product / np.where(size > 1e-12, size, np.inf))
