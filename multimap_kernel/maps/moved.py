"""The null of a design: its regressors moved against the data, in one of three ways."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from nilearn.glm.first_level import make_first_level_design_matrix

from multimap_kernel.maps.design import Design, Trials
from multimap_kernel.maps.shifts import basis, distinct_shifts, shifted, surrogates
from multimap_kernel.schema import InputError

Null = Literal["auto", "phase", "shift", "block"]
Way = Literal["phase", "shift", "block"]
METHODS = {
    "phase": "phase-randomised surrogates of the design",
    "shift": "circular shifts of the design",
    "block": "condition labels permuted over blocks of the design",
}
ALIKE = 0.7
"""A design that correlates more than this with a shift of itself, outside the exclusion zone, repeats itself."""
_FEWEST = 19  # members that allow p = .05


@dataclass(frozen=True)
class Moved:
    """What a contrast is tested with, real and moved.

    Parameters
    ----------
    rows : (1 + member, time)
        The contrast's regressor as it is, then each member of its null.
    others : (time, column)
        All other columns of the model; they stay in place.
    estimable
        Whether the contrast can be told from the others.
    """

    rows: np.ndarray
    others: np.ndarray
    estimable: bool


@dataclass(frozen=True)
class Plan:
    """How all contrasts of a run are tested.

    Parameters
    ----------
    kept : (time,)
        Volumes that are tested.
    way
        How the design is moved.
    moved
        Of each contrast.
    seed
        Of the null.
    cluster_p
        Uncorrected p beyond which voxels form clusters; None for none.
    """

    kept: np.ndarray
    way: Way
    moved: list[Moved]
    seed: int
    cluster_p: float | None = None

    @property
    def told(self) -> str:
        """How the designs are moved, in words."""
        return METHODS[self.way]

    @property
    def degrees(self) -> np.ndarray:
        """Degrees of freedom of each contrast's t (contrast, 1)."""
        return np.array([[len(one.others) - basis(one.others).shape[1] - 1] for one in self.moved])

    @property
    def estimable(self) -> np.ndarray:
        """Whether each contrast can be told from the rest (contrast, 1)."""
        return np.array([[one.estimable] for one in self.moved])

    @property
    def direction(self) -> np.ndarray:
        """What gives the estimate of each contrast as a product with the data (contrast, time), float32."""
        rows = []
        for one in self.moved:
            nuisance = basis(one.others)
            own = one.rows[0] - nuisance @ (nuisance.T @ one.rows[0])
            rows.append(own / float(own @ own) if one.estimable else np.full(own.size, np.nan))
        return np.array(rows, np.float32)


@dataclass(frozen=True)
class Together:
    """How the contrasts of several runs are tested as one.

    Parameters
    ----------
    plans
        Of each run; all have the same contrasts.
    dealt : (member, run)
        Which member of each run's null stands in a member of the whole, from 1.
    seed
        Of the null.
    """

    plans: tuple[Plan, ...]
    dealt: np.ndarray
    seed: int

    @property
    def told(self) -> str:
        """How the designs are moved, in words."""
        return f"{self.plans[0].told}, each of {len(self.plans)} runs by itself"

    @property
    def degrees(self) -> np.ndarray:
        """Degrees of freedom of each contrast's t (contrast, 1), of the runs that it can be told in."""
        return np.asarray(np.sum([plan.degrees * plan.estimable for plan in self.plans], axis=0))


def make_plan(
    design: Design, weights: np.ndarray, kept: np.ndarray, step: float, null: Null, permutations: int, seed: int,
    cluster_p: float | None,
) -> Plan:  # fmt: skip
    """Choose the null of a run, and move each contrast's regressor (see `move`)."""
    way = choose_way(null, design, weights, kept, step)
    moved = move(design, weights, kept, way, step=step, permutations=permutations, seed=seed)
    return Plan(kept, way, moved, seed, cluster_p)


def put_together(plans: tuple[Plan, ...], permutations: int, seed: int) -> Together:
    """Deal out the members of the nulls of runs, each run for itself; no two members of the whole are alike."""
    sizes = [len(plan.moved[0].rows) - 1 for plan in plans]
    every = float(np.prod(np.asarray(sizes, float)))
    random = np.random.default_rng(seed)
    if every <= 4 * permutations:
        numbers = random.permutation(int(every))[:permutations]
        dealt = np.stack(np.unravel_index(np.sort(numbers), sizes), axis=1)
    else:  # so many that two in a row are rarely alike
        drawn = random.integers(0, sizes, (4 * permutations, len(sizes)))
        dealt = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])][:permutations]
    return Together(plans, 1 + dealt, seed)


