"""How well predictions agree with what was measured, and how well they would by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t

from multimap_kernel.fusion.lessons import NEIGHBOUR_S
from multimap_kernel.fusion.model import WINDOW
from multimap_kernel.fusion.tables import Table
from multimap_kernel.maps.shifts import basis


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


def agreement(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation of each region (region,) over all pieces, their means and the nuisance taken out."""
    return cosine(*sums(predicted, measured, pieces.spaces()))


def sums(predicted: np.ndarray, measured: np.ndarray, spaces: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Products of both sides and of each with itself (3, region), summed over pieces."""
    total = np.zeros((3, measured.shape[1]))
    for rows, out in spaces:
        a, b = (values - out @ (out.T @ values) for values in (predicted[rows], measured[rows]))
        total += [(a * b).sum(axis=0), (a * a).sum(axis=0), (b * b).sum(axis=0)]
    return total


def by_piece(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Correlation (piece, region) in each piece by itself."""
    return np.stack([cosine(*sums(predicted, measured, [space])) for space in pieces.spaces()])


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


def cosine(product: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlations from what `sums` gives; 0 where a side does not vary."""
    size = np.sqrt(first * second)
    return np.asarray(product / np.where(size > 1e-12, size, np.inf))
