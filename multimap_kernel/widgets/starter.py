"""Runs sessions in processes of their own, one after the other, and tells when something about them changed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.pipeline import Attempt, run
from multimap_kernel.schema import MultimapError

POLL_S = 1.0
_TOLD = 400  # characters at the end of what a run said


class Starter:
    """Starts `run` beside the kernel, so that the notebook stays free and a restart of the kernel stops nothing.

    Parameters
    ----------
    bids, study, recipe, runtime
        As in `run`.
    changed
        Called with a session from a thread of its own: when it began, every second while it runs, when it ended.
    """

    def __init__(
        self, bids: str, *, study: str, recipe: Recipe, runtime: Runtime, changed: Callable[[str], None]
    ) -> None:
        self._bids, self._study, self._recipe, self._runtime, self._changed = bids, study, recipe, runtime, changed
        self._turn = threading.Lock()  # one session at a time: each may have workers of its own
        self._lock = threading.Lock()
        self._known: dict[str, Attempt] = {}

    def attempts(self) -> list[Attempt]:
        """What is known of the sessions that were started here."""
        with self._lock:
            return list(self._known.values())

    def start(self, session: str) -> None:
        """Queue a session; one that waits or runs already is left as it is."""
        with self._lock:
            if session in self._known and self._known[session].running:
                return
            self._known[session] = Attempt(session, running=True, told="waits for its turn")
        # a daemon: the kernel may end while the session's process goes on
        threading.Thread(target=self._run, args=(session,), name=f"multimap-{session}", daemon=True).start()

    def _run(self, session: str) -> None:
        with self._turn:
            self._work(session)

    def _work(self, session: str) -> None:
        self._say(Attempt(session, running=True, told="started from the session browser"))
        task: dict[str, Any] = {"bids": self._bids, "study": self._study, "session": session}
        task |= {"recipe": self._recipe.model_dump(mode="json"), "runtime": self._runtime.model_dump(mode="json")}
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as log:
            given.write(json.dumps(task).encode())
            given.seek(0)
            command = [sys.executable, "-m", "multimap_kernel.widgets.starter"]
            process = subprocess.Popen(
                command, stdin=given, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            while _still(process):
                self._tell(session)
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-_TOLD:]
        if process.returncode:
            self._say(Attempt(session, running=False, told=f"ended with {process.returncode}: {said}"))
        else:
            with self._lock:
                self._known.pop(session)
            self._tell(session)

    def _say(self, attempt: Attempt) -> None:
        with self._lock:
            self._known[attempt.session] = attempt
        self._tell(attempt.session)

    def _tell(self, session: str) -> None:
        with contextlib.suppress(MultimapError, OSError):  # a store that cannot be read now is read the next time
            self._changed(session)


def _still(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is at work after another second."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(POLL_S)
    return process.returncode is None


def main() -> int:
    """Run the session that stands on the standard input as JSON; returns the exit code of what became of it."""
    task = json.load(sys.stdin)
    recipe, runtime = Recipe(**task["recipe"]), Runtime(**task["runtime"])
    (result,) = run(task["bids"], study=task["study"], sessions=[task["session"]], recipe=recipe, runtime=runtime)
    sys.stdout.write(result.error)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
