"""The command that trains the joint model: features of every session, one run folder, a card at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.console.line import run
from multimap_kernel.console.screen import OUT
from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.io.store import Store, replace
from multimap_kernel.pipeline import SessionResult, current, plan, training_runs
from multimap_kernel.schema import InputError


class _Watched(RunDirectory):
    """A run folder whose events are also shown on the terminal."""

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Keep the event, and show it."""
        super().append_event(event)
        if event["event"] == "resumed":
            OUT.print(f"going on: {event['done']} networks are done, {event['job'] or 'the next'} at {event['step']}")
        elif event["event"] == "fold":
            now = event["so_far"]
            scores = f"ridge r {now['ridge']:.3f}, joint {now['joint']:.3f}, gain {now['gain']:+.3f}"
            OUT.print(f"fold {event['fold'] + 1} of {event['folds']}: {scores} over {now['volumes']} volumes so far")


def train(
    bids: str, *, study: str, sessions: Sequence[str], recipe: Recipe, runtime: Runtime, folder: str, device: str
) -> int:
    """Run the line up to the features, train on all sessions, judge, and write the card; 0 if all is done."""
    from multimap_kernel.fusion.card import card  # noqa: PLC0415  # torch is an optional extra
    from multimap_kernel.fusion.evaluate import evaluate  # noqa: PLC0415
    from multimap_kernel.fusion.train import train as learn  # noqa: PLC0415

    provide_features(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime)
    store, options = Store(runtime.store, study), recipe.fuse
    runs = training_runs(store, recipe, sessions)
    where = folder or store.url("training", recipe.name)
    with OUT.status(f"training on {len(runs)} runs; Ctrl-C or SIGTERM ends it with a checkpoint in {where}"):
        split = options.split
        run_folder = _Watched(where)
        fit, out = learn(
            runs, lags_s=options.lags_s, kind=split.kind, folds=split.folds, gap_s=split.gap_s, seed=options.seed,
            size=options.size, tokens=options.tokens, folder=run_folder, device=device,
        )  # fmt: skip
    with OUT.status("judging it beside its baselines and nulls"):
        judged = evaluate(runs, fit, out, seed=options.seed, folder=run_folder)
    for name, value in (("fit", fit), ("evaluation", judged)):
        replace(f"{where}/{name}.json", json.dumps(value.to_json(), indent=1).encode())
    replace(f"{where}/card.md", card(fit, judged).encode())
    low, high = judged.gain_interval
    OUT.print(f"gain over the ridge [bold]{judged.gain:+.3f}[/bold] [{low:+.3f}, {high:+.3f}]", markup=True)
    OUT.print(f"model card  {where}/card.md\nweights     sha256 {fit.weights_sha256}", soft_wrap=True)
    return 0


def provide_features(bids: str, *, study: str, sessions: Sequence[str], recipe: Recipe, runtime: Runtime) -> None:
    """Run the line up to the features where they are not there; elsewhere the maps that follow them stay in view."""
    store = Store(runtime.store, study)
    planned = plan(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime, upto="features")
    wanting = [one.session for one in planned if not _has_features(store, one, recipe.name)]
    if wanting:
        run(bids, study=study, sessions=wanting, recipe=recipe, runtime=runtime, upto="features")


def _has_features(store: Store, planned: SessionResult, recipe: str) -> bool:
    """Whether what the recipe's name stands for are these very steps."""
    try:
        named = current(store, planned.session, recipe)["steps"]
    except InputError:
        return False
    same = [named.get(one.step) == {"place": one.place, "key": one.key} for one in planned.steps]
    return bool(same) and all(same)