def choose_way(null: Null, design: Design, weights: np.ndarray, kept: np.ndarray, step: float) -> Way:
    """Choose how to move a design, if the choice is left open: in blocks if it repeats itself, else by phases.

    A periodic design meets itself again in every shift by a whole period, and its few frequencies, given other phases,
    are a shift of it again: the null would hold the effect. Circular shifts are never chosen by themselves; see
    `activation_map` for how often each way is wrong.
    """
    if null != "auto":
        return null
    if design.trials is None or not len(design.trials.onset):
        return "phase"
    shifts = distinct_shifts(int(kept.sum()), step, 0)
    for weight in weights:
        target, others = design.split(weight)
        nuisance = basis(others[kept])
        copies = shifted(target[kept, None], shifts)[0]
        copies = copies - copies @ nuisance @ nuisance.T
        length = np.linalg.norm(copies, axis=1)
        if shifts.size and length.min() > 0:
            alike = np.abs(copies[1:] @ copies[0]) / (length[1:] * length[0])
            if alike.max() > ALIKE and _slots(design.trials) is not None:
                return "block"
    return "phase"


def move(
    design: Design, weights: np.ndarray, kept: np.ndarray, way: Way, *, step: float, permutations: int, seed: int
) -> list[Moved]:
    """Move the regressor of each contrast against everything else.

    Parameters
    ----------
    design
        Of the run.
    weights : (contrast, condition)
        Contrasts.
    kept : (time,)
        Volumes that are tested; they are put together where a hole was.
    way
        ``phase``: random phases at every frequency. ``shift``: every distinct circular shift outside the exclusion
        zone, once. ``block``: the conditions' labels, rest among them, are dealt out anew to blocks as long as an
        event, which is convolved again.
    step
        Repetition time, s.
    permutations
        Largest number of members.
    seed
        Of phases, labels, or the choice among shifts.

    Raises
    ------
    InputError
        If a design that shall be moved in blocks has none.
    """
    dealt = _dealt(design, permutations, seed) if way == "block" else np.empty(0)
    shifts = distinct_shifts(int(kept.sum()), step, seed, permutations)
    made = []
    for weight in weights:
        target, others = design.split(weight)
        column, stays = target[kept], others[kept]
        if way == "block":
            rows = np.vstack([column, (dealt @ weight / (weight @ weight))[:, kept]])
        else:
            copies = (
                surrogates(column[:, None], permutations, seed) if way == "phase" else shifted(column[:, None], shifts)
            )
            rows = copies[0]
        nuisance = basis(stays)
        made.append(Moved(rows, stays, design.estimable(column, column - nuisance @ (nuisance.T @ column))))
    return made


def _dealt(design: Design, permutations: int, seed: int) -> np.ndarray:
    """The task's columns for labels dealt out anew (member, time, condition); each deal is another one."""
    slots = None if design.trials is None else _slots(design.trials)
    if slots is None:
        raise InputError(
            "blocks can be permuted only where events are alike in length and some labels differ, found none; use the "
            "null 'phase'"
        )
    onset, length, label = slots
    columns = _convolved(design.trials, onset, length)  # type: ignore[arg-type]
    random = np.random.default_rng(seed)
    seen = {label.tobytes()}
    deals: list[np.ndarray] = []
    for _ in range(20 * permutations):
        deal = random.permutation(label)
        if deal.tobytes() not in seen:
            seen.add(deal.tobytes())
            deals.append(deal)
        if len(deals) == permutations:
            break
    each = np.array(deals)[:, :, None] == np.arange(len(design.conditions))
    return np.asarray(np.einsum("ts,msc->mtc", columns, each.astype(np.float64)))


def _slots(trials: Trials) -> tuple[np.ndarray, float, np.ndarray] | None:
    """Onset (s) and label of each block, -1 for rest, and their common length; None if there is nothing to permute.

    Blocks are the events, and as many more of their length as fit into each gap.
    """
    longest = float(trials.duration.max())
    order = np.argsort(trials.onset)
    onset, label = trials.onset[order], trials.label[order]
    apart = np.diff(onset)
    length = max(longest, float(apart.min()) / 2) if apart.size else longest
    if not length > 0 or np.ptp(trials.duration) > 0.1 * max(longest, 0.1) or (apart < longest - 1e-6).any():
        return None
    end = float(trials.frame_times[-1])
    places, names = [], []
    for first, after, name in zip(onset, [*onset[1:], end], label, strict=True):
        free = max(int((after - first + 1e-6) // length), 1)
        places += [first + number * length for number in range(free)]
        names += [int(name), *[-1] * (free - 1)]
    before = int((onset[0] - trials.frame_times[0] + 1e-6) // length)
    places = [onset[0] - (number + 1) * length for number in range(before)] + places
    names = [-1] * before + names
    numbers = np.array(names)
    counts = [int((numbers == name).sum()) for name in set(names)]
    ways = np.exp(_log_factorial(len(names)) - sum(_log_factorial(count) for count in counts))
    return (np.array(places), longest or 0.1, numbers) if ways > 2 * _FEWEST else None


def _log_factorial(count: int) -> float:
    return float(np.log(np.arange(1, count + 1)).sum())


def _convolved(trials: Trials, onset: np.ndarray, duration: float) -> np.ndarray:
    """Regressor of each block by itself (time, block)."""
    names = [f"block{number:05d}" for number in range(len(onset))]
    table = pd.DataFrame({"onset": onset, "duration": max(duration, 0.1), "trial_type": names})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Matrix is singular")
        matrix = make_first_level_design_matrix(trials.frame_times, table, hrf_model=trials.hrf, drift_model=None)
    return np.asarray(matrix[names], np.float64)
