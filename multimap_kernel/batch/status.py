"""Statuses of a run: the exit code of its process is the truth, and each has a name."""

from __future__ import annotations

from enum import IntEnum
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


class ExitCode(IntEnum):
    """What the process of a notebook ends with; those of our own errors are the same in `schema.errors`."""

    DONE = 0
    RAISED = 10
    BAD_INPUT = 20
    EXCLUDED = 21
    STORAGE = 30
    PREEMPTED = 75
    TIMED_OUT = 124  # as `timeout` of the shell says it
    KILLED = 137  # 128 and SIGKILL
    KERNEL_DIED = 138  # the kernel only; its process could still tell
    TERMINATED = 143  # 128 and SIGTERM

    __repr__ = int.__repr__  # in a record, for people, it is the number


_STATUS: dict[int, Status] = {
    ExitCode.DONE: "done",
    ExitCode.RAISED: "failed",
    ExitCode.BAD_INPUT: "bad-input",
    ExitCode.EXCLUDED: "excluded",
    ExitCode.STORAGE: "storage-failed",
    ExitCode.PREEMPTED: "preempted",
    ExitCode.TIMED_OUT: "timed-out",
    ExitCode.KILLED: "died",
    ExitCode.KERNEL_DIED: "died",
}
# worth one more attempt
TRANSIENT = frozenset({ExitCode.STORAGE, ExitCode.PREEMPTED, ExitCode.KILLED, ExitCode.KERNEL_DIED})
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
    if exit_code == ExitCode.EXCLUDED and error.startswith("HeldError"):
        return "held"
    return _STATUS.get(exit_code, "died" if exit_code > 128 else "failed")


def exit_code_of(exception: str) -> int:
    """The exit code for an exception that a notebook raised, known by the name of its class only."""
    kind = getattr(errors, exception, None)
    return int(kind.exit_code) if isinstance(kind, type) and issubclass(kind, errors.MultimapError) else ExitCode.RAISED


def reason_of(exit_code: int) -> str:
    """What to tell about an end that left no exception behind."""
    return {
        "died": f"the kernel or its process was killed (exit code {exit_code}); most often memory ran out",
        "timed-out": "the time limit was reached",
        "preempted": "the run was asked to stop; the next one goes on from here",
    }.get(status_of(exit_code), f"the process ended with exit code {exit_code}; see log.txt")
