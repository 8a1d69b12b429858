"""Which rows of a table have something to do: what is done with this notebook, recipe and planned keys is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.batch.status import SETTLED
from multimap_kernel.batch.table import SESSION, Row
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import SessionResult, current, plan
from multimap_kernel.schema import InputError

Only = Literal["", "failed", "changed", "all"]
STUDY = ("bids", "study")  # a notebook with these parameters reads a study, and with a session it runs the line


@dataclass(frozen=True)
class Planned:
    """What the line would do for one row.

    Parameters
    ----------
    keys
        For each step the key of its result; for a whole study, of each session the key of its maps.
    there
        All results that the session was last left with are those of these keys, and are in the store.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    there: bool = True


def recipe_of(parameters: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a row is given, None if its notebook takes none."""
    if "recipe" not in parameters:
        return None
    return Recipe.load(parameters["recipe"]) if parameters["recipe"] else Recipe()


def plan_rows(table: Sequence[Row]) -> list[Planned]:
    """Plan the rows of a table whose notebook runs the line, or reads a whole study; the others have no keys.

    Raises
    ------
    InputError
        If a study or a session is not there.
    RecipeError
        If a recipe cannot be read.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in table:
        if all(row.parameters.get(name) for name in STUDY):
            groups[tuple(str(row.parameters.get(name, "")) for name in (*STUDY, "store", "recipe"))].append(row)
    planned: dict[str, Planned] = {}
    for (bids, study, place, _), rows in groups.items():
        recipe = recipe_of(rows[0].parameters) or Recipe()
        runtime = Runtime(store=place) if place else Runtime()
        labels = {row.session: str(row.parameters.get(SESSION) or "") for row in rows}
        sessions = sorted(set(labels.values())) if all(labels.values()) else ()
        results = {
            result.session: result
            for result in plan(bids, study=study, sessions=sessions, recipe=recipe, runtime=runtime)
        }
        store = Store(runtime.store, study)
        whole = Planned({label: _maps(result) for label, result in results.items()})
        for name, label in labels.items():
            planned[name] = _planned(results[label], store, recipe.name) if label else whole
    return [planned.get(row.session, Planned()) for row in table]


def _maps(result: SessionResult) -> str:
    """The key of a session's maps, or why there are none, so that a study changes with each of its sessions."""
    made = {step.step: step.key for step in result.steps if step.state == "reused"}
    return made.get("map", result.status)


def _planned(result: SessionResult, store: Store, recipe: str) -> Planned:
    keys = {step.step: step.key for step in result.steps}
    there = {step.step for step in result.steps if step.state == "reused"}
    try:
        named = current(store, result.session, recipe)["steps"]
    except InputError:  # it was never run
        return Planned(keys, there=not keys)
    return Planned(keys, all(name in there and where["key"] == keys[name] for name, where in named.items()))


def has_work(draft: RunRecord, last: RunRecord | None, planned: Planned, only: Only) -> bool:
    """Whether a row is to be executed.

    Parameters
    ----------
    draft
        What would be executed.
    last
        The newest attempt at the same row, None if there is none.
    planned
        What the line would do.
    only
        ``failed``: what was tried and is not done, excluded or held; ``changed``: what was tried and was other work
        (see `RunRecord.same_work`), or whose results are gone; ``all``: everything; empty: whatever is not done, except
        what would only fail in the same way again.
    """
    if only == "all":
        return True
    if last is None:
        return not only
    kept = last.same_work(draft) and (planned.there or last.status != "done")
    if only == "failed":
        return last.status not in {"done", "excluded", "held", "running"}
    return not kept if only == "changed" else not (kept and last.status in SETTLED)
