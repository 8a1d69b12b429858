"""Who works on a session: of two batches that want the same one, only one gets it, and a dead one blocks nobody.

An attempt belongs to whoever creates its ``lease.json`` exclusively. The file stays, so a number is never given
twice. Its holder renews the heartbeat; when that stops, another may take the next number, and a holder that finds a
higher number than its own has lost its session and must write nothing more. Nobody ever writes over another's lease,
so the protocol asks of a store only exclusive creation and reading of what was written.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import socket
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import psutil

from multimap_kernel.io import store
from multimap_kernel.schema import StorageError

LEASE = "lease.json"


@dataclass(frozen=True)
class Pace:
    """How often a lease is renewed, and after how long without renewal another may take over, in seconds."""

    heartbeat_s: float = 15.0
    stale_s: float = 90.0


@dataclass(frozen=True)
class Holder:
    """The content of a lease.

    Parameters
    ----------
    owner
        Random, so that a process knows its own lease.
    host
        Name of its machine, for people.
    machine, pid, born
        The running system and process namespace, the process, and the second in which it started: on the same machine
        a dead process is known at once. ``machine`` is empty where the system does not tell.
    heartbeat
        UTC, ISO 8601.
    released
        The attempt has ended, and its ``run.json`` says how.
    """

    owner: str
    host: str
    machine: str
    pid: int
    born: float
    heartbeat: str
    released: bool = False

    def to_json(self) -> bytes:
        """The content of ``lease.json``."""
        return json.dumps(asdict(self)).encode()

    def alive(self, pace: Pace) -> bool:
        """Whether its holder is still at work, as far as can be known from here."""
        if self.released:
            return False
        if self.machine and self.machine == _machine():
            with suppress(psutil.Error):
                return self._fresh(pace) and abs(psutil.Process(self.pid).create_time() - self.born) < 1.0
            return False
        return self._fresh(pace)

    def _fresh(self, pace: Pace) -> bool:
        age = datetime.now(UTC) - datetime.fromisoformat(self.heartbeat)
        return age.total_seconds() < pace.stale_s


class Lease:
    """The right to write one attempt; made by `take`. No call waits longer for the store than a lease lives."""

    def __init__(self, session: str, attempt: int, holder: Holder, pace: Pace) -> None:
        self.attempt = attempt
        self.folder = posixpath.join(session, f"attempt-{attempt}")
        self._next = posixpath.join(session, f"attempt-{attempt + 1}")
        self._holder, self._pace = holder, pace

    @property
    def lost(self) -> bool:
        """Whether another has taken the session over."""
        return holder_of(self._next, self._pace.stale_s) is not None

    def beat(self) -> None:
        """Renew the heartbeat."""
        self._holder = replace(self._holder, heartbeat=now())
        write(posixpath.join(self.folder, LEASE), self._holder.to_json(), self._pace.stale_s)

    def release(self) -> None:
        """Tell that the attempt has ended."""
        done = replace(self._holder, heartbeat=now(), released=True)
        write(posixpath.join(self.folder, LEASE), done.to_json(), self._pace.stale_s)


def take(session: str, pace: Pace) -> Lease | None:
    """Take the next attempt of a session.

    Parameters
    ----------
    session
        Path or URL of the folder that holds the attempts.
    pace
        When a lease counts as given up.

    Returns
    -------
    The lease, or None if another is at work on the session.

    Raises
    ------
    StorageError
        If the folder cannot be read or written.
    """
    while True:
        last = last_attempt(session)
        holder = holder_of(posixpath.join(session, f"attempt-{last}")) if last else None
        if holder is not None and holder.alive(pace):
            return None
        process = psutil.Process(os.getpid())
        mine = Holder(uuid.uuid4().hex, socket.gethostname(), _machine(), process.pid, process.create_time(), now())
        lease = Lease(session, last + 1, mine, pace)
        if _create(lease.folder, mine) or _owner(lease.folder) == mine.owner:
            return lease  # an object store may have created it and lost the answer, and refuse the second try


def last_attempt(session: str) -> int:
    """The highest number of an attempt in a session's folder, 0 if there is none."""
    fs, base = fsspec.core.url_to_fs(session)
    try:
        fs.invalidate_cache()  # what others wrote must be seen
        names = [posixpath.basename(str(path).rstrip("/")) for path in fs.ls(base, detail=False)]
    except FileNotFoundError:
        return 0
    except Exception as fault:  # each file system has its own
        raise StorageError(f"{session} must be readable, found: {fault!r}") from fault
    numbers = [int(found[1]) for name in names if (found := re.fullmatch(r"attempt-(\d+)", name))]
    return max(numbers, default=0)


def holder_of(folder: str, within_s: float = 0.0) -> Holder | None:
    """Who holds or held an attempt; None if nobody ever did. ``within_s`` as in `io.store.limit`."""
    try:
        content = store.read_json(posixpath.join(folder, LEASE), within_s)
    except StorageError:
        raise
    except Exception as fault:
        raise StorageError(f"{folder} must be readable, found: {fault!r}") from fault
    return None if content is None else Holder(**content)


def _owner(folder: str) -> str:
    holder = holder_of(folder)
    return "" if holder is None else holder.owner


def _create(folder: str, holder: Holder) -> bool:
    try:
        return store.create_exclusive(posixpath.join(folder, LEASE), holder.to_json())
    except Exception as fault:
        raise StorageError(f"{folder} must be writable, found: {fault!r}") from fault


def write(url: str, content: bytes, within_s: float = 0.0) -> None:
    """Write a small file whole, over what was there; ``within_s`` as in `io.store.limit`.

    Raises
    ------
    StorageError
        Whatever the file system raised.
    """
    try:
        store.replace(url, content, within_s)
    except Exception as fault:  # each file system has its own
        raise StorageError(f"{url} must be writable, found: {fault!r}") from fault


def _machine() -> str:
    """Identity of the running system and of its process numbers; empty where Linux does not tell."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # the link leads to no path
    return ""


def now() -> str:
    """The time now, UTC, ISO 8601; what leases and records tell."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
