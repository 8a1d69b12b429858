"""Commands about the line: run it, and say what happened to each session."""

from __future__ import annotations

import time
from collections.abc import Sequence

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.console.screen import MARK, OUT
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import SessionResult, StepResult, run_group
from multimap_kernel.pipeline import run as run_line
from multimap_kernel.schema import ExcludedError, InputError


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
    if upto == "publish" and not sessions:
        _group(bids, study, recipe, runtime)
    return _worst(results)


def _group(bids: str, study: str, recipe: Recipe, runtime: Runtime) -> None:
    """The study's maps follow its sessions; a study that is too small for them is no fault."""
    try:
        found = run_group(bids, study=study, recipe=recipe, runtime=runtime)
    except InputError as reason:
        OUT.print(f"[dim]no group maps: {reason}[/dim]")
    else:
        took = f" {found.seconds:.1f} s" if found.state == "computed" else ""
        OUT.print(f"[green]group: {found.state}{took}[/]  {found.place}/{found.key}")


def _worst(results: Sequence[SessionResult]) -> int:
    codes = [result.exit_code for result in results]
    if all(code == ExcludedError.exit_code for code in codes):
        return ExcludedError.exit_code
    return max((code for code in codes if code != ExcludedError.exit_code), default=0)
