"""The command about runs that were: list, filter, compare, open."""

from __future__ import annotations

import tempfile
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fsspec
from rich.table import Column, Table

from multimap_kernel.batch.compare import compare_runs
from multimap_kernel.batch.records import PAGE, RunRecord, list_runs
from multimap_kernel.console.screen import MARK, OUT
from multimap_kernel.schema import InputError


def runs(url: str, *, run: str, sessions: Sequence[str], statuses: Sequence[str]) -> int:
    """List runs, one row each; or the attempts of one run, or of sessions, or with a status."""
    records = _records(url)
    if not (run or sessions or statuses):
        OUT.print(_overview(records))
        OUT.print("one of them: multimap runs --run ID; what changed: --compare ID ID; its page: --open ID")
        return 0
    kept = [
        record
        for record in (_of(records, run) if run else records)
        if (not sessions or record.session in sessions) and (not statuses or record.status in statuses)
    ]
    OUT.print(_attempts(kept) if kept else "no attempt is like that")
    return 0


def compare(url: str, before: str, after: str) -> int:
    """Tell what two runs do not share: what went in, and what came out; ``ID:2`` is the second attempt."""
    records = _records(url)
    pair = [_chosen(records, run) for run in (before, after)]
    table = Table("session", "", "what", Column(before, overflow="fold"), Column(after, overflow="fold"))
    for one in compare_runs(*pair):
        table.add_row(one.session, one.kind, one.what, one.before, one.after)
    OUT.print(table if table.row_count else f"{before} and {after} did the same and ended the same")
    return 0


def open_run(url: str, run: str, sessions: Sequence[str]) -> int:
    """Open the page of the last attempt of a run's first session, or of the named one, in the browser."""
    found = [record for record in _last(_of(_records(url), run)) if not sessions or record.session in sessions]
    if not found:
        raise InputError(f"run {run} must have the session {', '.join(sessions)}, found none; see multimap runs --run")
    page = f"{found[0].folder}/{PAGE}"
    fs, path = fsspec.core.url_to_fs(page)
    if not fs.exists(path):
        raise InputError(
            f"the attempt must have a page, found none at {page}; its log says why: {found[0].folder}/log.txt"
        )
    local = Path(path) if "://" not in page else Path(tempfile.mkdtemp(prefix="multimap-")) / PAGE
    if "://" in page:
        fs.get_file(path, str(local))
    webbrowser.open(local.resolve().as_uri())
    OUT.print(f"{found[0].session}: {page}", soft_wrap=True)
    return 0


def _records(url: str) -> list[RunRecord]:
    records = list_runs(url)
    if not records:
        raise InputError(f"{url} must hold runs, found none; start one with multimap batch, or name its folder")
    return records


def _of(records: Sequence[RunRecord], run: str) -> list[RunRecord]:
    """The records of one run; the beginning of its name is enough."""
    names = sorted({record.run_id for record in records if record.run_id.startswith(run)})
    if len(names) != 1:
        have = ", ".join(names or sorted({record.run_id for record in records}))
        raise InputError(f"{run!r} must be the beginning of one run's name, found {have}")
    return [record for record in records if record.run_id == names[0]]


def _chosen(records: Sequence[RunRecord], words: str) -> list[RunRecord]:
    """The last attempts of a run, or those with the number behind the colon."""
    run, _, attempt = words.partition(":")
    found = _of(records, run)
    kept = [record for record in found if str(record.attempt) == attempt] if attempt else _last(found)
    if not kept:
        raise InputError(f"run {run} must have an attempt {attempt}, found {sorted({r.attempt for r in found})}")
    return kept


def _last(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The last attempt of each session."""
    return list({record.session: record for record in records}.values())


def _overview(records: Sequence[RunRecord]) -> Table:
    table = Table(Column("run", overflow="fold"), "notebook", "started (UTC)", "sessions", "status")
    for run in dict.fromkeys(record.run_id for record in records):
        last = _last(_of(records, run))
        counts = Counter(record.status for record in last)
        words = ", ".join(f"[{MARK.get(name, 'red')}]{count} {name}[/]" for name, count in counts.items())
        table.add_row(run, Path(last[0].notebook).name, last[0].started[:19], str(len(last)), words)
    return table


def _attempts(records: Sequence[RunRecord]) -> Table:
    table = Table("session", "attempt", "status", "exit", "peak memory", Column("what happened", overflow="fold"))
    for record in records:
        told = "\n".join(filter(None, (record.cell, record.error))) or record.folder
        memory = f"{record.peak_memory_bytes / 2**20:.0f} MiB"
        code = "" if record.exit_code is None else str(record.exit_code)
        mark = MARK.get(record.status, "red")
        table.add_row(record.session, str(record.attempt), f"[{mark}]{record.status}[/]", code, memory, told)
    return table
