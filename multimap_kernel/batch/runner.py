"""Executes one notebook for many sessions with papermill, several at a time, and tells the truth about each."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multimap_kernel.batch.page import write_page
from multimap_kernel.batch.process import execute
from multimap_kernel.batch.status import (
    TRANSIENT,
    RunRecord,
    Status,
    correct_notebook,
    find_failure,
    hash_notebook,
    hash_recipe,
    status_of,
)
from multimap_kernel.batch.table import Row, check_table
from multimap_kernel.compute import SCHEDULER, cluster
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.schema import InputError, StorageError

__all__ = ["Progress", "Row", "RunRecord", "run_batch"]

ATTEMPTS = 2  # a run that a machine broke, and not its notebook, is tried once more
LOG_TAIL = 20  # lines


@dataclass(frozen=True)
class Progress:
    """Where one row of the table stands: code cells done of all, and the peak memory so far."""

    session: str
    attempt: int
    status: Status
    cells_done: int
    cells: int
    peak_memory_bytes: int


def run_batch(
    notebook: str | Path,
    table: Sequence[Row],
    *,
    runs: str | Path,
    jobs: int = 1,
    runtime: Runtime | None = None,
    timeout_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[RunRecord]:
    """Execute a notebook once for each row of a table.

    Each row gets ``<runs>/<run_id>/<session>/attempt-<n>/`` with ``notebook.ipynb``, ``notebook.html``, ``run.json``
    and ``log.txt``; nothing that exists is written over. The notebooks see ``MULTIMAP_BATCH=1`` and, when there is
    one, the address of the cluster that they share in ``MULTIMAP_SCHEDULER``.

    Parameters
    ----------
    notebook
        The notebook; it has one cell tagged ``parameters``.
    table
        Sessions with their parameters.
    runs
        A folder on this machine.
    jobs
        How many notebooks are executed at a time.
    runtime
        Its cluster is started once and shared; None for none.
    timeout_s
        Seconds that one notebook may take; 0 for no limit.
    on_progress
        Called twice a second for each running row, by one thread at a time.

    Returns
    -------
    The last attempt of each row, in the order of the table. A failed row stops no other.

    Raises
    ------
    RecipeError
        If the table does not fit the notebook; then nothing has been started.
    InputError
        If the notebook or its kernel is missing, or ``runs`` is no local folder.
    ClusterError
        If the shared cluster does not start.
    """
    notebook = Path(notebook).resolve()
    check_table(notebook, table)
    if "://" in str(runs):
        raise InputError(
            f"runs must be a folder on this machine, found {str(runs)!r}; copy the folder there afterwards"
        )
    hashes = [_recipe_hash(row.parameters) for row in table]
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{notebook.stem}"
    drafts = [
        RunRecord(
            run_id=run_id,
            session=row.session,
            attempt=0,
            folder=str(Path(runs).resolve() / run_id / row.session),
            notebook=str(notebook),
            parameters=dict(row.parameters),
            notebook_hash=hash_notebook(notebook),
            recipe_hash=recipe_hash,
            code_version=version("multimap"),
        )
        for row, recipe_hash in zip(table, hashes, strict=True)
    ]
    with cluster(runtime or Runtime(cluster={"kind": "threads"})) as client:
        environment = {**os.environ, "MULTIMAP_BATCH": "1"}
        if client is not None and client.scheduler is not None:
            environment[SCHEDULER] = str(client.scheduler.address)
        return _Batch(environment, timeout_s, on_progress).run(drafts, jobs)


class _Batch:
    """What all rows of one call share."""

    def __init__(
        self, environment: Mapping[str, str], timeout_s: float, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._environment = environment
        self._timeout_s = timeout_s
        self._on_progress = on_progress
        self._telling = threading.Lock()
        self._stop = threading.Event()

    def run(self, drafts: Sequence[RunRecord], jobs: int) -> list[RunRecord]:
        with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="multimap-batch") as pool:
            try:
                return list(pool.map(self._row, drafts))
            except BaseException:  # also Ctrl-C: no notebook outlives its batch
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _row(self, draft: RunRecord) -> RunRecord:
        for _ in range(ATTEMPTS):
            record = self._attempt(draft)
            if record.exit_code not in TRANSIENT or self._stop.is_set():
                break
        return record

    def _attempt(self, draft: RunRecord) -> RunRecord:
        attempt, folder = _claim(Path(draft.folder))
        record = dataclasses.replace(draft, attempt=attempt, folder=str(folder), started=_now())
        record.save()
        shutil.copyfile(record.notebook, folder / "notebook.ipynb")  # readable, whatever happens before the first save
        code, peak = execute(
            folder,
            self._environment,
            timeout_s=self._timeout_s,
            stop=self._stop,
            watch=lambda peak: self._tell(dataclasses.replace(record, peak_memory_bytes=peak)),
        )
        record = _conclude(record, code, peak)
        self._tell(record)
        return record

    def _tell(self, record: RunRecord) -> None:
        if self._on_progress is None:
            return
        done, total = _cells(Path(record.folder, "notebook.ipynb"))
        with self._telling:
            self._on_progress(
                Progress(record.session, record.attempt, record.status, done, total, record.peak_memory_bytes)
            )


def _claim(place: Path) -> tuple[int, Path]:
    """Make the folder of the next attempt; of two that want the same one, only one gets it."""
    attempt = 1
    while True:
        folder = place / f"attempt-{attempt}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            attempt += 1
        except OSError as fault:
            raise StorageError(f"{place} must be writable, found: {fault}") from fault
        else:
            return attempt, folder


def _conclude(record: RunRecord, code: int, peak: int) -> RunRecord:
    """Write down what happened: notebook and page first, ``run.json`` last."""
    folder = Path(record.folder)
    path = folder / "notebook.ipynb"
    log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    record = dataclasses.replace(record, status=status_of(code), exit_code=code, ended=_now(), peak_memory_bytes=peak)
    if code:
        try:
            cell, error = find_failure(path)
        except (OSError, ValueError):  # killed before the first save, or in the middle of one
            cell, error = "", "the notebook was not saved"
        record = dataclasses.replace(
            record, cell=cell, error=error or _reason(code), log_tail="\n".join(log[-LOG_TAIL:])
        )
    try:
        correct_notebook(path, record)
        write_page(path)
    except (OSError, ValueError) as fault:
        record = dataclasses.replace(record, error=record.error or f"the executed notebook cannot be read: {fault}")
    record.save()
    return record


def _reason(code: int) -> str:
    return {
        "died": f"the kernel or its process was killed (exit code {code}); most often memory ran out",
        "timed-out": "the time limit was reached",
        "preempted": "the run was asked to stop",
    }.get(status_of(code), f"the process ended with exit code {code}; see log.txt")


def _cells(path: Path) -> tuple[int, int]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return 0, 0  # not there yet, or just being written
    states = [cell["metadata"].get("papermill", {}).get("status") for cell in cells if cell["cell_type"] == "code"]
    return states.count("completed"), len(states)


def _recipe_hash(parameters: Mapping[str, Any]) -> str:
    """Read the recipe that a notebook is given now, so that a bad one stops the batch and not each row."""
    if "recipe" not in parameters:
        return ""
    return hash_recipe(Recipe.load(parameters["recipe"]) if parameters["recipe"] else Recipe())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
