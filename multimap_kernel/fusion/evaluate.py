"""The joint model beside everything that it must be shown beside, under one split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.fusion.baselines import BASELINES, neighbours, shifted_ridge, shuffled
from multimap_kernel.fusion.chance import Null, phase_null
from multimap_kernel.fusion.journal import tell
from multimap_kernel.fusion.scores import Pieces, agreement, by_piece, gain_over, interval, patterns, pieces_of, top_one
from multimap_kernel.fusion.split import Fold, check_manifest, folds_of
from multimap_kernel.fusion.tables import Table, read_table
from multimap_kernel.schema import Evaluation, InputError, JointFit, RunFolder, Score

REFITS = 3
"""Refits of the ridge on shifted EEG; each costs as much as the ridge itself."""


def evaluate(
    runs: Mapping[str, xr.Dataset], fit: JointFit, out: xr.Dataset, *, seed: int = 0, folder: RunFolder | None = None
) -> Evaluation:
    """Judge a joint model out of fold, beside its baselines, its nulls and a probe for leaks.

    Parameters
    ----------
    runs
        What the model was trained on.
    fit, out
        What `fusion.train` gave.
    seed
        Of the null's phases and of the folds that leak on purpose.
    folder
        Is told the result as the event ``judged``.

    Returns
    -------
    Evaluation
        Correlations are of each region over all test pieces (a fold of a run), means of the pieces taken out, then the
        mean over regions; intervals are Student's over pieces.

    Raises
    ------
    InputError
        If ``runs`` are not what the model was trained on, or the stored split overlaps.

    Notes
    -----
    Beside the model: mean, design only, alpha power with a fixed response, ridge, partial least squares; joint and
    ridge again with the design partialled out; the ridge refitted to BOLD in random phases, with max-T over regions;
    the same on shifted EEG; predictions from another run's EEG; nearest neighbours under the split and under
    folds drawn at random, which leak.
    """
    table = read_table(runs, tuple(fit.manifest["lags_s"]), patches=fit.tokens == "patches")
    if table.digest() != fit.data_sha256:
        raise InputError(
            f"runs must be those that the model was trained on, sha256 {fit.data_sha256[:12]}, found "
            f"{table.digest()[:12]}; train again"
        )
    check_manifest(dict(fit.manifest))
    folds = folds_of(table, fit.manifest)
    pieces = pieces_of(table, out["fold_of"].values)
    joint, ridge, measured = (out[f"region_{name}"].values for name in ("prediction", "ridge", "measured"))
    everything = {name: _predict(table, folds, one) for name, one in BASELINES.items()} | {
        "ridge": ridge,
        "joint": joint,
    }
    scores = {name: _score(values, measured, pieces) for name, values in everything.items()}
    beyond = pieces._replace(nuisance=table.design)
    scores |= {f"{name}, design out": _score(everything[name], measured, beyond) for name in ("ridge", "joint")}
    gain, *reach = gain_over(joint, ridge, measured, pieces)
    null = phase_null(joint, table, folds, fit.penalties, pieces, seed)
    value = Evaluation(
        scores=scores,
        gain=gain,
        gain_interval=(reach[0], reach[1]),
        regions=table.regions,
        region_r=_tuple(null.r),
        region_ridge_r=_tuple(agreement(ridge, measured, pieces)),
        region_p_fwe=_tuple(null.p_fwe),
        null_members=int(null.mean.size),
        **_null(null),
        refit_null=tuple(_refit(table, folds, fit, pieces, number) for number in range(REFITS)),
        other_run=_other_run(joint, measured, pieces),
        **_retrieval(out, ridge, measured, pieces),
        **_leak(table, folds, pieces, seed),
    )
    tell(folder, "judged", evaluation=value.to_json())
    return value


def _tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _predict(table: Table, folds: tuple[Fold, ...], one: Any) -> np.ndarray:
    predicted = np.zeros_like(table.target)
    for fold in folds:
        predicted[fold.test] = one(table, fold)
    return predicted


def _score(predicted: np.ndarray, measured: np.ndarray, pieces: Pieces) -> Score:
    low, high = interval(by_piece(predicted, measured, pieces).mean(axis=1))
    explained = 1 - ((measured - predicted) ** 2).sum(axis=0) / (measured**2).sum(axis=0).clip(1e-12)
    return Score(float(agreement(predicted, measured, pieces).mean()), low, high, float(explained.mean()))


def _null(null: Null) -> dict[str, float]:
    return {
        "null_mean": float(null.mean.mean()),
        "null_95": float(np.quantile(null.mean, 0.95)),
        "threshold_fwe": null.threshold,
        "smallest_p": null.smallest_p,
    }


def _refit(table: Table, folds: tuple[Fold, ...], fit: JointFit, pieces: Pieces, number: int) -> float:
    """Mean correlation of the ridge trained and tested on EEG shifted by a part of the run."""
    shortest = min(np.bincount(table.run))
    shift = round(shortest * (number + 1) / (REFITS + 1))
    predicted = np.zeros_like(table.target)
    for fold, penalty in zip(folds, fit.penalties, strict=True):
        predicted[fold.test] = shifted_ridge(table, fold, penalty, shift)
    return float(agreement(predicted, table.target, pieces).mean())


def _other_run(joint: np.ndarray, measured: np.ndarray, pieces: Pieces) -> float:
    """Mean correlation of BOLD with what the EEG of the next run predicts; NaN for one run."""
    rows = [np.flatnonzero(pieces.run == number) for number in np.unique(pieces.run)]
    if len(rows) < 2:
        return float("nan")
    found = []
    for own, other in zip(rows, rows[1:] + rows[:1], strict=True):
        count = min(own.size, other.size)
        found.append(agreement(joint[other[:count]], measured[own[:count]], pieces.take(own[:count])).mean())
    return float(np.mean(found))


def _retrieval(out: xr.Dataset, ridge: np.ndarray, measured: np.ndarray, pieces: Pieces) -> dict[str, float]:
    embedding = out["embedding"].values
    known = np.isfinite(embedding[:, 0, 0])
    found, chance = top_one(embedding[:, 0], embedding[:, 1], pieces)
    plain, _ = top_one(patterns(ridge, known), patterns(measured, known), pieces)
    return {
        "retrieval": float(np.nanmean(found)),
        "retrieval_ridge": float(np.nanmean(plain)),
        "retrieval_chance": chance,
    }


def _leak(table: Table, folds: tuple[Fold, ...], pieces: Pieces, seed: int) -> dict[str, float]:
    """Nearest neighbours under the split, and under folds that leak."""
    own = _predict(table, folds, neighbours)
    mixed = _predict(table, shuffled(table, len(folds), seed), neighbours)
    whole = pieces._replace(fold=np.zeros_like(pieces.fold))
    return {
        "leak": float(agreement(own, table.target, pieces).mean()),
        "leak_shuffled": float(agreement(mixed, table.target, whole).mean()),
    }
