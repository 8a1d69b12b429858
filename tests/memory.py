"""Memory of a process and all that it started: proportional set size, sampled ten times a second."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil


def tree_bytes(root: psutil.Process) -> int:
    """PSS of a process and its descendants, in bytes; shared pages are counted once."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total


def resident_bytes(root: psutil.Process) -> int:
    """Resident size of a process and its descendants, shared pages counted again and again: cheap, an upper bound."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
    return total


class Peak:
    """``with Peak() as peak: ...``; afterwards ``peak.above_idle`` is the largest growth, in bytes.

    The proportional size costs the kernel a walk over all pages, so it is read only when the resident size, looked at
    ten times a second, is near its own largest value.
    """

    def __init__(self, process: int | None = None) -> None:
        self._root = psutil.Process(process)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.idle = self.highest = 0

    def _watch(self) -> None:
        largest = 0
        while not self._stop.wait(0.1):
            resident = resident_bytes(self._root)
            if resident > 0.98 * largest:
                largest = max(largest, resident)
                with suppress(psutil.NoSuchProcess):
                    self.highest = max(self.highest, tree_bytes(self._root))

    def __enter__(self) -> Self:
        self.idle = self.highest = tree_bytes(self._root)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def above_idle(self) -> int:
        """Largest memory above that at the start, in bytes."""
        return self.highest - self.idle
