"""The joint model: ``ridge(x) + gate * network(x)``, judged out of fold, and an embedding of both sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from multimap_kernel.fusion.gate import choose_gate
from multimap_kernel.fusion.journal import Journal, sigterm
from multimap_kernel.fusion.lessons import embedding_lesson, residual_lesson
from multimap_kernel.fusion.linear import ridge_out_of_fold
from multimap_kernel.fusion.loop import Lesson, deterministic, learn
from multimap_kernel.fusion.model import SIZES, Embedding, ResidualModel, Shape, Size
from multimap_kernel.fusion.outcome import Learned, apply, assemble, describe, embed, lagged_courses
from multimap_kernel.fusion.progress import Watch, fold_facts, watch_embedding, watch_residual
from multimap_kernel.fusion.split import Fold, Kind, check_manifest, cut, manifest
from multimap_kernel.fusion.tables import Table, read_table
from multimap_kernel.schema import InputError, JointFit, RunFolder

Tokens = Literal["power", "patches"]
INNER = 3
"""Folds inside each training part, from which penalty and gate are chosen."""


def train(
    runs: Mapping[str, xr.Dataset],
    *,
    lags_s: tuple[float, ...],
    kind: Kind,
    folds: int,
    gap_s: float,
    seed: int,
    size: Literal["small", "base"] = "small",
    tokens: Tokens = "power",
    latent: int | None = None,
    folder: RunFolder | None = None,
    device: str = "cpu",
) -> tuple[JointFit, xr.Dataset]:
    """Learn BOLD of regions from EEG by a ridge and a network on what it leaves, and predict each fold out of sample.

    In each fold, from its training part alone: centre and scale of the power; the ridge's penalty; its out-of-fold
    prediction in three inner folds; networks on the residual of two inner folds that predict the third; for each
    region a gate, the slope of the residual on that prediction, which is 0 unless the squared error falls by more
    than one standard error over pieces of a minute; a network on the whole training part, which predicts the fold
    times the gate; the embedding. Gate 0 everywhere is a legal result: EEG then tells no more than the ridge says.

    Parameters
    ----------
    runs
        Name of each run (BIDS label) and its ``region_series (time, region; 1)``, ``band_power_fine (bin, channel,
        band; V2)``, ``channel_type (channel)``, ``steady_state (time)``; if there: ``confound (time, regressor)``;
        for patches ``eeg_patch (time, channel, sample; V)``, see `fusion.patches.add_patches`.
    lags_s
        EEG this long before the volume, s.
    kind, folds, gap_s
        How rows are left out, see `fusion.split.cut`.
    seed
        Of the networks' starts and the order of what they see.
    size
        ``small`` for a CPU, ``base`` for a GPU.
    tokens
        ``power``: the network reads the power of the bands. ``patches``: it also learns bands of its own from raw EEG;
        slow without a GPU. The ridge reads power in any case.
    latent
        Dimensions of the embedding, at most half the regions, which is also the default.
    folder
        Keeps events and checkpoints, and is asked for orders; the run goes on from its last checkpoint.
    device
        Where the networks learn; weights of different devices differ.

    Returns
    -------
    JointFit
        Scores, gates, penalties, the split's manifest, and hashes of data and weights.
    Dataset
        Over all usable volumes of all runs, ``time`` (s) with coordinates ``run``, ``volume`` and ``fold``:

        - region_prediction, region_ridge : (time, region; 1) out of fold, in deviations of the measured series
        - region_measured : (time, region; 1) BOLD without trend and confounds
        - embedding : (time, modality, latent; 1) of the `WINDOW` volumes around, out of fold; NaN at the edges
        - lag_weight : (fold, head, lag; 1) what the network learned of the delay

    Raises
    ------
    SchemaError, InputError
        If a run lacks something, runs do not fit together, the split leaves too little or overlaps, ``latent`` is too
        large, or the folder holds another run.
    PreemptedError
        If it was asked to end, by SIGTERM or the folder's orders; a checkpoint is saved.

    References
    ----------
    Wolpert (1992), Neural Networks 5:241 (stacking); Breiman et al. (1984), section 3.4.3 (one standard error).
    """
    table = read_table(runs, lags_s, patches=tokens == "patches")
    regions = len(table.regions)
    latent = max(1, regions // 2) if latent is None else latent
    if not 1 <= latent <= max(1, regions // 2):
        raise InputError(f"latent must be 1 to half the number of regions, {regions // 2}, found {latent}")
    parts = cut(table, np.arange(len(table.run)), kind=kind, folds=folds, gap_s=gap_s)
    split = manifest(table, parts, kind=kind, gap_s=gap_s)
    check_manifest(split)
    form = table.patch.shape[2], table.patch_hz
    shape = Shape(len(table.channels), len(table.bands), regions, latent, table.lags_s, *form)
    config = {"size": asdict(SIZES[size]), "shape": shape, "seed": seed, "device": device, "torch": torch.__version__}
    hashes = {"data": table.digest(), "split": split["sha256"], "config": _sha256(config)}
    with deterministic(), sigterm() as preempted:
        journal = Journal(folder, hashes, preempted, jobs=len(parts) * (INNER + 2))
        journal.tell("started", **_facts(table, shape, config), split=split, hashes=hashes)
        school = _School(table, shape, SIZES[size], seed, device, journal)
        learned: list[Learned] = []
        for number, fold in enumerate(parts):
            learned.append(_learn_fold(school, number, fold, kind, gap_s))
            if folder is not None:
                journal.tell("fold", **fold_facts(table, parts, learned, seed))
        out = assemble(table, parts, learned)
        options = {"size": size, "tokens": tokens, "latent": latent, "seed": seed}
        value = describe(out, learned, split, hashes, options, journal.digest())
        journal.tell("done", score=value.score, ridge_score=value.ridge_score, weights=value.weights_sha256)
    return value, out


@dataclass(frozen=True)
class _School:
    """What all lessons of a run have in common."""

    table: Table
    shape: Shape
    size: Size
    seed: int
    device: str
    journal: Journal

    def teach(self, job: str, lesson: Lesson, watch: Watch) -> Any:
        """The network of a job: from the journal if it is finished, else learned, or learned to its end."""
        number = int(_sha256([self.seed, job])[:8], 16)
        torch.manual_seed(number)
        model = lesson.model(self.shape, self.size).to(self.device)
        if job in self.journal.done:
            model.load_state_dict(self.journal.done[job])
        else:
            tick = partial(self.journal.tick, job, partial(watch, model))
            learn(model, lesson.to(self.device), self.size, number, self.journal.begun(job), tick)
            self.journal.finish(job, model.state_dict())
        return model.to("cpu").eval()


def _facts(table: Table, shape: Shape, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the event ``started`` tells beside split and hashes."""
    names = {name: list(getattr(table, name)) for name in ("regions", "conditions", "channels", "bands", "lags_s")}
    return {"runs": list(table.names), **names, "latent": shape.latent, "seed": config["seed"], "size": config["size"]}


