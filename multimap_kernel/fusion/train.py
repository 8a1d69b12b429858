"""The joint model: ``ridge(x) + gate * network(x)``, judged out of fold, and an embedding of both sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from threadpoolctl import threadpool_limits

from multimap_kernel.fusion.journal import Journal, sigterm
from multimap_kernel.fusion.lessons import embedding_lesson, residual_lesson, window_starts
from multimap_kernel.fusion.linear import mean_correlation, ridge_out_of_fold
from multimap_kernel.fusion.loop import Lesson, learn
from multimap_kernel.fusion.model import PEAKS_S, SIZES, WINDOW, Embedding, ResidualModel, Shape, Size
from multimap_kernel.fusion.split import Fold, Kind, check_manifest, cut, manifest
from multimap_kernel.fusion.tables import Table, read_table
from multimap_kernel.schema import InputError, JointFit, RunFolder, annotate

INNER = 3
"""Folds inside each training part, from which penalty and gate are chosen."""
BLOCK_S = 60.0
"""Length of the pieces over which the gate's gain must be steady; several times the response and the slow rhythms."""


def train(
    runs: Mapping[str, xr.Dataset],
    *,
    lags_s: tuple[float, ...],
    kind: Kind,
    folds: int,
    gap_s: float,
    seed: int,
    size: Literal["small", "base"] = "small",
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
        band; V2)``, ``channel_type (channel)``, ``steady_state (time)``; if there: ``confound (time, regressor)``.
    lags_s
        EEG this long before the volume, s.
    kind, folds, gap_s
        How rows are left out, see `fusion.split.cut`.
    seed
        Of the networks' starts and the order of what they see.
    size
        ``small`` for a CPU, ``base`` for a GPU.
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
    table = read_table(runs, lags_s)
    regions = len(table.regions)
    latent = max(1, regions // 2) if latent is None else latent
    if not 1 <= latent <= max(1, regions // 2):
        raise InputError(f"latent must be 1 to half the number of regions, {regions // 2}, found {latent}")
    parts = cut(table, np.arange(len(table.run)), kind=kind, folds=folds, gap_s=gap_s)
    split = manifest(table, parts, kind=kind, gap_s=gap_s)
    check_manifest(split)
    shape = Shape(len(table.channels), len(table.bands), regions, latent, table.lags_s)
    config = {"size": asdict(SIZES[size]), "shape": shape, "seed": seed, "device": device, "torch": torch.__version__}
    hashes = {"data": table.digest(), "split": split["sha256"], "config": _sha256(config)}
    with _deterministic(), sigterm() as preempted:
        journal = Journal(folder, hashes, preempted)
        journal.tell("started", jobs=len(parts) * (INNER + 2), runs=list(table.names), split=split, hashes=hashes)
        school = _School(table, shape, SIZES[size], seed, device, journal)
        learned = [_learn_fold(school, number, fold, kind, gap_s) for number, fold in enumerate(parts)]
        out = _assemble(table, parts, learned)
        value = _describe(out, learned, split, hashes, {"size": size, "latent": latent, "seed": seed}, journal.digest())
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

    def teach(self, job: str, lesson: Lesson) -> Any:
        """The network of a job: from the journal if it is finished, else learned, or learned to its end."""
        number = int(_sha256([self.seed, job])[:8], 16)
        torch.manual_seed(number)
        model = lesson.model(self.shape, self.size).to(self.device)
        if job in self.journal.done:
            model.load_state_dict(self.journal.done[job])
        else:
            state = self.journal.begun(job)
            learn(model, lesson, self.size, number, state, partial(self.journal.tick, job))
            self.journal.finish(job, model.state_dict())
        return model.to("cpu").eval()


@dataclass(frozen=True)
class _Learned:
    """What one fold gives: (row of its test part, ...) and what was chosen in its training part."""

    penalty: float
    gate: np.ndarray
    ridge: np.ndarray
    joint: np.ndarray
    embedding: np.ndarray
    lag_weight: np.ndarray


def _learn_fold(school: _School, number: int, fold: Fold, kind: Kind, gap_s: float) -> _Learned:
    table, size = school.table, school.size
    inner = _inner(table, fold.train, kind, gap_s)
    penalty, own, there = ridge_out_of_fold(table, fold.train, fold.test, inner)
    ridge = np.zeros_like(table.target)
    ridge[fold.train], ridge[fold.test] = own, there
    beyond = np.zeros_like(table.target)
    for place, part in enumerate((*inner, fold)):
        power = table.scaled(part.train)
        job = f"fold-{number}/{f'inner-{place}' if part is not fold else 'residual'}"
        model: ResidualModel = school.teach(job, residual_lesson(table, part.train, power, ridge, size.rank))
        beyond[part.test] = _apply(model, power[part.test])
    gate = choose_gate(table, fold.train, table.target - ridge, beyond)
    joint = ridge + gate * beyond
    with torch.no_grad():
        courses = torch.einsum("l,bld->bd", model.lag_weight()[0], model.tokens(torch.from_numpy(power))).numpy()
    lesson = embedding_lesson(table, fold.train, joint, courses, school.shape.latent)
    space: Embedding = school.teach(f"fold-{number}/embedding", lesson)
    r = [float(mean_correlation(values[fold.test], table.target[fold.test]).mean()) for values in (ridge, joint)]
    school.journal.tell(
        "fold", fold=number, ridge=r[0], joint=r[1], gate=gate.tolist(), lag_weight=_lags(model).tolist()
    )
    embedding = _embed(table, fold.test, space, joint)
    return _Learned(penalty, gate, ridge[fold.test], joint[fold.test], embedding, _lags(model))


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


def choose_gate(table: Table, rows: np.ndarray, error: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """How much of the network's prediction to believe in each region.

    Parameters
    ----------
    table
        The runs.
    rows
        Rows that train; their predictions are out of inner folds.
    error, beyond : (row of the table, region)
        What the ridge left, and what the network says of it.

    Returns
    -------
    Gate (region,) between 0 and 1, float32: the slope of the error on the prediction, and 0 where the squared error
    falls by less than one standard error, taken over pieces of a minute.
    """
    e, p = error[rows].astype(np.float64), beyond[rows].astype(np.float64)
    power = (p * p).sum(axis=0)
    slope = np.clip((e * p).sum(axis=0) / np.where(power > 0, power, np.inf), 0, 1)
    length = max(1, round(BLOCK_S / table.step_s))
    _, piece = np.unique(np.stack([table.run[rows], table.volume[rows] // length]), axis=1, return_inverse=True)
    gain = np.zeros((piece.max() + 1, e.shape[1]))
    np.add.at(gain, piece, e**2 - (e - slope * p) ** 2)
    steady = gain.mean(axis=0) > gain.std(axis=0, ddof=min(1, len(gain) - 1)) / np.sqrt(len(gain))
    return np.asarray(np.where(steady, slope, 0.0), np.float32)


def _apply(model: ResidualModel, power: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.split(torch.from_numpy(power), 4096)]).numpy()


def _lags(model: ResidualModel) -> np.ndarray:
    return model.lag_weight().detach().numpy()


def _embed(table: Table, rows: np.ndarray, space: Embedding, joint: np.ndarray) -> np.ndarray:
    """Embedding (row, modality, latent) of the windows around each row; NaN where a window is not whole."""
    starts = window_starts(table, rows, WINDOW)
    whole = rows[starts[:, None] + np.arange(WINDOW)]
    found = np.full((rows.size, 2, space.eeg_axes.out_features), np.nan, np.float32)
    with torch.no_grad():
        found[starts + WINDOW // 2, 0] = space.of_eeg(torch.from_numpy(joint[whole])).numpy()
        found[starts + WINDOW // 2, 1] = space.of_bold(torch.from_numpy(table.target[whole])).numpy()
    return found


def _assemble(table: Table, folds: tuple[Fold, ...], learned: list[_Learned]) -> xr.Dataset:
    """One Dataset of all rows."""
    count, regions = table.target.shape
    latent = learned[0].embedding.shape[2]
    arrays = {name: np.full((count, regions), np.nan, np.float32) for name in ("ridge", "joint")}
    embedding, number = np.full((count, 2, latent), np.nan, np.float32), np.full(count, -1)
    for place, (fold, one) in enumerate(zip(folds, learned, strict=True)):
        arrays["ridge"][fold.test], arrays["joint"][fold.test] = one.ridge, one.joint
        embedding[fold.test], number[fold.test] = one.embedding, place
    ds = xr.Dataset(
        {
            "region_prediction": (("time", "region"), arrays["joint"]),
            "region_ridge": (("time", "region"), arrays["ridge"]),
            "region_measured": (("time", "region"), table.target),
            "embedding": (("time", "modality", "latent"), embedding),
            "gate": (("fold", "region"), np.stack([one.gate for one in learned])),
            "lag_weight": (("fold", "head", "lag"), np.stack([one.lag_weight for one in learned])),
        },
        {
            "time": table.volume * table.step_s,
            "run": ("time", np.asarray(table.names)[table.run]),
            "volume": ("time", table.volume),
            "fold_of": ("time", number),
            "region": list(table.regions),
            "modality": ["eeg", "bold"],
            "head": [f"{peak:g} s" for peak in PEAKS_S],
            "lag": list(table.lags_s),
        },
        {"clock": "scanner", "repetition_time": table.step_s},
    )
    return ds.assign({name: annotate(ds[name]) for name in ds.data_vars})


def _describe(
    out: xr.Dataset,
    learned: list[_Learned],
    split: dict[str, Any],
    hashes: dict[str, str],
    options: dict[str, Any],
    weights: str,
) -> JointFit:
    measured = out["region_measured"].values
    scores = {}
    for name in ("region_prediction", "region_ridge"):
        parts = [out["fold_of"].values == fold for fold in range(len(learned))]
        scores[name] = float(np.mean([mean_correlation(out[name].values[p], measured[p]).mean() for p in parts]))
    return JointFit(
        score=scores["region_prediction"],
        ridge_score=scores["region_ridge"],
        gate=tuple(tuple(float(g) for g in one.gate) for one in learned),
        penalties=tuple(one.penalty for one in learned),
        manifest=split,
        data_sha256=hashes["data"],
        weights_sha256=weights,
        **options,
    )


def _sha256(stored: Any) -> str:
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()


@contextmanager
def _deterministic() -> Iterator[None]:
    """One thread, fixed order of sums, and the caller's random state left as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]), threadpool_limits(1):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
