"""Commands about studies: simulate one, adopt files into one, check what is there, clear what nothing names."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence

from rich.table import Table

from multimap_kernel.config import Recipe
from multimap_kernel.console.screen import OUT
from multimap_kernel.io.adopt import adopt as adopt_files
from multimap_kernel.io.bids import find_sessions
from multimap_kernel.io.check import WARNING, check_session
from multimap_kernel.io.reach import check_folder, check_study
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import collect_garbage
from multimap_kernel.schema import InputError
from multimap_kernel.share.ended import remove_ended_scenes
from multimap_kernel.simulate import simulate_session


def simulate(study: str, size: str, sessions: int, seed: int) -> int:
    """Simulate subjects 01, 02, ... into one BIDS study; sessions that are there already are kept."""
    if sessions < 1:
        raise InputError(f"sessions must be 1 or more, found {sessions}; each is one subject")
    check_folder(study)
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


def adopt(options: Namespace) -> int:
    """Make a BIDS session from loose files, those that may be left out in any order."""
    anatomy, events = _by_ending(options.others)
    check_folder(options.out)
    study = adopt_files(
        options.eeg,
        options.bold,
        anatomy=anatomy,
        events=events,
        subject=options.subject,
        task=options.task,
        session=options.session,
        run=options.run,
        out=options.out,
    )
    OUT.print(f"{study} holds the session now; look at it with: multimap check {study}", markup=False, soft_wrap=True)
    return 0


def _by_ending(files: Sequence[str]) -> tuple[str, str]:
    """The anatomical image and the table of events among these files; empty if there is none."""
    images = [file for file in files if file.lower().endswith((".nii", ".nii.gz"))]
    tables = [file for file in files if file.lower().endswith(".tsv")]
    if len(images) > 1 or len(tables) > 1 or len(images) + len(tables) < len(files):
        raise InputError(
            "beside EEG and BOLD there may be one T1-weighted image (.nii or .nii.gz) and one table of events (.tsv), "
            f"found {', '.join(files)}"
        )
    return "".join(images), "".join(tables)


def check(bids: str, recipe: Recipe) -> int:
    """List every session of a study with what is missing; 0 if all can run, 20 if not."""
    table = Table("session", "EEG", "BOLD", "events", "T1w", "what is missing", title=f"{bids}", title_justify="left")
    bad = 0
    for session in find_sessions(bids, pairs=recipe.ingest.pairs):
        problems = check_session(session, marker=recipe.align.marker)
        bad += any(not text.startswith(WARNING) for text in problems)
        parts = (session.eeg, session.bold, session.events, session.anatomy)
        have = ["[green]yes[/green]" if part else "no" for part in parts]
        table.add_row(session.label, *have, "\n".join(problems) or "[green]nothing[/green]")
    OUT.print(table)
    OUT.print(f"{table.row_count - bad} of {table.row_count} sessions can run")
    return 20 if bad or not table.row_count else 0


def clear(store: Store, *, dry_run: bool) -> int:
    """Remove the results of a study that nothing names, and the layers of links that ended; print what went."""
    check_study(store)
    removed = collect_garbage(store, dry_run=dry_run) + remove_ended_scenes(store.root, dry_run=dry_run)
    OUT.print("\n".join(removed) or "nothing to remove", markup=False, soft_wrap=True)
    return 0
