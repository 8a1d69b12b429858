"""What goes wrong in a cluster, told in words: workers that stay away, and tasks that end their workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError, FuturesCancelledError

from multimap_kernel.schema import ClusterError

PAUSE_S = 1.0  # between two looks at the workers
REASON = "no worker"


class Watchdog:
    """Ends all waiting work when a cluster has no worker that can go on for too long.

    Dask itself waits for ever, and a LocalCluster does not always replace a worker that was killed (3 of 5 runs in our
    measurements); nor does a worker whose memory is full take up work again when nothing can be spilled. So somebody
    has to say that nothing will happen any more.

    Parameters
    ----------
    client
        The client whose futures are cancelled; it stays usable, should a worker come back.
    patience_s
        Seconds without any working worker before that happens.
    """

    def __init__(self, client: Client, patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="multimap-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        seen = time.monotonic()
        while not self._ended.wait(min(PAUSE_S, self._patience_s / 4)):
            workers = self._workers()
            if any(map(_goes_on, workers)):
                seen = time.monotonic()
            elif time.monotonic() - seen >= self._patience_s:
                self._cancel(len(workers))
                seen = time.monotonic()

    def _workers(self) -> list[dict[str, Any]]:
        scheduler: Any = self._client.scheduler
        try:
            told = self._client.sync(scheduler.identity, callback_timeout=self._patience_s)
        except (OSError, TimeoutError, RuntimeError, AttributeError, CancelledError):
            return []  # a scheduler that does not answer has no workers for us
        return list(told["workers"].values())

    def _cancel(self, paused: int) -> None:
        waiting: list[Any] = [Future(key, self._client) for key in list(self._client.futures)]
        told = (
            f"the memory of all workers ({paused}) stayed full for {self._patience_s:g} s; raise runtime.cluster.memory"
            if paused
            else f"no worker came back for {self._patience_s:g} s; look at the workers' memory and log, then run again"
        )
        self._client.cancel(waiting, force=True, reason=REASON, msg=told)


def _goes_on(worker: dict[str, Any]) -> bool:
    """Whether a worker takes up tasks, or has one in hand although its memory is full."""
    return worker["status"] != "paused" or bool(worker["metrics"].get("task_counts", {}).get("executing"))


@contextmanager
def readable_faults(memory: str = "") -> Iterator[None]:
    """Turn Dask's own words for a broken cluster into a ClusterError.

    Parameters
    ----------
    memory
        Limit of one worker, for the message.

    Raises
    ------
    ClusterError
        Instead of KilledWorker and of the cancellation of futures.
    """
    try:
        yield
    except KilledWorker as fault:
        limit = f" (now {memory})" if memory else ""
        raise ClusterError(
            f"a task must leave its worker alive, but {fault.task!r} ended {fault.allowed_failures + 1} workers; most "
            f"often memory ran out: raise runtime.cluster.memory{limit}, or use smaller chunks"
        ) from fault
    except FutureCancelledError as fault:
        raise ClusterError(_told(fault)) from fault
    except FuturesCancelledError as fault:
        raise ClusterError(_told(fault.error_groups[0].errors[0])) from fault


def _told(fault: FutureCancelledError) -> str:
    if fault.reason == REASON:
        return str(fault.msg)
    return f"the scheduler must keep its work until the end, but it was cancelled ({fault.reason}); run again"
