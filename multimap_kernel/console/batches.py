"""Commands about batches: execute a notebook for each session, and say where everything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.live import Live
from rich.table import Table

from multimap_kernel.batch.runner import Progress, Row, RunRecord, run_batch
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.console.screen import MARK, OUT
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import current, plan


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
    planned = plan(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime)
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
    ]
    seen: dict[str, Progress] = {}
    with Live(console=OUT, refresh_per_second=2) as live:

        def tell(progress: Progress) -> None:
            seen[progress.session] = progress
            live.update(_progress_table(seen))

        records = run_batch(
            notebook,
            rows,
            runs=runs or store.url("runs"),
            run_id=f"{Path(notebook).stem}-{recipe.name}",
            jobs=jobs,
            runtime=runtime,
            on_progress=tell,
        )
    _say_where(records, store, recipe.name)
    if not seen:
        OUT.print(f"nothing to do: all {len(planned)} sessions are done with this notebook and this recipe")
    return max((record.exit_code or 0 for record in records if record.exit_code != 21), default=0)


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
