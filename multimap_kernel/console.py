"""What the command prints: progress while it works, tables, and where the results are."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from multimap_kernel.batch.runner import Progress, Row, RunRecord, run_batch
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.bids import WARNING, check_session, find_sessions
from multimap_kernel.io.decisions import effective, history
from multimap_kernel.io.store import Store, create_exclusive, remove
from multimap_kernel.pipeline import SessionResult, StepResult, background, current, open_session, plan, sessions_of
from multimap_kernel.pipeline import run as run_line
from multimap_kernel.schema import ExcludedError, InputError, StorageError
from multimap_kernel.simulate import simulate_session
from multimap_kernel.view.embed import serve, wait_for_interrupt
from multimap_kernel.view.layers import map_layers

OUT = Console(highlight=False)
MARK = {"done": "green", "planned": "cyan", "excluded": "yellow", "bad-input": "red", "failed": "red"}


def simulate(study: str, size: str, sessions: int, seed: int) -> int:
    """Simulate subjects 01, 02, ... into one BIDS study; sessions that are there already are kept."""
    for number in range(sessions):
        begun = time.perf_counter()
        subject = f"{number + 1:02d}"
        with OUT.status(f"simulating sub-{subject} ({size})"):
            try:
                simulate_session(study, subject=subject, size=size, seed=seed + number)
            except ValueError as fault:  # the simulator stands apart and has no errors of ours
                raise InputError(str(fault)) from fault
        OUT.print(f"sub-{subject}: {size} session in {study} [dim]{time.perf_counter() - begun:.1f} s[/dim]")
    return 0


def check(bids: str, recipe: Recipe) -> int:
    """List every session of a study with what is missing; 0 if all can run, 20 if not."""
    table = Table("session", "EEG", "BOLD", "events", "T1w", "what is missing", title=f"{bids}", title_justify="left")
    bad = 0
    for session in find_sessions(bids, pairs=recipe.ingest.pairs):
        problems = session.problems or check_session(session)
        bad += any(not text.startswith(WARNING) for text in problems)
        parts = (session.eeg, session.bold, session.events, session.anatomy)
        have = ["[green]yes[/green]" if part else "no" for part in parts]
        table.add_row(session.label, *have, "\n".join(problems) or "[green]nothing[/green]")
    OUT.print(table)
    OUT.print(f"{table.row_count - bad} of {table.row_count} sessions can run")
    return 20 if bad or not table.row_count else 0


def run(bids: str, *, study: str, sessions: Sequence[str], recipe: Recipe, runtime: Runtime, upto: str) -> int:
    """Run the line and say what happened to each session; the exit code is the worst one."""
    begun = time.perf_counter()

    def tell(session: str, step: StepResult) -> None:
        clock = f"[dim]{time.perf_counter() - begun:6.1f} s[/dim]"
        if step.state == "running":
            OUT.print(f"{clock}  {session}  {step.step} ...")
        elif step.state == "computed":
            OUT.print(f"{clock}  {session}  {step.step} [green]{step.seconds:.1f} s[/green]")

    results = run_line(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime, upto=upto, progress=tell)
    for result in results:
        reused = len(result.steps) - result.computed
        text = f"{result.computed} steps computed, {reused} reused" if result.steps else result.error
        OUT.print(f"[{MARK[result.status]}]{result.session}: {result.status}[/]  {text}", markup=True)
    if all(result.status == "done" and result.computed == 0 for result in results):
        OUT.print(f"nothing to do: all results are in {Store(runtime.store, study).url()} already")
    return _worst(results)


def _worst(results: Sequence[SessionResult]) -> int:
    codes = [result.exit_code for result in results]
    if all(code == ExcludedError.exit_code for code in codes):
        return ExcludedError.exit_code
    return max((code for code in codes if code != ExcludedError.exit_code), default=0)


def batch(
    notebook: str,
    bids: str,
    *,
    study: str,
    sessions: Sequence[str],
    recipe_file: str,
    runtime: Runtime,
    runs: str,
    jobs: int,
) -> int:
    """Execute a notebook for each session, show its progress, and say where everything is; the worst exit code."""
    recipe = Recipe.load(recipe_file) if recipe_file else Recipe()
    store = Store(runtime.store, study)
    folder = Path(runs or store.url("runs"))
    planned = plan(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime)
    kept = {session: record for session in planned if (record := _finished(session, folder, notebook, recipe))}
    rows = [
        Row(
            session.session,
            {
                "bids": str(Path(bids).resolve()),
                "study": study,
                "session": session.session,
                "store": str(runtime.store),
                "recipe": str(Path(recipe_file).resolve()) if recipe_file else "",
            },
        )
        for session in planned
        if session not in kept
    ]
    records = list(kept.values())
    if rows:
        with Live(console=OUT, refresh_per_second=2) as live:
            seen: dict[str, Progress] = {}

            def tell(progress: Progress) -> None:
                seen[progress.session] = progress
                live.update(_progress_table(seen))

            records += run_batch(notebook, rows, runs=folder, jobs=jobs, runtime=runtime, on_progress=tell)
    _say_where(records, store, recipe.name)
    if not rows:
        OUT.print(f"nothing to do: all {len(planned)} sessions are done with this notebook and this recipe")
    return max((record.exit_code or 0 for record in records if record.exit_code != 21), default=0)


def _finished(session: SessionResult, folder: Path, notebook: str, recipe: Recipe) -> RunRecord | None:
    """The finished run of this very notebook and recipe, if all results that it drew are still there."""
    if session.computed or session.status != "planned":
        return None
    for path in sorted(folder.glob(f"*/{session.session}/attempt-*/run.json"), reverse=True):
        record = RunRecord.load(path.parent)
        if record.status == "done" and record.fits(notebook, recipe):
            return record
    return None


def _progress_table(seen: Mapping[str, Progress]) -> Table:
    table = Table("session", "attempt", "status", "cells", "peak memory")
    for progress in seen.values():
        memory = f"{progress.peak_memory_bytes / 2**20:.0f} MiB"
        cells = f"{progress.cells_done} of {progress.cells}"
        table.add_row(progress.session, str(progress.attempt), progress.status, cells, memory)
    return table


def _say_where(records: Sequence[RunRecord], store: Store, recipe: str) -> None:
    for record in records:
        where = Path(record.folder)
        OUT.print(f"\n[{MARK.get(record.status, 'red')}]{record.session}: {record.status}[/] {record.error}")
        OUT.print(f"  notebook  {where / 'notebook.ipynb'}\n            {where / 'notebook.html'}", soft_wrap=True)
        if record.status == "done":
            published = current(store, record.session, recipe)["steps"]["publish"]
            folder = store.folder(published["place"], published["key"])
            OUT.print(f"  maps      {folder}/maps\n  report    {folder}/report.html", soft_wrap=True)
    if any(record.status == "done" for record in records):
        place = "" if store.root == Runtime().store else f" --store {store.root}"
        OUT.print(f"\nlook at the maps: [bold]multimap show --study {store.study}{place}[/bold]")


def show(store: Store, session: str, recipe: str, port: int) -> int:
    """Serve the maps of a session on loopback until Ctrl-C."""
    session = session or next((label for label, name in sessions_of(store) if name == recipe), "")
    if not session:
        raise InputError(
            f"study {store.study!r} in {store.root} must hold a finished session, found none; run it first"
        )
    tree = open_session(store.root, store.study, session, recipe)
    maps = [tree[f"map/{kind}"].to_dataset() for kind in ("activation", "coupling") if kind in tree["map"].children]
    anatomy = background(maps[0], tree["realign"].to_dataset())
    _, url = serve(map_layers(maps, anatomy=anatomy), port=port)
    OUT.print(f"{session}: [bold]{url}[/bold]\nCtrl-C ends it", soft_wrap=True)
    wait_for_interrupt()
    return 0


def decisions(store: Store, session: str) -> int:
    """Print the decisions about a session; those that no longer hold are dimmed."""
    held = {decision.identifier for decision in effective(history(store, session))}
    table = Table("when (UTC)", "who", "action", "value", "reason", Column("identifier", overflow="fold"))
    for item in history(store, session):
        style = "" if item.identifier in held else "dim"
        table.add_row(item.created[:19], item.user, item.action, item.value, item.reason, item.identifier, style=style)
    OUT.print(table if table.row_count else f"no decision about {session}")
    return 0


def lab(folder: str, store: str) -> int:
    """Start JupyterLab on this machine's loopback address, in the folder of notebooks."""
    root = f"--ServerApp.root_dir={Path(folder).resolve()}"
    command = [sys.executable, "-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1", root]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root", "--no-browser"]
    environment = {**os.environ, "MULTIMAP_STORE": store if "://" in store else str(Path(store).resolve())}
    return subprocess.run(command, env=environment, check=False).returncode


