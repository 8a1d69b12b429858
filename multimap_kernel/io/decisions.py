"""What people decided about a session: append-only files, one change each; an undo is one more file."""

from __future__ import annotations

import getpass
import uuid
from datetime import UTC, datetime

import fsspec

from multimap_kernel.io.store import Store, canonical, create_exclusive, read_json
from multimap_kernel.schema import Decision, InputError

AFFECTS = {
    "accept": "",
    "exclude": "",
    "hold": "",
    "undo": "",
    "shift": "align",
    "bad_channel": "clean_eeg",
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
        ``accept``, ``exclude``, ``hold``, ``shift`` (seconds to add to the offset), ``bad_channel`` (its name) or
        ``undo`` (of ``supersedes``).
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
    """
    _check(store, session, action, value, reason, supersedes)
    now = datetime.now(UTC)
    user = getpass.getuser()
    identifier = f"{now:%Y%m%dT%H%M%S%f}Z-{user}-{uuid.uuid4().hex}"
    decision = Decision(identifier, session, user, now.isoformat(), action, value, reason, supersedes)
    create_exclusive(store.url("decisions", session, f"{identifier}.json"), canonical(decision.to_json()))
    return decision


def _check(store: Store, session: str, action: str, value: str, reason: str, supersedes: str) -> None:
    if action not in AFFECTS:
        raise InputError(f"action must be one of {', '.join(AFFECTS)}, found {action!r}")
    if action in {"exclude", "hold"} and not reason:
        raise InputError(f"{action} needs a reason that readers of the report will see; give --reason")
    if action == "shift":
        try:
            float(value)
        except ValueError:
            raise InputError(f"shift needs seconds to add to the offset, found {value!r}") from None
    if action == "bad_channel" and not value:
        raise InputError("bad_channel needs the channel's name")
    known = {decision.identifier for decision in history(store, session)}
    if action == "undo" and supersedes not in known:
        raise InputError(f"undo needs the identifier of a decision about {session}, found {supersedes!r}")


def history(store: Store, session: str) -> tuple[Decision, ...]:
    """All decisions about a session, oldest first, with those that were taken back."""
    fs, folder = fsspec.core.url_to_fs(store.url("decisions", session))
    if not fs.exists(folder):
        return ()
    names = sorted(path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False) if path.endswith(".json"))
    stored = (read_json(store.url("decisions", session, name)) for name in names)
    return tuple(Decision.from_json(item) for item in stored if item)


def effective(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """The decisions that hold: neither taken back nor replaced by a later one of the same action and value.

    ``accept``, ``exclude`` and ``hold`` replace each other; the last ``shift`` replaces those before it.
    """
    undone = {decision.supersedes for decision in decisions if decision.action == "undo"}
    last: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if decision.action == "undo" or decision.identifier in undone:
            continue
        if decision.action in {"accept", "exclude", "hold"}:
            last["fate", ""] = decision
        else:
            last[decision.action, decision.value if decision.action == "bad_channel" else ""] = decision
    return tuple(last.values())
