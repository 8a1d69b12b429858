"""What a person sees while a model learns: plain numbers for the events of a run, all of them held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multimap_kernel.fusion.chance import phase_null
from multimap_kernel.fusion.lessons import NEIGHBOUR_S
from multimap_kernel.fusion.linear import correlations
from multimap_kernel.fusion.model import PEAKS_S, Embedding, ResidualModel
from multimap_kernel.fusion.outcome import Learned, apply, embed
from multimap_kernel.fusion.scores import agreement, gain_over, patterns, pieces_of, top_one
from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.tables import Reading, Table

Watch = Callable[[Any], dict[str, float]]
"""Scores of a network that is still learning; nothing is chosen by them."""
_DIGITS = 4


def watch_residual(table: Table, rows: np.ndarray, reading: Reading, ridge: np.ndarray) -> Watch:
    """Mean correlation of the ridge and of ridge + network, before any gate, in rows that do not train."""
    measured, plain = table.target[rows], ridge[rows]
    of_ridge = float(correlations(plain, measured).mean())

    def watch(model: ResidualModel) -> dict[str, float]:
        joint = plain + apply(model, reading, rows)
        return {"ridge": of_ridge, "joint": float(correlations(joint, measured).mean())}

    return watch


def watch_embedding(table: Table, rows: np.ndarray, predicted: np.ndarray, courses: np.ndarray) -> Watch:
    """Share of moments that the embedding finds in rows that do not train, and chance."""
    pieces = pieces_of(table, np.zeros(len(table.run), int)).take(rows)

    def watch(space: Embedding) -> dict[str, float]:
        both = embed(table, rows, space, predicted, courses)
        found, chance = top_one(both[:, 0], both[:, 1], pieces)
        return {"retrieval": float(np.nanmean(found)), "chance": chance}

    return watch


def fold_facts(table: Table, folds: tuple[Fold, ...], learned: list[Learned], seed: int) -> dict[str, Any]:
    """Describe the fold that was learned last, and all that is predicted so far.

    Parameters
    ----------
    table
        The runs.
    folds
        All folds of the split.
    learned
        What the first of them gave.
    seed
        Of the null's phases.

    Returns
    -------
    Facts of the event ``fold``, see `fusion.journal`.
    """
    number, last = len(learned) - 1, learned[-1]
    return {
        "fold": number,
        "folds": len(folds),
        "penalty": last.penalty,
        "gate": _rounded(last.gate),
        "lag_weight": {f"{peak:g} s": _rounded(row) for peak, row in zip(PEAKS_S, last.lag_weight, strict=True)},
        "so_far": _so_far(table, folds[: number + 1], learned, seed),
        "retrieval": _retrieval(table, folds[number].test, last),
        "embedding": _points(table, folds[number].test, last.embedding),
    }


def _so_far(table: Table, folds: tuple[Fold, ...], learned: list[Learned], seed: int) -> dict[str, Any]:
    """Scores over all rows that are predicted, beside their null."""
    test = np.concatenate([fold.test for fold in folds])
    number = np.concatenate([np.full(fold.test.size, place) for place, fold in enumerate(folds)])
    order = np.argsort(test)
    joint, ridge = (np.concatenate([getattr(one, name) for one in learned])[order] for name in ("joint", "ridge"))
    rows = test[order]
    of_row = np.full(len(table.run), -1)
    of_row[rows] = number[order]
    measured, pieces = table.target[rows], pieces_of(table, of_row).take(rows)
    gain, low, high = gain_over(joint, ridge, measured, pieces)
    null = phase_null(joint, table, folds, [one.penalty for one in learned], pieces, seed)
    plain, band = agreement(ridge, measured, pieces), np.quantile(null.mean, [0.025, 0.5, 0.975])
    return {
        "volumes": int(rows.size),
        "joint": _number(null.r.mean()),
        "ridge": _number(plain.mean()),
        "gain": _number(gain),
        "gain_interval": _rounded(np.array([low, high])),
        "null_band": _rounded(band),
        "region_joint": _rounded(null.r),
        "region_ridge": _rounded(plain),
        "region_p_fwe": _rounded(null.p_fwe),
        "threshold_fwe": _number(null.threshold),
        "null_members": int(null.mean.size),
    }


def _retrieval(table: Table, rows: np.ndarray, one: Learned) -> dict[str, Any]:
    """How moments of the fold find themselves, and the similarities among those of its first run."""
    pieces = pieces_of(table, np.zeros(len(table.run), int)).take(rows)
    eeg, bold = one.embedding[:, 0], one.embedding[:, 1]
    known = np.isfinite(eeg[:, 0])
    found, chance = top_one(eeg, bold, pieces)
    plain, _ = top_one(patterns(one.ridge, known), patterns(table.target[rows], known), pieces)
    shown = _gallery(table, rows, known & (pieces.run == pieces.run[0]))
    return {
        "top_one": _number(np.nanmean(found)) if known.any() else None,
        "ridge": _number(np.nanmean(plain)) if known.any() else None,
        "chance": _number(chance),
        "run": table.names[pieces.run[0]],
        "volume": table.volume[rows[shown]].tolist(),
        "similarity": [_rounded(row) for row in eeg[shown] @ bold[shown].T],
    }


def _points(table: Table, rows: np.ndarray, embedding: np.ndarray) -> dict[str, Any]:
    """The fold's embedding along its two strongest directions, every `NEIGHBOUR_S`."""
    shown = _gallery(table, rows, np.isfinite(embedding[:, 0, 0]))
    places = embedding[shown]
    flat = places.reshape(-1, embedding.shape[2]).astype(np.float64)
    _, _, axes = np.linalg.svd(flat, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1, 1)  # no sign of their own
    plane = places @ axes.T
    condition = table.condition()
    return {
        "run": [table.names[number] for number in table.run[rows[shown]]],
        "volume": table.volume[rows[shown]].tolist(),
        "condition": condition[rows[shown]].tolist(),
        "eeg": [_rounded(point) for point in plane[:, 0]],
        "bold": [_rounded(point) for point in plane[:, 1]],
    }


def _gallery(table: Table, rows: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Positions of usable rows that lie `NEIGHBOUR_S` apart in their run."""
    apart = int(np.ceil(NEIGHBOUR_S / table.step_s))
    return np.flatnonzero(usable & (table.volume[rows] % apart == apart // 2))


def _rounded(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, np.float64)]


def _number(value: float) -> float | None:
    """A number that JSON knows: None stands for what is not known."""
    return round(float(value), _DIGITS) if np.isfinite(value) else None
