"""The process that learns: started from a notebook, but not its child in life or death."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil

from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.io.store import read_json, replace
from multimap_kernel.schema import InputError

ORDER, PROCESS = "order.json", "process.json"
State = Literal["new", "running", "stopping", "stopped", "failed", "done"]
TAIL = 1200
"""Characters of the process's last words that are shown."""
Json = Any


class Engine:
    """One training run: its folder, its order, and the process at work on it.

    ``order.json`` holds what the command is given, so that any later kernel can go on with it; ``process.json`` says
    which process of which machine took it up.

    Parameters
    ----------
    url
        Run folder, path or fsspec URL.
    """

    def __init__(self, url: str) -> None:
        self.folder = RunDirectory(url)

    @property
    def log(self) -> Path:
        """What the process says, on this machine."""
        name = hashlib.sha256(self.folder.url.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"multimap-training-{os.getuid()}-{name}.log"

    def begin(self, arguments: Sequence[str], recipe: str) -> None:
        """Start a new run.

        Parameters
        ----------
        arguments
            Of ``multimap train``, without folder and recipe.
        recipe
            As YAML; kept in the folder.

        Raises
        ------
        InputError
            If the folder holds a run.
        """
        if self.order is not None:
            raise InputError(f"{self.folder.url} must be a new folder, found a run in it; resume it, or take another")
        replace(f"{self.folder.url}/recipe.yaml", recipe.encode())
        replace(f"{self.folder.url}/{ORDER}", json.dumps({"arguments": list(arguments)}).encode())
        self.resume()

    @property
    def order(self) -> Json:
        """What was asked for; None if nothing was."""
        return read_json(f"{self.folder.url}/{ORDER}")

    def resume(self) -> None:
        """Start the process, which goes on from the last checkpoint.

        Raises
        ------
        InputError
            If there is nothing to go on with, or a process is at work.
        """
        order = self.order
        if order is None:
            raise InputError(f"{self.folder.url} must hold a run that was started, found none; start one")
        if self.at_work():
            raise InputError("a run is learned by one process at a time, and one is at work; stop it first")
        self.folder.write_control()
        command = [sys.executable, "-m", "multimap_kernel", "train", *order["arguments"]]
        command += ["--recipe", f"{self.folder.url}/recipe.yaml", "--folder", self.folder.url]
        pid = _spawn(command, self.log)
        known = {"host": socket.gethostname(), "pid": pid, "born": psutil.Process(pid).create_time()}
        replace(f"{self.folder.url}/{PROCESS}", json.dumps(known).encode())

    def stop(self) -> None:
        """Ask for the end; it comes with a checkpoint. Before learning has begun the process is ended at once."""
        self.folder.write_control(stop=True)
        process = self._process()
        if process is not None and not self.folder.read_events():
            process.terminate()

    def at_work(self) -> bool:
        """Whether its process lives on this machine."""
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        known = read_json(f"{self.folder.url}/{PROCESS}")
        if known is None or known["host"] != socket.gethostname():
            return None
        try:
            process = psutil.Process(known["pid"])
            if process.status() == psutil.STATUS_ZOMBIE:
                with suppress(psutil.TimeoutExpired):  # a child of a kernel that is gone is for the system to bury
                    process.wait(0)
                return None
            return process if abs(process.create_time() - known["born"]) < 1 else None
        except psutil.NoSuchProcess:
            return None

    def state(self, last: str) -> State:
        """What the run is doing.

        Parameters
        ----------
        last
            Kind of its last event; "" if there is none.
        """
        if self.order is None:
            return "new"
        if self.at_work():
            return "stopping" if self.folder.read_control().get("stop") else "running"
        if last == "judged":
            return "done"
        return "stopped" if last == "stopped" or self.folder.read_control().get("stop") else "failed"

    def last_words(self) -> str:
        """The end of what the process said."""
        return self.log.read_text(errors="replace")[-TAIL:].strip() if self.log.is_file() else ""


def _spawn(command: Sequence[str], log: Path) -> int:
    """Start a process in a session of its own, so that a kernel that is restarted does not take it along."""
    private = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), private, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], list(command), os.environ, file_actions=files, setsid=True)
