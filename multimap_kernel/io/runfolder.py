"""The folder of a training run, on any file system: its history, the orders to it, its checkpoints."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.io.store import replace
from multimap_kernel.schema import InputError, StorageError

EVENTS, CONTROL, CHECKPOINTS = "events.jsonl", "control.json", "checkpoints"
ORDERS = ("pause", "stop")

Json = Any


class RunDirectory:
    """A `RunFolder` under a path or URL.

    ``events.jsonl`` is one JSON object a line, added by the one engine that learns. ``control.json`` holds the orders
    of people. ``checkpoints/<name>`` is replaced whole. A line that a killed engine left half written is ended by the
    next one and skipped by readers.

    Parameters
    ----------
    url
        Path or fsspec URL; made when something is written.
    """

    def __init__(self, url: str) -> None:
        self.url = str(url).rstrip("/")
        self._fs, self._path = fsspec.core.url_to_fs(self.url)
        self._history: bytes | None = None

    def append_event(self, event: Mapping[str, Json]) -> None:
        """Add one line to the history.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        line = json.dumps(dict(event), separators=(",", ":")).encode() + b"\n"
        path = posixpath.join(self._path, EVENTS)
        try:
            if self._history is None:
                self._history = self._ended(path)
            if isinstance(self._fs, LocalFileSystem):
                with self._fs.open(path, "ab") as stream:
                    stream.write(line)
                return
            self._history += line  # objects cannot grow; a history is small
            self._fs.pipe_file(path, self._history)
        except OSError as fault:
            raise StorageError(f"{self.url} must be writable, found: {fault}; check space and rights") from fault

    def _ended(self, path: str) -> bytes:
        """The history so far, its last line ended."""
        self._fs.makedirs(self._path, exist_ok=True)
        history = bytes(self._fs.cat_file(path)) if self._fs.exists(path) else b""
        if history and not history.endswith(b"\n"):
            history += b"\n"
            if isinstance(self._fs, LocalFileSystem):
                with self._fs.open(path, "ab") as stream:
                    stream.write(b"\n")
        return history

    def read_events(self) -> list[dict[str, Json]]:
        """The history, oldest first; half-written lines are left out."""
        return self.follow(0)[0]

    def follow(self, place: int) -> tuple[list[dict[str, Json]], int]:
        """What was added since an earlier look, and the place to look from next; an unfinished line is left for then.

        Parameters
        ----------
        place
            0, or what an earlier call gave.
        """
        content = (self._read(EVENTS) or b"")[place:]
        whole = content.rfind(b"\n") + 1
        events = []
        for line in content[:whole].splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events, place + whole

    def read_control(self) -> Mapping[str, Json]:
        """The orders that stand; none if there is no file."""
        content = self._read(CONTROL)
        return {} if content is None else self._orders(content)

    def _orders(self, content: bytes) -> dict[str, Json]:
        try:
            orders = json.loads(content)
        except ValueError:
            orders = None
        if not isinstance(orders, dict) or not set(orders) <= set(ORDERS):
            raise InputError(
                f"{self.url}/{CONTROL} must hold an object with {' and '.join(ORDERS)} alone, found {content[:80]!r}; "
                "remove the file or write it again"
            )
        return orders

    def write_control(self, *, pause: bool = False, stop: bool = False) -> None:
        """Give orders; they stand until the next."""
        replace(posixpath.join(self.url, CONTROL), json.dumps({"pause": pause, "stop": stop}).encode())

    def save_checkpoint(self, name: str, content: bytes) -> None:
        """Store a checkpoint whole or not at all, over the one of that name.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        try:
            replace(posixpath.join(self.url, CHECKPOINTS, _checked(name)), content)
        except OSError as fault:
            raise StorageError(f"{self.url} must be writable, found: {fault}; check space and rights") from fault

    def load_checkpoint(self, name: str) -> bytes | None:
        """Read a checkpoint, None if there is none."""
        return self._read(posixpath.join(CHECKPOINTS, _checked(name)))

    def _read(self, part: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(posixpath.join(self._path, part)))
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise StorageError(f"{self.url}/{part} could not be read: {fault}; try again") from fault


def _checked(name: str) -> str:
    if not name or posixpath.basename(name) != name or name.startswith("."):
        raise InputError(f"a checkpoint's name must be a plain file name, found {name!r}")
    return name
