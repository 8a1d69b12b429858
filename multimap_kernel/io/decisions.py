"""What people decided about a session: append-only files, one change each; an undo is one more file."""

from __future__ import annotations

import getpass
import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import fsspec

from multimap_kernel.io.store import Store, canonical, create_exclusive, read_json
from multimap_kernel.schema import Decision, InputError, StorageError

AFFECTS = {
    "accept": "",
    "exclude": "",
    "hold": "",
    "undo": "",
    "repetition_time": "ingest",
    "marker": "align",
    "first_volume": "align",
    "drop_marker": "align",
    "add_marker": "align",
    "shift": "align",
    "bad_channel": "clean_eeg",
    "bad_span": "clean_eeg",
}
"""Each action, and the step whose key it enters; the empty ones decide whether a session runs, not how."""


def decide(
    store: Store, session: str, action: str, *, value: str = "", reason: str = "", supersedes: str = ""
) -> Decision:
    """Record a decision.

    Parameters
    ----------
    store
        Study that the session belongs to.
    session
        Session label.
    action
        ``accept``, ``exclude``, ``hold``, ``undo`` (of ``supersedes``), or a correction: ``repetition_time`` (s),
        ``marker`` (label of the volume marker), ``first_volume`` (volume that the first marker belongs to; negative:
        so many dummies come first), ``drop_marker`` and ``add_marker`` (s), ``shift`` (s to add to the offset),
        ``bad_channel`` (its name), ``bad_span`` (``start:stop`` in s). Times count on the EEG clock, from the first
        sample, so that a later correction of the alignment does not move them.
    value, reason
        See `Decision`; ``exclude`` and ``hold`` need a reason.
    supersedes
        Identifier of the decision that an undo takes back.

    Returns
    -------
    The decision as it was stored.

    Raises
    ------
    InputError
        If the action is unknown, or lacks what it needs.
    StorageError
        If it could not be stored.
    """
    _check(store, session, action, value, reason, supersedes)
    now = datetime.now(UTC)
    user = getpass.getuser()
    identifier = f"{now:%Y%m%dT%H%M%S%f}Z-{user}-{uuid.uuid4().hex}"
    decision = Decision(identifier, session, user, now.isoformat(), action, value, reason, supersedes)
    place = store.url("decisions", session, f"{identifier}.json")
    try:
        create_exclusive(place, canonical(decision.to_json()))
    except OSError as fault:
        raise StorageError(f"{place} must be writable, found: {fault}; the decision is not kept") from fault
    return decision


def _check(store: Store, session: str, action: str, value: str, reason: str, supersedes: str) -> None:
    if action not in AFFECTS:
        raise InputError(f"action must be one of {', '.join(AFFECTS)}, found {action!r}")
    if action in {"exclude", "hold"} and not reason:
        raise InputError(f"{action} needs a reason that readers of the report will see; give --reason")
    if action in _NEEDS:
        needs, reads = _NEEDS[action]
        try:
            fits = reads(value)
        except ValueError:
            fits = False
        if not fits:
            raise InputError(f"{action} needs {needs}, found {value!r}")
    known = {decision.identifier for decision in history(store, session)}
    if action == "undo" and supersedes not in known:
        raise InputError(f"undo needs the identifier of a decision about {session}, found {supersedes!r}")


def _is_span(value: str) -> bool:
    begin, end = map(float, value.split(":"))
    return 0 <= begin < end < math.inf


_NEEDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "repetition_time": ("seconds from volume to volume, above 0 and below 100", lambda value: 0 < float(value) < 100),
    "marker": ("the label of the volume marker", lambda value: bool(value.strip())),
    "first_volume": ("the number of a volume", lambda value: abs(int(value)) < 1_000_000),
    "drop_marker": ("the marker's time on the EEG clock in seconds", lambda value: 0 <= float(value) < math.inf),
    "add_marker": ("a time on the EEG clock in seconds", lambda value: 0 <= float(value) < math.inf),
    "shift": ("seconds to add to the offset", lambda value: abs(float(value)) < math.inf),
    "bad_channel": ("the channel's name", bool),
    "bad_span": ("start:stop on the EEG clock in seconds, start before stop", _is_span),
}
"""What the value of an action must be, in words and as a check."""
_ADDS_UP = frozenset({"drop_marker", "add_marker", "bad_channel", "bad_span"})
"""Actions of which many may hold at once, one for each value."""


def history(store: Store, session: str) -> tuple[Decision, ...]:
    """All decisions about a session, oldest first, with those that were taken back."""
    fs, folder = fsspec.core.url_to_fs(store.url("decisions", session))
    if not fs.exists(folder):
        return ()
    names = sorted(path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False) if path.endswith(".json"))
    stored = (read_json(store.url("decisions", session, name)) for name in names)
    return tuple(Decision.from_json(item) for item in stored if item)


def decided(store: Store) -> tuple[str, ...]:
    """Labels of the sessions that somebody ever decided about, in order."""
    fs, folder = fsspec.core.url_to_fs(store.url("decisions"))
    return tuple(sorted(path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))) if fs.exists(folder) else ()


def effective(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """The decisions that hold: neither taken back nor replaced by a later one of the same action and value.

    ``accept``, ``exclude`` and ``hold`` replace each other; so do two shifts, labels, first volumes or repetition
    times. Markers, channels and spans add up.
    """
    undone = {decision.supersedes for decision in decisions if decision.action == "undo"}
    last: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if decision.action == "undo" or decision.identifier in undone:
            continue
        if decision.action in {"accept", "exclude", "hold"}:
            last["fate", ""] = decision
        else:
            last[decision.action, decision.value if decision.action in _ADDS_UP else ""] = decision
    return tuple(last.values())
