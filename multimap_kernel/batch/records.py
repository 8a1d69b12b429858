"""What is written down about a run: one ``run.json`` for each attempt, and the way back to all of them.

``<runs>/<run_id>/<session>/attempt-<n>/`` holds ``notebook.ipynb``, ``notebook.html``, ``run.json``, ``log.txt``,
``lease.json`` and ``pictures/``; ``latest.json`` beside the attempts names the newest that ended. An attempt writes
into no other's folder, but for the ``run.json`` of one that still says ``running`` and whose process is gone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.batch.lease import Pace, holder_of, last_attempt
from multimap_kernel.batch.status import ExitCode, Status
from multimap_kernel.config import Recipe
from multimap_kernel.io.store import canonical, read_json
from multimap_kernel.schema import StorageError

RUN = "run.json"
LATEST = "latest.json"
NOTEBOOK = "notebook.ipynb"
PAGE = "notebook.html"
LOG = "log.txt"
PICTURES = "pictures"


@dataclass(frozen=True)
class RunRecord:
    """One attempt at one notebook; ``run.json`` is this, and nothing else says what happened.

    Parameters
    ----------
    run_id, session, attempt
        Which attempt of which row of which run.
    folder
        Path or URL of the attempt.
    notebook, parameters
        What was executed.
    notebook_hash, git_commit
        sha256 of the notebook's file, and the Git commit that it comes from (``+`` behind it if the file was changed
        since; empty outside a repository).
    recipe, recipe_hash
        The recipe, and sha256 of it without its name; both empty if the notebook takes none.
    keys
        For each step of the line the key of its result, as planned before the start; for a notebook about a whole
        study, of each session the key of its maps; empty for one without a study.
    code_version, image
        Version of multimap, and the image with its digest (empty outside a container).
    host
        Name of the machine.
    status, exit_code
        What became of it; the exit code is None while it runs.
    started, ended
        UTC, ISO 8601.
    peak_memory_bytes
        Largest proportional set size of the process tree; workers of a shared cluster are not in it.
    cell, error, log_tail
        Of a run that is not done: the cell that was running, what was raised, the end of the log.
    """

    run_id: str
    session: str
    attempt: int
    folder: str
    notebook: str
    parameters: dict[str, Any] = field(default_factory=dict)
    notebook_hash: str = ""
    git_commit: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_hash: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    code_version: str = ""
    image: str = ""
    host: str = ""
    status: Status = "running"
    exit_code: int | None = None
    started: str = ""
    ended: str = ""
    peak_memory_bytes: int = 0
    cell: str = ""
    error: str = ""
    log_tail: str = ""

    def to_json(self) -> bytes:
        """The content of ``run.json``."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    def save(self, folder: Path) -> None:
        """Write ``run.json`` into a folder; a reader sees the old one or the new one, never a half."""
        part = folder / f"{RUN}.part"
        part.write_bytes(self.to_json())
        part.replace(folder / RUN)

    @classmethod
    def load(cls, folder: str | Path) -> RunRecord:
        """Read ``run.json`` of an attempt's folder on this machine."""
        return cls.from_json(Path(folder, RUN).read_bytes())

    @classmethod
    def from_json(cls, content: bytes) -> RunRecord:
        """Read the content of ``run.json``; fields that another version of multimap added are left out."""
        known = {one.name for one in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in json.loads(content).items() if name in known})

    def same_work(self, other: RunRecord) -> bool:
        """Whether both runs execute the same notebook with the same parameters and recipe, and plan the same keys.

        Keys follow raw files, decisions and the versions of steps and libraries. Another ``code_version``, Git commit
        or image alone is no other work.
        """
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("parameters", "notebook_hash", "recipe_hash", "keys")
        )


def list_runs(runs: str | Path, *, latest: bool = False) -> list[RunRecord]:
    """List the records below a folder of runs, and tell of each what is true now.

    A record that says ``running`` while nobody holds its lease any more, because its machine or its batch is gone, is
    given as ``died``; the file itself is corrected by the next batch.

    Parameters
    ----------
    runs
        Path or URL that holds ``<run_id>/<session>/attempt-<n>``.
    latest
        Only the newest attempt of each session of each run.

    Returns
    -------
    Records by run, session and attempt; ``folder`` is where the record was found.

    Raises
    ------
    StorageError
        If the folder cannot be read. One that is not there has no runs.
    """
    fs, base = fsspec.core.url_to_fs(str(runs))
    try:
        fs.invalidate_cache()  # what others wrote must be seen
        paths = fs.glob(posixpath.join(base, "*", "*", "attempt-*", RUN))
        contents = fs.cat(paths, on_error="omit") if paths else {}
        found = [_found(fs, path, content) for path, content in contents.items()]
    except Exception as fault:  # each file system has its own
        raise StorageError(f"{runs} must be readable, found: {fault!r}; check the address and your rights") from fault
    found.sort(key=lambda record: (record.run_id, record.session, record.attempt))
    if latest:
        found = list({(record.run_id, record.session): record for record in found}.values())
    return found


def _found(fs: Any, path: str, content: bytes) -> RunRecord:
    folder = posixpath.dirname(path)
    place = folder if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(folder))
    return truth(dataclasses.replace(RunRecord.from_json(content), folder=place))


def newest(session: str) -> RunRecord | None:
    """The record of the last attempt in a session's folder, as it stands now; None if there is none.

    Raises
    ------
    StorageError
        If the folder cannot be read.
    """
    number = last_attempt(session)
    found = load(posixpath.join(session, f"attempt-{number}")) if number else None
    return None if found is None else truth(found)


def load(folder: str) -> RunRecord | None:
    """The record of an attempt's folder, wherever it is; None if there is none.

    Raises
    ------
    StorageError
        If it cannot be read.
    """
    try:
        found = read_json(posixpath.join(folder, RUN))
    except StorageError:
        raise
    except Exception as fault:  # each file system has its own
        raise StorageError(f"{folder} must be readable, found: {fault!r}") from fault
    return (
        None if found is None else dataclasses.replace(RunRecord.from_json(json.dumps(found).encode()), folder=folder)
    )


def truth(record: RunRecord, pace: Pace | None = None) -> RunRecord:
    """The record as it stands, or as ``died`` if it says ``running`` and nobody runs it."""
    if record.status != "running":
        return record
    holder = holder_of(record.folder)
    if holder is not None and holder.alive(pace or Pace()):
        return record
    last = "never" if holder is None else holder.heartbeat
    error = f"the process that ran it is gone without a word; it was last heard of at {last} on {record.host}"
    return dataclasses.replace(record, status="died", exit_code=ExitCode.KILLED, error=error)


def hash_notebook(path: str | Path) -> str:
    """The sha256 of a notebook's file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def hash_recipe(recipe: Recipe) -> str:
    """The sha256 of everything in a recipe but its name, which changes no result."""
    return hashlib.sha256(canonical(recipe.model_dump(mode="json", exclude={"name"}))).hexdigest()
