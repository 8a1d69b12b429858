"""Walks the line for each session: reuses what is committed, computes the rest, tells what happened."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Literal

from multimap_kernel.compute import cluster, readable_faults
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.bids import Session, find_sessions
from multimap_kernel.io.decisions import effective, history
from multimap_kernel.io.store import Store, canonical, replace
from multimap_kernel.pipeline.garbage import underway
from multimap_kernel.pipeline.keys import Inputs, Step, circumstances, key_of
from multimap_kernel.pipeline.steps import STEPS
from multimap_kernel.schema import (
    ClusterError,
    Decision,
    ExcludedError,
    HeldError,
    InputError,
    MultimapError,
    StorageError,
)


@dataclass(frozen=True)
class StepResult:
    """One step of one session: where its result is, and whether it was computed now."""

    step: str
    place: str
    key: str
    state: Literal["missing", "running", "computed", "reused"]
    seconds: float = 0.0


@dataclass(frozen=True)
class SessionResult:
    """What happened to one session; ``error`` is for people, ``exit_code`` for machines."""

    session: str
    status: Literal["done", "planned", "excluded", "held", "bad-input", "failed"]
    steps: tuple[StepResult, ...] = ()
    error: str = ""
    exit_code: int = 0

    @property
    def computed(self) -> int:
        """Number of steps that were computed, or would be."""
        return sum(step.state in {"computed", "missing"} for step in self.steps)

    def require_done(self) -> None:
        """Raise what stopped this session, if something did: a notebook must not go on without results.

        Raises
        ------
        InputError, ExcludedError, HeldError, StorageError, ClusterError, MultimapError
            By the exit code.
        """
        if self.exit_code:
            kinds = {kind.exit_code: kind for kind in (InputError, ExcludedError, StorageError, ClusterError)}
            raise (
                HeldError(self.error) if self.status == "held" else kinds.get(self.exit_code, MultimapError)(self.error)
            )


Progress = Callable[[str, StepResult], None]


def line(upto: str = "publish") -> tuple[Step, ...]:
    """The steps up to and with the named one, top to bottom.

    Raises
    ------
    InputError
        If there is no such step.
    """
    names = [step.name for step in STEPS]
    if upto not in names:
        raise InputError(f"the step must be one of {', '.join(names)}, found {upto!r}")
    return STEPS[: names.index(upto) + 1]


def choose(bids: str, sessions: Sequence[str], recipe: Recipe) -> tuple[Session, ...]:
    """The sessions of a study with these labels, or all of them.

    Raises
    ------
    InputError
        If a label is not in the study, or the study has no session at all.
    """
    found = find_sessions(bids, pairs=recipe.ingest.pairs)
    labels = {session.label: session for session in found}
    unknown = sorted(set(sessions) - set(labels))
    if unknown or not found:
        wanted, have = ", ".join(sessions) or "that you run", ", ".join(labels) or "none"
        raise InputError(f"{bids} must hold the sessions {wanted}, found {have}; see multimap check")
    return tuple(labels[label] for label in sessions) if sessions else found


def plan(
    bids: str, *, study: str, sessions: Sequence[str] = (), recipe: Recipe, runtime: Runtime, upto: str = "publish"
) -> tuple[SessionResult, ...]:
    """Tell for each session which results are there already; computes nothing.

    Parameters
    ----------
    bids, study, sessions, recipe, runtime, upto
        As in `run`.

    Returns
    -------
    One result per session; steps are ``reused`` or ``missing``.
    """
    store = Store(runtime.store, study)
    chosen = choose(bids, sessions, recipe)
    return tuple(_guard(session, partial(_planned, session, recipe, store, upto)) for session in chosen)


def run(
    bids: str,
    *,
    study: str,
    sessions: Sequence[str] = (),
    recipe: Recipe,
    runtime: Runtime,
    upto: str = "publish",
    progress: Progress | None = None,
) -> tuple[SessionResult, ...]:
    """Run the line over sessions of a BIDS study; one bad session never stops the others.

    Parameters
    ----------
    bids
        Path or URL of the BIDS study; never changed.
    study
        Name of the study in the store.
    sessions
        Session labels such as ``sub-01_task-rest``; empty for all.
    recipe
        What to do.
    runtime
        Where the store is, and on which cluster to work.
    upto
        Last step to run.
    progress
        Called with the session's label and each step before and after it runs.

    Returns
    -------
    One result per session, in order.

    Raises
    ------
    InputError
        If the study or a session does not exist.
    """
    store = Store(runtime.store, study)
    with ExitStack() as stack:
        started: list[bool] = []

        def work() -> None:
            if not started:  # a rerun with nothing to compute starts no cluster
                stack.enter_context(cluster(runtime))
                started.append(True)

        return tuple(
            _guard(session, partial(_walk, session, recipe, store, upto, work, progress))
            for session in choose(bids, sessions, recipe)
        )


def run_step(name: str, bids: str, *, study: str, session: str, recipe: Recipe, runtime: Runtime) -> StepResult:
    """Run one step of one session; the steps that it reads must be committed.

    This is what ``multimap step`` runs for a session.

    Raises
    ------
    InputError
        If the step or session is unknown, or a result that it reads is missing.
    ExcludedError
        If a person excluded or held the session.
    """
    store = Store(runtime.store, study)
    (chosen,) = choose(bids, (session,), recipe)
    decisions = decisions_of(chosen, store)
    steps = keys_of(chosen, recipe, decisions, store, line(name))
    wanted = steps.pop()
    reads = next(step for step in STEPS if step.name == name).reads
    missing = [step.step for step in steps if step.step in reads and step.state == "missing"]
    if missing:
        raise InputError(f"{name} of {session} reads {', '.join(missing)}, found none; run these steps first")
    if wanted.state == "reused":
        return wanted
    with cluster(runtime), underway(store, chosen.path, recipe.name, _places([*steps, wanted])):
        computed = _compute(chosen, recipe, store, [*steps, wanted], decisions)
        _show(chosen, recipe, store, keys_of(chosen, recipe, decisions, store, STEPS))
    return computed


def _guard(session: Session, work: Callable[[], SessionResult]) -> SessionResult:
    try:
        with readable_faults():
            return work()
    except ExcludedError as reason:
        verdict: Literal["held", "excluded"] = "held" if isinstance(reason, HeldError) else "excluded"
        return SessionResult(session.label, verdict, error=str(reason), exit_code=reason.exit_code)
    except MultimapError as fault:
        status: Literal["bad-input", "failed"] = "bad-input" if isinstance(fault, InputError) else "failed"
        return SessionResult(session.label, status, error=str(fault), exit_code=fault.exit_code)
    except Exception as fault:  # the others go on; the whole trace is in the result
        return SessionResult(
            session.label, "failed", error=f"{fault!r}\n{traceback.format_exc()}", exit_code=MultimapError.exit_code
        )


def decisions_of(session: Session, store: Store) -> tuple[Decision, ...]:
    """The decisions that hold for a session that can be used.

    Raises
    ------
    ExcludedError
        If a person excluded or held it.
    InputError
        If its files keep it from being used.
    """
    decisions = effective(history(store, session.label))
    for decision in decisions:
        if decision.action in {"exclude", "hold"}:
            kind = HeldError if decision.action == "hold" else ExcludedError
            raise kind(f"{session.label}: {decision.action} by {decision.user}: {decision.reason}")
    if session.problems:
        raise InputError(f"{session.label}: " + " ".join(session.problems))
    return decisions


def keys_of(
    session: Session, recipe: Recipe, decisions: tuple[Decision, ...], store: Store, steps: Iterable[Step]
) -> list[StepResult]:
    """Place, key and state of each of these steps, top to bottom."""
    keys: dict[str, str] = {}
    found = []
    for step in steps:
        keys[step.name] = key = key_of(step, session, recipe, keys, decisions, store)
        place = step.place(session)
        state: Literal["reused", "missing"] = "reused" if store.commit(place, key) else "missing"
        found.append(StepResult(step.name, place, key, state))
    return found


def _planned(session: Session, recipe: Recipe, store: Store, upto: str) -> SessionResult:
    steps = keys_of(session, recipe, decisions_of(session, store), store, line(upto))
    return SessionResult(session.label, "planned", tuple(steps))


def _walk(
    session: Session, recipe: Recipe, store: Store, upto: str, work: Callable[[], None], progress: Progress | None
) -> SessionResult:
    decisions = decisions_of(session, store)
    whole = keys_of(session, recipe, decisions, store, STEPS)
    count = len(line(upto))
    steps, later = whole[:count], whole[count:]
    with underway(store, session.path, recipe.name, _places(steps)):
        for position, found in enumerate(steps):
            if found.state == "missing":
                work()
                if progress:
                    progress(session.label, StepResult(found.step, found.place, found.key, "running"))
                steps[position] = _compute(session, recipe, store, steps[: position + 1], decisions)
            if progress:
                progress(session.label, steps[position])
        _show(session, recipe, store, [*steps, *later])
    return SessionResult(session.label, "done", tuple(steps))


def _show(session: Session, recipe: Recipe, store: Store, steps: Iterable[StepResult]) -> None:
    """Bring what is there into view under the recipe's name: also what an earlier run made beyond this one's end."""
    there = _places(found for found in steps if found.state != "missing")
    pointer = canonical({"recipe": recipe.model_dump(mode="json"), "steps": there})
    replace(store.url(session.path, "current", f"{recipe.name}.json"), pointer)


def _places(steps: Iterable[StepResult]) -> dict[str, dict[str, str]]:
    return {found.step: {"place": found.place, "key": found.key} for found in steps}


def _compute(
    session: Session, recipe: Recipe, store: Store, upto: Sequence[StepResult], decisions: tuple[Decision, ...]
) -> StepResult:
    """Compute and commit the last of ``upto``."""
    wanted = upto[-1]
    step = next(step for step in STEPS if step.name == wanted.step)
    done = {result.step: result for result in upto[:-1]}
    commits = {name: store.commit(done[name].place, done[name].key) or {} for name in step.reads}
    provenance = {
        "session": session.label,
        "recipe": recipe.model_dump(mode="json"),
        "keys": {result.step: result.key for result in upto},
        "multimap": version("multimap"),
        "decisions": [decision.to_json() for decision in decisions],
    }
    inputs = Inputs(
        session=session,
        options={part: getattr(recipe, part) for part in step.recipe},
        datasets={name: store.open(done[name].place, done[name].key) for name in step.reads},
        values={name: commit.get("values", {}) for name, commit in commits.items()},
        decisions=step.decisions(decisions),
        provenance=provenance,
    )
    begun = time.perf_counter()
    product = step.run(inputs)
    record = {
        "step": step.name,
        "version": step.version,
        "recipe": {part: options.model_dump(mode="json") for part, options in inputs.options.items()},
        "reads": {name: done[name].key for name in step.reads},
        "libraries": step.versions(recipe),
        "decisions": [decision.identifier for decision in inputs.decisions],
        **circumstances(),
    }
    store.write(wanted.place, wanted.key, product, record)
    return StepResult(wanted.step, wanted.place, wanted.key, "computed", time.perf_counter() - begun)
