"""One attempt at one row: taken, executed, concluded, sent home."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import posixpath
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from multimap_kernel.batch.lease import Pace, now, take, write
from multimap_kernel.batch.mirror import Keeper, Mirror, persist
from multimap_kernel.batch.notebook import correct_notebook, find_failure, save_pictures
from multimap_kernel.batch.page import write_page
from multimap_kernel.batch.process import Limits, Outcome, execute
from multimap_kernel.batch.records import LATEST, LOG, NOTEBOOK, PICTURES, RUN, RunRecord, load, truth
from multimap_kernel.batch.status import ExitCode, reason_of, status_of
from multimap_kernel.schema import StorageError

LOG_TAIL = 20  # lines


@dataclass(frozen=True)
class Conditions:
    """What all attempts of a batch share.

    Parameters
    ----------
    notebook
        The notebook's file on this machine.
    environment
        Of the processes that execute the notebooks.
    limits
        Of one notebook.
    pace
        Of the leases.
    patience_s
        Seconds for which a store that stays away is tried again.
    """

    notebook: Path
    environment: Mapping[str, str]
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    patience_s: float = 120.0


def attempt(
    draft: RunRecord, conditions: Conditions, stop: threading.Event, tell: Callable[[RunRecord, Path], None]
) -> RunRecord | None:
    """Execute a notebook once in the next attempt's folder.

    Parameters
    ----------
    draft
        What to execute; ``folder`` is the session's, where the attempts are.
    conditions
        How.
    stop
        When set, the notebook is ended and its state saved.
    tell
        Called with the record as it stands and the folder on this machine.

    Returns
    -------
    The record as it was written, or None if another process is at work on this session. Of an attempt that lost its
    session to another, ``preempted``, nothing is written; a store that stays away is told as ``storage-failed``.
    """
    try:
        lease = take(draft.folder, conditions.pace)
        if lease is None:
            return None
        record = dataclasses.replace(
            draft,
            attempt=lease.attempt,
            folder=lease.folder,
            status="running",
            started=now(),
            host=socket.gethostname(),
        )
        mirror = Mirror(lease.folder, conditions.patience_s)
        # written down before it happens; a reader finds the notebook from the first moment on
        shutil.copyfile(conditions.notebook, mirror.folder / NOTEBOOK)
        record.save(mirror.folder)
    except (StorageError, OSError) as fault:
        error = f"{draft.folder} must be writable, found: {fault}"
        return dataclasses.replace(draft, status="storage-failed", exit_code=ExitCode.STORAGE, ended=now(), error=error)
    with Keeper(lease, mirror, conditions.pace) as keeper:
        _bury(record, conditions.pace)
        outcome = execute(
            mirror.folder,
            conditions.environment,
            limits=conditions.limits,
            stop=stop,
            lost=keeper.lost,
            watch=lambda peak: tell(dataclasses.replace(record, peak_memory_bytes=peak), mirror.folder),
        )
        if not keeper.check():
            error = "another process has taken this session over; nothing more was written here"
            return dataclasses.replace(
                record, status="preempted", exit_code=ExitCode.PREEMPTED, ended=now(), error=error
            )
        ended = _verdict(record, outcome, mirror.folder, conditions.notebook)
        tell(dataclasses.replace(ended, status="running"), mirror.folder)
        ended = _settle(ended, mirror, conditions.patience_s)
    if ended.status != "storage-failed":  # there it would wait for nothing: a lease that nobody renews ends by itself
        with contextlib.suppress(StorageError):
            lease.release()
    return ended


def _bury(record: RunRecord, pace: Pace) -> None:
    """Write the truth about the attempt before this one, whose process is gone and can no more."""
    if record.attempt == 1:
        return
    folder = posixpath.join(posixpath.dirname(record.folder), f"attempt-{record.attempt - 1}")
    with contextlib.suppress(StorageError):  # `list_runs` tells the same truth without it
        found = load(folder) or dataclasses.replace(record, attempt=record.attempt - 1, folder=folder)
        if found.status == "running":
            write(posixpath.join(folder, RUN), truth(found, pace).to_json())


def _settle(record: RunRecord, mirror: Mirror, patience_s: float) -> RunRecord:
    """Send everything home: ``run.json`` last, and then the pointer to it."""
    if record.status != "preempted":  # there seconds count, and the page can be made from the notebook at any time
        with contextlib.suppress(OSError, ValueError):
            write_page(mirror.folder / NOTEBOOK)
    record.save(mirror.folder)
    latest = posixpath.join(posixpath.dirname(record.folder), LATEST)
    pointer = json.dumps({"attempt": record.attempt, "status": record.status}).encode()
    try:
        mirror.finish()
        persist(partial(write, latest, pointer, patience_s), patience_s)
    except StorageError as fault:
        record = dataclasses.replace(record, status="storage-failed", exit_code=ExitCode.STORAGE, error=str(fault))
        if mirror.folder.is_dir():
            record.save(mirror.folder)
    return record


def _verdict(record: RunRecord, outcome: Outcome, folder: Path, notebook: Path) -> RunRecord:
    """The record with what became of the run; the executed notebook is made to agree."""
    path, code = folder / NOTEBOOK, outcome.code
    record = dataclasses.replace(record, exit_code=code, ended=now(), peak_memory_bytes=outcome.peak_bytes)
    cell, error = "", ""
    if code:
        try:
            cell, error = find_failure(path)
        except (OSError, ValueError):  # killed before the first save, or in the middle of one
            error = "the notebook was not saved"
            shutil.copyfile(notebook, path)
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        record = dataclasses.replace(
            record,
            cell=cell,
            error=outcome.reason or error or reason_of(code),
            log_tail="\n".join(log[-LOG_TAIL:]),
        )
    record = dataclasses.replace(record, status=status_of(code, record.error))
    try:
        correct_notebook(path, record)
        save_pictures(path, folder / PICTURES)
    except (OSError, ValueError) as fault:
        record = dataclasses.replace(record, error=record.error or f"the executed notebook cannot be read: {fault}")
    return record
