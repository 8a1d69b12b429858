"""One process with all its children: started, watched, measured and, if need be, ended as one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from multimap_kernel.batch.records import LOG
from multimap_kernel.batch.status import ExitCode

PAUSE_S = 0.25
GRACE_S = 4.0  # to save the notebook; the whole state must be in the store 10 s after the request to end
DEAD = frozenset({ExitCode.KILLED, ExitCode.KERNEL_DIED, ExitCode.TERMINATED})


@dataclass(frozen=True)
class Limits:
    """What one notebook may use: seconds, and bytes of the whole process tree; 0 for no limit."""

    timeout_s: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a process ended: exit code, largest proportional set size of its tree in bytes, and the reason if known."""

    code: int
    peak_bytes: int
    reason: str = ""


def execute(
    folder: Path,
    environment: Mapping[str, str],
    *,
    limits: Limits,
    stop: threading.Event,
    lost: threading.Event,
    watch: Callable[[int], None],
) -> Outcome:
    """Execute the notebook of a run's folder in a process of its own.

    Parameters
    ----------
    folder
        Folder of the attempt, with its ``run.json``; ``log.txt`` is written there.
    environment
        Environment of the process and so of the kernel.
    limits
        At the end of its time everything is killed; over its memory the largest process is, which is the kernel, just
        as the system does when memory runs out.
    stop
        When set, the process is asked to end, and killed 4 s later.
    lost
        When set, everything is killed at once: another has taken the session over.
    watch
        Called four times a second with the peak memory so far, in bytes.

    Returns
    -------
    How it ended.
    """
    command = [sys.executable, "-m", "multimap_kernel.batch.execute", str(folder), str(os.getpid())]
    with (folder / LOG).open("wb") as log:
        # a session of its own: Ctrl-C in the terminal reaches the batch only, which then ends its notebooks in order
        process = subprocess.Popen(
            command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        watched = _Watched(process, limits)
        ended = None
        try:
            while process.poll() is None and ended is None:
                watched.measure()
                watch(watched.peak)
                ended = watched.verdict(stop, lost)
        finally:
            if process.poll() is None:
                _end(process, GRACE_S if ended == ExitCode.PREEMPTED and not lost.is_set() else 0.0)
    code = process.returncode if ended is None else ended
    code = 128 - code if code < 0 else code
    if code in DEAD and stop.wait(PAUSE_S):  # a signal to the whole tree may have reached the kernel first
        code = ExitCode.PREEMPTED
    return Outcome(code, watched.peak, watched.reason)


class _Watched:
    """A running process tree against its limits."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process, self._limits = process, limits
        self._begun = time.monotonic()
        self.peak, self.reason = 0, ""

    def measure(self) -> None:
        """Measure the tree; over the limit, kill its largest process."""
        sizes = tree_memory(self._process.pid)
        used = sum(sizes.values())
        self.peak = max(self.peak, used)
        if self._limits.memory_bytes and used > self._limits.memory_bytes and not self.reason:
            self.reason = (
                f"the notebook must stay below its memory limit of {self._limits.memory_bytes / 2**20:.0f} MiB, "
                f"found {used / 2**20:.0f} MiB; its kernel was killed; raise the limit or work in smaller parts"
            )
            with suppress(psutil.Error):
                max(sizes, key=lambda one: sizes[one]).kill()

    def verdict(self, stop: threading.Event, lost: threading.Event) -> int | None:
        """Wait a moment; the exit code if the process must end now."""
        if stop.wait(PAUSE_S) or lost.is_set():
            return ExitCode.PREEMPTED
        if self._limits.timeout_s and time.monotonic() - self._begun > self._limits.timeout_s:
            self.reason = f"the time limit of {self._limits.timeout_s:g} s was reached"
            return ExitCode.TIMED_OUT
        return None


def tree_memory(pid: int) -> dict[psutil.Process, int]:
    """Proportional set size of a process and of each below it, in bytes: memory that is shared counts once."""
    sizes = {}
    for process in _tree(pid):
        with suppress(psutil.Error):
            sizes[process] = int(process.memory_full_info().pss)
    return sizes


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    tree = _tree(process.pid)
    if grace_s:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    for one in tree:  # a kernel lives in a session of its own, so that killing a group would miss it
        with suppress(psutil.Error):
            one.kill()
    process.wait()
