"""Commands about batches: execute a notebook for each session, and say where everything is."""

from __future__ import annotations

import os
import posixpath
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from dask.utils import parse_bytes
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from multimap_kernel.batch import jobs
from multimap_kernel.batch.live import HEADER, cells, colour, ordered, summary
from multimap_kernel.batch.records import NOTEBOOK, PAGE, RunRecord, newest
from multimap_kernel.batch.runner import Progress, Row, run_batch
from multimap_kernel.batch.source import image
from multimap_kernel.batch.status import TRANSIENT
from multimap_kernel.batch.table import SESSION, read_parameters, read_table
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.console.screen import OUT
from multimap_kernel.io.files import localise
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import current, plan
from multimap_kernel.schema import InputError

FEW = 8  # rows of a table that fits any terminal
GAP = 2  # between the columns of a table
KEPT = frozenset({"excluded", "held"})  # no failure


def batch(options: Namespace, *, study: str, runtime: Runtime) -> int:
    """Execute a notebook for each row of a table, show its progress, and say where everything is.

    Parameters
    ----------
    options
        Of the command line.
    study
        Name of the study in the store; empty if the table names everything.
    runtime
        Where the store is, and which cluster the notebooks share.

    Returns
    -------
    The worst exit code; 0 also for a session that a person excluded or holds.
    """
    store = Store(runtime.store, study)
    notebook = localise(options.notebook)
    rows = _rows(options, notebook, study, runtime)
    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    runs = options.runs or store.url("runs")
    run_id = options.run_id or (f"{notebook.stem}-{recipe.name}" if options.bids else notebook.stem)
    if options.row:
        rows = [rows[_row_number(options.row, len(rows))]]
        if code := _failed_for_good(posixpath.join(runs, run_id, rows[0].session)):
            return code
    if options.executor != "local":
        return _describe(options, rows, runs, run_id)
    seen: dict[str, Progress] = {}
    with Live(console=OUT, refresh_per_second=2, transient=True) as live:

        def tell(progress: Progress) -> None:
            seen[progress.session] = progress
            live.update(_table(seen))

        records = run_batch(
            options.notebook,
            rows,
            runs=runs,
            run_id=run_id,
            only=options.only,
            jobs=options.jobs,
            runtime=runtime,
            timeout_s=options.timeout,
            memory_bytes=parse_bytes(options.notebook_memory) if options.notebook_memory else 0,
            on_progress=tell,
        )
    if seen:
        OUT.print(_table(seen, whole=True))
    _say_where(records, recipe.name)
    _say_kept(records, seen)
    return max((record.exit_code or 0 for record in records if record.status not in KEPT), default=0)


def _rows(options: Namespace, notebook: Path, study: str, runtime: Runtime) -> list[Row]:
    """The rows of the table, or one for each session, or one for the study if the notebook takes no session.

    What the command names is filled in where the notebook takes it.
    """
    known = read_parameters(notebook)
    given: dict[str, Any] = {"study": study, "store": _place(str(runtime.store)), "recipe": _place(options.recipe)}
    given |= {"bids": _place(options.bids)} if options.bids else {}
    given = {name: value for name, value in given.items() if name in known and (value or name == "recipe")}
    if options.table:
        return [Row(row.session, {**given, **row.parameters}) for row in read_table(options.table, notebook)]
    if not options.bids:
        raise InputError("the rows must come from a BIDS study or from --table, found neither; name one")
    if SESSION not in known:  # a notebook about the whole study
        return [Row(study, given)]
    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    planned = plan(options.bids, study=study, sessions=options.sessions, recipe=recipe, runtime=runtime)
    return [Row(session.session, {**given, SESSION: session.session}) for session in planned]


def _place(url: str) -> str:
    return url if not url or "://" in url else str(Path(url).resolve())


