"""Executes one notebook for many sessions with papermill, several at a time, and tells the truth about each."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from multimap_kernel.batch.attempt import Conditions, attempt
from multimap_kernel.batch.lease import now
from multimap_kernel.batch.mirror import is_local
from multimap_kernel.batch.notebook import count_cells
from multimap_kernel.batch.process import Limits
from multimap_kernel.batch.records import NOTEBOOK, RunRecord, hash_notebook, hash_recipe, newest
from multimap_kernel.batch.selection import Only, has_work, plan_rows, recipe_of
from multimap_kernel.batch.source import git_commit, image
from multimap_kernel.batch.status import SETTLED, TRANSIENT, ExitCode, Status
from multimap_kernel.batch.table import Row, check_table
from multimap_kernel.compute import cluster, joining
from multimap_kernel.config import Runtime
from multimap_kernel.io.files import localise
from multimap_kernel.schema import StorageError

__all__ = ["Progress", "Row", "RunRecord", "run_batch"]

POLL_S = 2.0  # how often a session that another batch is at work on is asked for


@dataclass(frozen=True)
class Progress:
    """Where one row of the table stands: code cells done of all, and the peak memory so far."""

    session: str
    attempt: int
    status: Status
    cells_done: int
    cells: int
    peak_memory_bytes: int
    started: str = ""
    ended: str = ""
    note: str = ""


def run_batch(
    notebook: str | Path,
    table: Sequence[Row],
    *,
    runs: str | Path,
    run_id: str = "",
    only: Only = "",
    jobs: int = 1,
    runtime: Runtime | None = None,
    timeout_s: float = 0.0,
    memory_bytes: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[RunRecord]:
    """Execute a notebook once for each row of a table that has something to do.

    Each row gets ``<runs>/<run_id>/<session>/attempt-<n>/`` with ``notebook.ipynb``, ``notebook.html``, ``run.json``,
    ``log.txt`` and ``pictures/``; an earlier attempt stays as it ended. The notebooks see ``MULTIMAP_BATCH=1`` and,
    when there is one, the address of the cluster that they share in ``MULTIMAP_SCHEDULER``. A row that another batch
    is at work on is left to it, and its record is waited for.

    Parameters
    ----------
    notebook
        Path or URL of the notebook; it has one cell tagged ``parameters``.
    table
        Sessions with their parameters.
    runs
        Path or URL.
    run_id
        Name of the run; the name of the notebook if none is given. The same name goes on with what is there.
    only
        ``failed``, ``changed`` or ``all``; empty: everything that is not done with this notebook, these parameters,
        this recipe and the keys that it plans, except what would only fail again (bad input, an excluded session).
    jobs
        How many notebooks are executed at a time.
    runtime
        Its cluster is started once and shared; None for none.
    timeout_s
        Seconds that one notebook may take; 0 for no limit.
    memory_bytes
        Memory that one notebook with its kernel may take, bytes; over it, the kernel is killed. 0 for no limit.
    on_progress
        Called four times a second for each running row, by one thread at a time.

    Returns
    -------
    The last attempt of each row, in the order of the table; ``waiting`` if there is none. A failed row stops no other.

    Raises
    ------
    RecipeError
        If the table does not fit the notebook; then nothing has been started.
    InputError
        If the notebook, its kernel, or a session is missing.
    StorageError
        If the runs cannot be listed.
    ClusterError
        If the shared cluster does not start.
    """
    local = localise(str(notebook)).resolve()
    check_table(local, table)
    planned = plan_rows(table)
    name = run_id or re.sub(r"[^A-Za-z0-9_.-]", "-", local.stem)
    place = posixpath.join(str(Path(runs).resolve()) if is_local(str(runs)) else str(runs).rstrip("/"), name)
    source = RunRecord(
        run_id=name,
        session="",
        attempt=0,
        folder=place,
        notebook=str(local) if is_local(str(notebook)) else str(notebook),
        notebook_hash=hash_notebook(local),
        git_commit=git_commit(local),
        code_version=version("multimap"),
        image=image(),
    )
    drafts = [_draft(source, row, line.keys) for row, line in zip(table, planned, strict=True)]
    found = [newest(draft.folder) for draft in drafts]
    todo = {
        draft.session: draft
        for draft, last, line in zip(drafts, found, planned, strict=True)
        if has_work(draft, last, line, only)
    }
    records = {draft.session: last or draft for draft, last in zip(drafts, found, strict=True)}
    if todo:
        with cluster(runtime or Runtime(cluster={"kind": "threads"})) as client:
            environment = {**os.environ, "MULTIMAP_BATCH": "1"}
            if client is not None and client.scheduler is not None:
                environment |= joining(client)
            conditions = Conditions(local, environment, Limits(timeout_s, memory_bytes))
            records |= _Batch(conditions, on_progress).run(list(todo.values()), jobs)
    return [records[draft.session] for draft in drafts]


def _draft(source: RunRecord, row: Row, keys: Mapping[str, str]) -> RunRecord:
    """What a row would execute; a recipe that cannot be read stops the batch here, and not each row."""
    recipe = recipe_of(row.parameters)
    return dataclasses.replace(
        source,
        session=row.session,
        folder=posixpath.join(source.folder, row.session),
        parameters=dict(row.parameters),
        recipe=recipe.model_dump(mode="json") if recipe else {},
        recipe_hash=hash_recipe(recipe) if recipe else "",
        keys=dict(keys),
        status="waiting",
    )


class _Batch:
    """What all rows of one call share."""

    def __init__(self, conditions: Conditions, on_progress: Callable[[Progress], None] | None) -> None:
        self._conditions = conditions
        self._on_progress = on_progress
        self._telling = threading.Lock()
        self._cells: dict[str, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._begun = now()

    def run(self, drafts: Sequence[RunRecord], jobs: int) -> dict[str, RunRecord]:
        """All rows that nobody is at work on, then those that somebody was."""
        for draft in drafts:
            self._tell(draft)
        records: dict[str, RunRecord] = {}
        for wait in (False, True):
            left = [draft for draft in drafts if draft.session not in records]
            with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="multimap-batch") as pool:
                try:
                    ended = list(pool.map(partial(self._row, wait=wait), left))
                except BaseException:  # also Ctrl-C: no notebook outlives its batch
                    self._stop.set()
                    pool.shutdown(cancel_futures=True)
                    raise
            records |= {record.session: record for record in ended if record is not None}
        return records

    def _row(self, draft: RunRecord, *, wait: bool) -> RunRecord | None:
        record = self._turn(draft, wait=wait)
        if record is not None and record.exit_code in TRANSIENT and not self._stop.is_set():
            record = self._turn(draft, wait=True)  # a machine broke it, and not its notebook: it is tried once more
        if record is not None:
            self._tell(record)
        return record

    def _turn(self, draft: RunRecord, *, wait: bool) -> RunRecord | None:
        """Execute a row, or take over what another batch made of it in the meantime."""
        while True:
            if (other := self._by_another(draft)) is not None:
                return other
            record = attempt(draft, self._conditions, self._stop, self._watch)
            if record is not None or not wait:
                return record
            self._tell(draft, "another batch is at work on it")
            if self._stop.wait(POLL_S):
                return dataclasses.replace(
                    draft, status="preempted", exit_code=ExitCode.PREEMPTED, error="the batch was asked to stop"
                )

    def _by_another(self, draft: RunRecord) -> RunRecord | None:
        try:
            last = newest(draft.folder)
        except StorageError:
            return None  # the attempt will say so
        fits = last is not None and last.status in SETTLED and last.same_work(draft)
        return last if fits and last is not None and last.started > self._begun else None

    def _watch(self, record: RunRecord, folder: Path) -> None:
        self._cells[record.session] = count_cells(folder / NOTEBOOK)
        self._tell(record)

    def _tell(self, record: RunRecord, note: str = "") -> None:
        if self._on_progress is None:
            return
        done, total = self._cells.get(record.session, (0, 0))
        with self._telling:
            self._on_progress(
                Progress(
                    record.session,
                    record.attempt,
                    record.status,
                    done,
                    total,
                    record.peak_memory_bytes,
                    record.started,
                    record.ended,
                    note or record.error,
                )
            )
