"""What the command prints: progress while it works, tables, and where the results are."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from multimap_kernel.batch.runner import RunRecord, run_batch
from multimap_kernel.compute import cluster
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.bids import check_session, find_sessions
from multimap_kernel.io.decisions import effective, history
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import SessionResult, StepResult, plan, sessions_of
from multimap_kernel.pipeline import run as run_line
from multimap_kernel.simulate import simulate_session

OUT = Console(highlight=False)
MARK = {"done": "green", "planned": "cyan", "excluded": "yellow", "bad-input": "red", "failed": "red"}


def simulate(study: str, size: str, sessions: int, seed: int) -> int:
    """Simulate subjects 01, 02, ... into one BIDS study; sessions that are there already are kept."""
    for number in range(sessions):
        begun = time.perf_counter()
        subject = f"{number + 1:02d}"
        with OUT.status(f"simulating sub-{subject} ({size})"):
            simulate_session(study, subject=subject, size=size, seed=seed + number)
        OUT.print(f"sub-{subject}: {size} session in {study} [dim]{time.perf_counter() - begun:.1f} s[/dim]")
    return 0


def check(bids: str, recipe: Recipe) -> int:
    """List every session of a study with what is missing; 0 if all can run, 20 if not."""
    table = Table("session", "EEG", "BOLD", "events", "T1w", "what is missing", title=f"{bids}", title_justify="left")
    bad = 0
    for session in find_sessions(bids, pairs=recipe.ingest.pairs):
        problems = session.problems or check_session(session)
        bad += bool(problems)
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
    codes = [result.exit_code for result in results if result.exit_code not in {0, 21}]
    return max(codes, default=0)


def decisions(store: Store, session: str) -> int:
    """Print the decisions about a session; those that no longer hold are dimmed."""
    held = {decision.identifier for decision in effective(history(store, session))}
    table = Table("when (UTC)", "who", "action", "value", "reason", "identifier")
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
        ("store", store, True),
    ]
    for what, found, well in rows:
        table.add_row(what, found, marks[well])
    OUT.print(table)
    return 0 if all(well is not False for _, _, well in rows) else 10


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def first_session(store: Store, recipe: str) -> str:
    """Label of the first session of a study that was run with a recipe, empty if there is none."""
    return next((session for session, name in sessions_of(store) if name == recipe), "")


__all__ = [
    "RunRecord",
    "batch",
    "check",
    "cluster",
    "decisions",
    "doctor",
    "lab",
    "plan",
    "run",
    "run_batch",
    "simulate",
]
