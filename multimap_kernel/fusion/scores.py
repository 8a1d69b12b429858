"""How well predictions agree with what was measured, and how well they would by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t

from multimap_kernel.fusion.lessons import NEIGHBOUR_S
from multimap_kernel.fusion.model import WINDOW
from multimap_kernel.fusion.tables import Table
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

    def spaces(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows of each piece, and a basis (row, rank) of what is taken out there."""
        label = self.labels()
        parts = [np.flatnonzero(label == number) for number in np.unique(label)]
        return [(rows, basis(np.column_stack([np.ones(rows.size), self.nuisance[rows]]))) for rows in parts]

    def take(self, rows: np.ndarray) -> Pieces:
        """The same for some of the rows."""
        return Pieces(self.run[rows], self.fold[rows], self.volume[rows], self.nuisance[rows], self.step_s)


def pieces_of(table: Table, fold: np.ndarray) -> Pieces:
    """All rows of a table as pieces, ``fold (row,)`` being the number of each row's; nothing is taken out but means."""
    return Pieces(table.run, fold, table.volume, np.zeros((len(table.run), 0)), table.step_s)


class Null(NamedTuple):
    """Correlation of each region (region,), its family-wise p, and the members of the null of the mean over regions."""

    r: np.ndarray
    p_fwe: np.ndarray
    mean: np.ndarray
    threshold: float
    smallest_p: float


def agreement(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation of each region (region,) over all pieces, their means and the nuisance taken out."""
    return _cosine(*_sums(predicted, measured, pieces.spaces()))


def _sums(predicted: np.ndarray, measured: np.ndarray, spaces: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Products of both sides and of each with itself (3, region), summed over pieces."""
    total = np.zeros((3, measured.shape[1]))
    for rows, out in spaces:
        a, b = (values - out @ (out.T @ values) for values in (predicted[rows], measured[rows]))
        total += [(a * b).sum(axis=0), (a * a).sum(axis=0), (b * b).sum(axis=0)]
    return total


def by_piece(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation (piece, region) in each piece by itself."""
    return np.stack([_cosine(*_sums(predicted, measured, [space])) for space in pieces.spaces()])


def gain_over(joint: np.ndarray, ridge: np.ndarray, measured: np.ndarray, pieces: Pieces) -> tuple[float, float, float]:
    """Joint minus ridge, the mean of its correlation over pieces and regions, and its 95 % interval over pieces."""
    gain = (by_piece(joint, measured, pieces) - by_piece(ridge, measured, pieces)).mean(axis=1)
    return float(gain.mean()), *interval(gain)


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
    sums = []
    for own, moves in zip(rows, shifts, strict=True):
        spaces = pieces.take(own).spaces()
        one = [_sums(np.roll(predicted[own], move, axis=0), measured[own], spaces) for move in moves]
        sums.append(np.reshape(one, (len(one), 3, measured.shape[1])))
    draw = np.random.default_rng(seed)
    if len(rows) > 1 and len(sums[0]):
        sums = [np.sum([one[draw.integers(len(one), size=MEMBERS)] for one in sums], axis=0)]
    real = agreement(predicted, measured, pieces)
    members = _cosine(*np.moveaxis(sums[0], 1, 0))
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
