"""Statuses of a run: the exit code of its process is the truth, and each has a name."""

from __future__ import annotations

from typing import Literal

from multimap_kernel.schema import errors

Status = Literal[
    "waiting",
    "running",
    "done",
    "failed",
    "bad-input",
    "excluded",
    "held",
    "died",
    "timed-out",
    "preempted",
    "storage-failed",
]
DONE, RAISED, BAD_INPUT, EXCLUDED, STORAGE, PREEMPTED, TIMED_OUT, KILLED, KERNEL_DIED = (
    0,
    10,
    20,
    21,
    30,
    75,
    124,
    137,
    138,
)
_STATUS: dict[int, Status] = {
    DONE: "done",
    RAISED: "failed",
    BAD_INPUT: "bad-input",
    EXCLUDED: "excluded",
    STORAGE: "storage-failed",
    PREEMPTED: "preempted",
    TIMED_OUT: "timed-out",
    KILLED: "died",
    KERNEL_DIED: "died",
}
TRANSIENT = frozenset({STORAGE, PREEMPTED, KILLED, KERNEL_DIED})  # worth one more attempt
SETTLED = frozenset({"done", "excluded", "held", "bad-input"})  # the same work again would end the same way


def status_of(exit_code: int, error: str = "") -> Status:
    """Name what an exit code means; a signal that nobody caught (above 128) is a death.

    Parameters
    ----------
    exit_code
        Of the process that executed the notebook.
    error
        What was raised, as ``Class: message``: a session on hold ends like an excluded one, and is told apart by it.
    """
    if exit_code == EXCLUDED and error.startswith("HeldError"):
        return "held"
    return _STATUS.get(exit_code, "died" if exit_code > 128 else "failed")


def exit_code_of(exception: str) -> int:
    """The exit code for an exception that a notebook raised, known by the name of its class only."""
    kind = getattr(errors, exception, None)
    return int(kind.exit_code) if isinstance(kind, type) and issubclass(kind, errors.MultimapError) else RAISED


def reason_of(exit_code: int) -> str:
    """What to tell about an end that left no exception behind."""
    return {
        "died": f"the kernel or its process was killed (exit code {exit_code}); most often memory ran out",
        "timed-out": "the time limit was reached",
        "preempted": "the run was asked to stop; the next one goes on from here",
    }.get(status_of(exit_code), f"the process ended with exit code {exit_code}; see log.txt")