def _row_number(asked: str, count: int) -> int:
    """The number of the row that this task is for; ``env`` asks the platform that started it."""
    text = next((os.environ[name] for name in jobs.ROW_NAMES if name in os.environ), "") if asked == "env" else asked
    if not (text.isdecimal() and int(text) < count):
        raise InputError(
            f"the row must be a number from 0 to {count - 1}, found {text!r} ({' or '.join(jobs.ROW_NAMES)})"
        )
    return int(text)


def _failed_for_good(session: str) -> int:
    """The exit code of a task that its platform tries again although that changes nothing; 0 to go on."""
    if os.environ.get("CLOUD_RUN_TASK_ATTEMPT", "0") == "0":
        return 0
    last = newest(session)
    return 0 if last is None or last.exit_code in TRANSIENT else last.exit_code or 0


def _describe(options: Namespace, rows: Sequence[Row], runs: str, run_id: str) -> int:
    """Print the job for another machinery; nothing is started here."""
    spec = jobs.describe_batch(
        options.notebook,
        rows,
        runs=runs,
        run_id=run_id,
        parallel=options.jobs,
        image=options.image or image(),
        timeout_s=int(options.timeout),
    )
    manifest = {"kubernetes": jobs.kubernetes, "cloudrun": jobs.cloud_run}[options.executor](spec)
    print(yaml.safe_dump(manifest, sort_keys=False), end="")  # noqa: T201  # for a pipe, as it is
    return 0


def _table(seen: Mapping[str, Progress], *, whole: bool = False) -> Group:
    rows = ordered(seen.values())
    room = len(rows) if whole else max(FEW, OUT.height - 8)
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [cells(row) for row in rows[:room]]
    widths = [max(map(len, column)) for column in zip(HEADER, *shown, strict=True)]
    left = OUT.width - sum(width + GAP for width in widths[:-1])
    widths[-1] = max(len(HEADER[-1]), min(widths[-1], left))  # the note gives way on a narrow screen
    for name, width in zip(HEADER, widths, strict=True):
        table.add_column(name, no_wrap=True, width=width)
    for session, status, *others in shown:
        table.add_row(session, Text(status, style=colour(status)[0]), *map(Text, others))
    more = [Text(f"… and {len(rows) - room} more", style="dim")] if len(rows) > room else []
    return Group(Text(summary(rows), style="bold"), table, *more)


def _say_where(records: Sequence[RunRecord], recipe: str) -> None:
    for record in records:
        if not record.attempt:
            continue
        OUT.print(
            Text.assemble("\n", (f"{record.session}: {record.status}", colour(record.status)[0]), f" {record.error}")
        )
        OUT.print(f"  notebook  {record.folder}/{NOTEBOOK}\n            {record.folder}/{PAGE}", soft_wrap=True)
        if record.status == "done" and "publish" in record.keys:
            _say_maps(record, recipe)
    shown = next((record for record in records if record.status == "done" and record.parameters.get("study")), None)
    if shown:
        study, place = shown.parameters["study"], shown.parameters.get("store", "")
        where = "" if place in {"", _place(Runtime().store)} else f" --store {place}"
        OUT.print(f"\nlook at the maps: [bold]multimap show --study {study}{where}[/bold]")


def _say_maps(record: RunRecord, recipe: str) -> None:
    store = Store(record.parameters.get("store") or Runtime().store, record.parameters["study"])
    try:
        published = current(store, str(record.parameters[SESSION]), recipe)["steps"]["publish"]
    except (InputError, KeyError):  # a notebook that stops earlier
        return
    folder = store.folder(published["place"], published["key"])
    OUT.print(f"  maps      {folder}/maps\n  report    {folder}/report.html", soft_wrap=True)


def _say_kept(records: Sequence[RunRecord], seen: Mapping[str, Progress]) -> None:
    """Say what was left alone, and how to do it all the same."""
    kept = Counter(record.status for record in records if record.session not in seen)
    told = ", ".join(f"{count} {status}" for status, count in kept.items())
    if not seen and set(kept) == {"done"}:
        OUT.print(f"nothing to do: all {len(records)} sessions are done with this notebook and this recipe")
    elif kept:
        OUT.print(f"left alone: {told}; --only failed or --only all tries them again")
