"""Commands about studies: simulate one, and check what is there."""

from __future__ import annotations

import time

from rich.table import Table

from multimap_kernel.config import Recipe
from multimap_kernel.console.screen import OUT
from multimap_kernel.io.bids import find_sessions
from multimap_kernel.io.check import WARNING, check_session
from multimap_kernel.schema import InputError
from multimap_kernel.simulate import simulate_session


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
        problems = check_session(session, marker=recipe.align.marker)
        bad += any(not text.startswith(WARNING) for text in problems)
        parts = (session.eeg, session.bold, session.events, session.anatomy)
        have = ["[green]yes[/green]" if part else "no" for part in parts]
        table.add_row(session.label, *have, "\n".join(problems) or "[green]nothing[/green]")
    OUT.print(table)
    OUT.print(f"{table.row_count - bad} of {table.row_count} sessions can run")
    return 20 if bad or not table.row_count else 0
