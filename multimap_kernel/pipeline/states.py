"""What there is of each session: every step with its state, read off the store; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.bids import Session
from multimap_kernel.io.store import Store, read_json
from multimap_kernel.pipeline.results import session_path
from multimap_kernel.pipeline.run import StepResult, choose, decisions_of, keys_of
from multimap_kernel.pipeline.steps import STEPS
from multimap_kernel.schema import ExcludedError, InputError

State = Literal["missing", "running", "done", "stale", "failed", "excluded"]


@dataclass(frozen=True)
class Attempt:
    """What somebody who runs sessions knows of one: it is at work, or it failed.

    Parameters
    ----------
    session
        Label.
    running
        Whether it is at work now; else it failed.
    told
        What happened, for people.
    keys
        Keys of the steps that it was to compute; empty if unknown. A failure whose keys are no longer wanted, because
        the recipe or a decision changed since, says nothing about now.
    """

    session: str
    running: bool
    told: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionStates:
    """One session: the state of each step in the order of the line, and what must be known about it."""

    session: str
    steps: Mapping[str, State]
    told: str = ""


def session_states(
    bids: str,
    *,
    study: str,
    sessions: Sequence[str] = (),
    recipe: Recipe,
    runtime: Runtime,
    attempts: Sequence[Attempt] = (),
) -> tuple[SessionStates, ...]:
    """Tell for each session of a study which step is in which state.

    A step is ``done`` when the result that this recipe, these files and these decisions ask for is committed;
    ``stale`` when only another one is there, to which this recipe's name still points; ``missing`` when there is none.
    The first step that is not done is ``running`` or ``failed`` if an attempt says so, and ``failed`` if the session's
    files cannot be used. All steps of a session that a person excluded or holds back are ``excluded``.

    Parameters
    ----------
    bids, study, sessions, recipe, runtime
        As in `run`.
    attempts
        What is known of runs, oldest first; the last one of a session counts.

    Returns
    -------
    One per session, in the order of the study.

    Raises
    ------
    InputError
        If the study or a session does not exist.
    """
    store = Store(runtime.store, study)
    last = {attempt.session: attempt for attempt in attempts}
    return tuple(_states(session, recipe, store, last.get(session.label)) for session in choose(bids, sessions, recipe))


def _states(session: Session, recipe: Recipe, store: Store, attempt: Attempt | None) -> SessionStates:
    pointer: dict[str, Any] = read_json(store.url(session_path(session.label), "current", f"{recipe.name}.json")) or {}
    had: dict[str, Any] = pointer.get("steps", {})
    try:
        wanted = keys_of(session, recipe, decisions_of(session, store), store, STEPS)
    except ExcludedError as reason:
        return SessionStates(session.label, dict.fromkeys((step.name for step in STEPS), "excluded"), str(reason))
    except InputError as fault:
        rest: dict[str, State] = {step.name: "stale" if step.name in had else "missing" for step in STEPS}
        return SessionStates(session.label, {**rest, STEPS[0].name: "failed"}, str(fault))
    states: dict[str, State] = {one.step: _state(one, had) for one in wanted}
    first = next((one for one in wanted if states[one.step] != "done"), None)
    told = ""
    if attempt is not None and first is not None and (attempt.running or _still_wanted(attempt, first)):
        states[first.step] = "running" if attempt.running else "failed"
        told = attempt.told
    return SessionStates(session.label, states, told)


def _state(found: StepResult, had: Mapping[str, Any]) -> State:
    if found.state == "reused":
        return "done"
    return "stale" if found.step in had and had[found.step]["key"] != found.key else "missing"


def _still_wanted(attempt: Attempt, first: StepResult) -> bool:
    return attempt.keys.get(first.step, first.key) == first.key
