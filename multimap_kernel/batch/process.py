"""One process with all its children: started, watched, measured and, if need be, ended as one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from multimap_kernel.batch.status import PREEMPTED, TIMED_OUT

PAUSE_S = 0.5
GRACE_S = 10.0  # an evicted pod has 15 s in all


def execute(
    folder: Path,
    environment: Mapping[str, str],
    *,
    timeout_s: float,
    stop: threading.Event,
    watch: Callable[[int], None],
) -> tuple[int, int]:
    """Execute the notebook of a run's folder in a process of its own.

    Parameters
    ----------
    folder
        Folder of the attempt, with its ``run.json``; ``log.txt`` is written there.
    environment
        Environment of the process and so of the kernel.
    timeout_s
        Seconds after which everything is killed; 0 for no limit.
    stop
        When set, the process is asked to end, and killed after 10 s.
    watch
        Called twice a second with the peak memory so far, in bytes.

    Returns
    -------
    The exit code, and the largest proportional set size of the process tree in bytes.
    """
    command = [sys.executable, "-m", "multimap_kernel.batch.execute", str(folder)]
    peak, ended = 0, None
    with (folder / "log.txt").open("wb") as log:
        # a session of its own: Ctrl-C in the terminal reaches the batch only, which then ends its notebooks in order
        process = subprocess.Popen(
            command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        begun = time.monotonic()
        try:
            while process.poll() is None and ended is None:
                peak = max(peak, tree_memory(process.pid))
                watch(peak)
                if stop.wait(PAUSE_S):
                    ended = PREEMPTED
                elif timeout_s and time.monotonic() - begun > timeout_s:
                    ended = TIMED_OUT
        finally:
            if process.poll() is None:
                _end(process, GRACE_S if ended == PREEMPTED else 0.0)
    code = process.returncode if ended is None else ended
    return (128 - code if code < 0 else code), peak


def tree_memory(pid: int) -> int:
    """Proportional set size of a process and all below it, in bytes: memory that is shared counts once."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


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
