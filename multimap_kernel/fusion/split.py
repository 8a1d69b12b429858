"""Which rows train and which are predicted, written down so that anybody can check it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from multimap_kernel.fusion.tables import Table
from multimap_kernel.schema import InputError

Kind = Literal["block", "run", "session", "subject"]
LEAST = 16
"""Rows that must train a fold."""


@dataclass(frozen=True)
class Fold:
    """Rows, or volumes of one run, that are predicted, and those that train."""

    test: np.ndarray
    train: np.ndarray


def cut(table: Table, rows: np.ndarray, *, kind: Kind, folds: int, gap_s: float) -> tuple[Fold, ...]:
    """Cut rows into folds.

    Parameters
    ----------
    table
        The runs.
    rows
        Rows that may be used, ascending.
    kind
        ``block``: contiguous parts of each run, with a gap on both sides of the part that is predicted. ``run``,
        ``session``, ``subject``: whole runs, so that no gap is needed; runs of one session or subject stay together.
    folds
        How many; of fewer runs, sessions or subjects, each is one.
    gap_s
        Seconds on each side of a test block that train nothing.

    Returns
    -------
    Folds; every row is in one test part.

    Raises
    ------
    InputError
        If the gap is shorter than lags and one volume, there is one group only, or too few rows would train.
    """
    span = max(table.lags_s) - min(table.lags_s) + table.step_s
    if kind == "block" and gap_s < span:
        raise InputError(
            f"gap_s must be at least the span of the lags and one volume, {span:g} s, or EEG windows of the training "
            f"part reach into the test block; found {gap_s:g} s; raise fuse.split.gap_s or shorten fuse.lags_s"
        )
    made = _blocks(table, rows, folds, int(np.ceil(gap_s / table.step_s - 1e-9))) if kind == "block" else ()
    if kind != "block":
        names = [group_of(name, kind) for name in table.names]
        groups = sorted({names[number] for number in np.unique(table.run[rows])})
        if len(groups) < 2:
            raise InputError(f"a split by {kind} needs at least two of them, found {groups}; split by block")
        of_row = np.array([groups.index(names[number]) if names[number] in groups else -1 for number in table.run])
        parts = [
            np.isin(of_row[rows], part) for part in np.array_split(np.arange(len(groups)), min(folds, len(groups)))
        ]
        made = tuple(Fold(rows[part], rows[~part]) for part in parts)
    least = min((fold.train.size for fold in made), default=0)
    if least < LEAST:
        raise InputError(
            f"each fold must leave at least {LEAST} volumes for training, found {least} of {rows.size}; "
            "use longer or more runs, fewer lags or a shorter gap_s"
        )
    return made


def group_of(name: str, kind: Kind) -> str:
    """What must stay together: the entities of a run's label up to the subject or session."""
    keep = {"subject": ("sub-",), "session": ("sub-", "ses-")}.get(kind)
    parts = [part for part in name.split("_") if keep is None or part.startswith(keep)]
    return "_".join(parts) or name


def _blocks(table: Table, rows: np.ndarray, folds: int, gap: int) -> tuple[Fold, ...]:
    """Fold k predicts the k-th part of each run."""
    parts: list[list[np.ndarray]] = [[] for _ in range(folds)]
    for number in np.unique(table.run[rows]):
        for part, own in zip(parts, np.array_split(rows[table.run[rows] == number], folds), strict=True):
            part.append(own)
    made = []
    for part in parts:
        test = np.concatenate(part)
        near = np.zeros(rows.size, bool)
        for own in filter(len, part):
            first, last = table.volume[own[0]] - gap, table.volume[own[-1]] + gap
            same = table.run[rows] == table.run[own[0]]
            near |= same & (table.volume[rows] >= first) & (table.volume[rows] <= last)
        made.append(Fold(test, rows[~near]))
    return tuple(made)


def manifest(table: Table, folds: tuple[Fold, ...], *, kind: Kind, gap_s: float) -> dict[str, Any]:
    """Write a split down: for each fold the segments ``[run, first volume, last volume]``, and a sha256 of all."""
    stored: dict[str, Any] = {
        "kind": kind,
        "gap_s": float(gap_s),
        "lags_s": list(table.lags_s),
        "repetition_time": table.step_s,
        "folds": [{"test": _segments(table, fold.test), "train": _segments(table, fold.train)} for fold in folds],
    }
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"))
    return {**stored, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _segments(table: Table, rows: np.ndarray) -> list[list[Any]]:
    found = []
    for number in np.unique(table.run[rows]):
        volume = np.sort(table.volume[rows[table.run[rows] == number]])
        parts = np.split(volume, np.flatnonzero(np.diff(volume) > 1) + 1)
        found += [[table.names[number], int(part[0]), int(part[-1])] for part in parts]
    return found


def folds_of(table: Table, stored: Mapping[str, Any]) -> tuple[Fold, ...]:
    """Rows of the folds that a manifest names."""

    def rows(segments: Sequence[Sequence[Any]]) -> np.ndarray:
        inside = np.zeros(len(table.run), bool)
        for name, first, last in segments:
            same = table.run == table.names.index(name)
            inside |= same & (table.volume >= first) & (table.volume <= last)
        return np.flatnonzero(inside)

    return tuple(Fold(rows(fold["test"]), rows(fold["train"])) for fold in stored["folds"])


def check_manifest(stored: Mapping[str, Any]) -> None:
    """Prove from the written split alone that no EEG sample serves on both sides of a fold.

    Raises
    ------
    InputError
        Names the first fold and segments whose EEG windows overlap, or a volume that is predicted twice.
    """
    step, lags = stored["repetition_time"], stored["lags_s"]

    def window(first: int, last: int) -> tuple[float, float]:
        return first * step - max(lags), (last + 1) * step - min(lags)

    seen: set[tuple[str, int]] = set()
    for number, fold in enumerate(stored["folds"]):
        for name, first, last in fold["test"]:
            volumes = {(name, volume) for volume in range(first, last + 1)}
            if seen & volumes:
                raise InputError(f"each volume must be predicted once, found {sorted(seen & volumes)[0]} again")
            seen |= volumes
            begin, end = window(first, last)
            for other, low, high in fold["train"]:
                start, stop = window(low, high)
                if other == name and start < end - 1e-9 and stop > begin + 1e-9:
                    raise InputError(
                        f"EEG windows of a test and a training segment must not overlap, found {name} volumes {first} "
                        f"to {last} and {low} to {high} in fold {number}; make the split again with a longer gap_s"
                    )
