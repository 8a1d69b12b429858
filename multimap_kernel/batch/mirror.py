"""The folder of an attempt, written on this machine and kept equal in the store, without haste."""

from __future__ import annotations

import logging
import posixpath
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.batch.lease import Lease, Pace
from multimap_kernel.batch.records import RUN
from multimap_kernel.io.store import limit
from multimap_kernel.schema import StorageError

LOG = logging.getLogger(__name__)
PAUSE_S = 1.0  # an object store takes about one write per second to the same object
FIRST_S, LONGEST_S = 0.5, 16.0  # pauses between tries


def is_local(url: str) -> bool:
    """Whether this is a folder on this machine."""
    return isinstance(fsspec.core.url_to_fs(url)[0], LocalFileSystem)


class Mirror:
    """One folder here and its copy there; each file goes up when it has changed, at most once a second.

    Parameters
    ----------
    url
        Where the folder belongs. On this machine it is written in place, and there is nothing to copy.
    patience_s
        Seconds that one file may take, and for which a store that stays away is tried again at the end.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self.url, self._patience_s = url, patience_s
        self._remote = not is_local(url)
        self.folder = Path(tempfile.mkdtemp(prefix="multimap-batch-")) if self._remote else Path(url)
        self._sent: dict[Path, tuple[tuple[int, int], float]] = {}
        self._sending = threading.Lock()

    def sync(self, *, wait: bool = False) -> None:
        """Send what has changed and was not sent within the last second; ``run.json``, which tells the end, last.

        Parameters
        ----------
        wait
            Wait for that second instead of leaving the file for later.

        Raises
        ------
        StorageError
            If the store does not take it.
        """
        with self._sending:
            files = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".part"]
            for path in sorted(files, key=lambda path: (path.name == RUN, path)) if self._remote else ():
                self._send(path, wait)

    def _send(self, path: Path, wait: bool) -> None:
        if not path.exists():
            return  # it was replaced at this moment; the next round sees the new one
        facts = path.stat()
        state = facts.st_mtime_ns, facts.st_size
        last, when = self._sent.get(path, ((0, 0), 0.0))
        early = PAUSE_S - (time.monotonic() - when)
        if state == last or (early > 0 and not wait):
            return
        time.sleep(max(early, 0.0))
        content = path.read_bytes()
        if path.suffix == ".ipynb" and not content.rstrip().endswith(b"}"):
            return  # it is just being saved
        self._sent[path] = (last, time.monotonic())
        target = posixpath.join(self.url, path.relative_to(self.folder).as_posix())
        fs, place = fsspec.core.url_to_fs(target)
        try:
            fs.pipe_file(place, content, **limit(fs, self._patience_s))
        except Exception as fault:  # each file system has its own
            raise StorageError(f"{target} must be writable, found: {fault!r}") from fault
        self._sent[path] = (state, time.monotonic())

    def finish(self) -> None:
        """Send everything, trying again with growing pauses, and clear the folder here.

        Raises
        ------
        StorageError
            If the store stays away; the files are still in ``folder``, and the message says so.
        """
        if not self._remote:
            return
        try:
            persist(partial(self.sync, wait=True), self._patience_s)
        except StorageError as fault:
            tried = f"tried for {self._patience_s:.0f} s"
            raise StorageError(f"{fault}; {tried}; the work is kept in {self.folder}") from fault
        with self._sending:
            self._remote = False
            shutil.rmtree(self.folder)


def persist(work: Callable[[], object], patience_s: float) -> None:
    """Do something with the store again and again until it succeeds or patience ends.

    The pauses double from half a second to 16 s, each shortened at random by up to a half, so that many runs that
    were refused together do not come back together.

    Raises
    ------
    StorageError
        The last one.
    """
    begun, pause = time.monotonic(), FIRST_S
    while True:
        try:
            work()
        except StorageError as fault:
            if time.monotonic() - begun + pause > patience_s:
                raise
            LOG.warning("%s; trying again", fault)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            pause = min(2 * pause, LONGEST_S)
        else:
            return


class Keeper:
    """Keeps a running attempt alive: renews its lease, sends what has changed, and notices when the lease is lost.

    Parameters
    ----------
    lease, mirror
        Of the attempt.
    pace
        How often the lease is renewed.
    """

    def __init__(self, lease: Lease, mirror: Mirror, pace: Pace) -> None:
        self.lost = threading.Event()
        self._lease, self._mirror, self._pace = lease, mirror, pace
        self._over = threading.Event()
        self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="multimap-lease", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> bool:
        """Whether the lease is still ours; asked before everything that is written. In doubt, it is."""
        with suppress(StorageError):
            if self._lease.lost:
                self.lost.set()
        return not self.lost.is_set()

    def _keep(self) -> None:
        while not self.lost.is_set():
            try:
                if self.check() and not self._over.is_set():
                    self._beat()
                    self._mirror.sync()
            except StorageError as fault:  # the notebook goes on; what is missing goes up later
                LOG.warning("%s", fault)
            if self._over.wait(min(PAUSE_S, self._pace.heartbeat_s)):
                return

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= self._pace.heartbeat_s:
            self._lease.beat()
            self._beaten = time.monotonic()