def _learn_fold(school: _School, number: int, fold: Fold, kind: Kind, gap_s: float) -> Learned:
    table = school.table
    inner = _inner(table, fold.train, kind, gap_s)
    penalty, own, there = ridge_out_of_fold(table, fold.train, fold.test, inner)
    ridge = np.zeros_like(table.target)
    ridge[fold.train], ridge[fold.test] = own, there
    beyond = np.zeros_like(table.target)
    for place, part in enumerate((*inner, fold)):
        reading = table.reading(part.train)
        job = f"fold-{number}/{f'inner-{place}' if part is not fold else 'residual'}"
        lesson = residual_lesson(table, part.train, reading, ridge)
        model: ResidualModel = school.teach(job, lesson, watch_residual(table, part.test, reading, ridge))
        beyond[part.test] = apply(model, reading, part.test)
    gate = choose_gate(table, fold.train, table.target - ridge, beyond)
    joint = ridge + gate * beyond
    courses = lagged_courses(model, reading, np.arange(len(table.run)))
    pairs = embedding_lesson(table, fold.train, joint, courses, school.shape.latent)
    watch = watch_embedding(table, fold.test, joint, courses)
    space: Embedding = school.teach(f"fold-{number}/embedding", pairs, watch)
    embedding = embed(table, fold.test, space, joint, courses)
    return Learned(penalty, gate, ridge[fold.test], joint[fold.test], embedding, model.lag_weight().detach().numpy())


def _inner(table: Table, rows: np.ndarray, kind: Kind, gap_s: float) -> tuple[Fold, ...]:
    """Folds inside a training part, of the same form if it has groups enough."""
    try:
        inner = cut(table, rows, kind=kind, folds=INNER, gap_s=gap_s)
    except InputError:
        if kind == "block":
            raise
        inner = ()
    if len(inner) < INNER:
        span = max(table.lags_s) - min(table.lags_s) + table.step_s
        inner = cut(table, rows, kind="block", folds=INNER, gap_s=max(gap_s, span))
    return inner


def _sha256(stored: Any) -> str:
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()