def doctor(store: str) -> int:
    """Tell whether this machine and this store are well; 0 if so."""
    table = Table("what", "found", "", title="multimap doctor", title_justify="left")
    memory, free = psutil.virtual_memory().total / 2**30, shutil.disk_usage(Path.cwd()).free / 2**30
    alike = version("dask") == version("distributed")
    marks = {True: "[green]well[/green]", False: "[red]not well[/red]", None: "[dim]optional[/dim]"}
    rows = [
        ("Python 3.11 or newer", platform.python_version(), sys.version_info >= (3, 11)),
        ("cores", str(os.cpu_count()), (os.cpu_count() or 1) >= 2),
        ("memory", f"{memory:.1f} GiB", memory > 4),
        ("free disk", f"{free:.0f} GiB", free > 5),
        ("dask and distributed alike", f"{version('dask')} and {version('distributed')}", alike),
        ("torch, for the joint model", _version("torch"), None),
        ("chromium, for the browser tests", shutil.which("chromium") or "not found", None),
        ("Jupyter kernel multimap", *_kernel()),
        ("store can be written", *_writable(store)),
    ]
    for what, found, well in rows:
        table.add_row(what, found, marks[well])
    OUT.print(table)
    return 0 if all(well is not False for _, _, well in rows) else 10


def _kernel() -> tuple[str, bool]:
    known = KernelSpecManager().find_kernel_specs()
    if "multimap" in known:
        return known["multimap"], True
    return "not installed; python -m multimap_kernel.kernelspec install", False


def _writable(store: str) -> tuple[str, bool]:
    probe = f"{store.rstrip('/')}/.doctor-{os.getpid()}"
    try:
        create_exclusive(probe, b"")
        remove(probe)
    except (OSError, StorageError) as fault:
        return f"{store}: {fault}", False
    return store, True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
