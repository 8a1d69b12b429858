"""Which rows of a table have something to do: what is done with this notebook, recipe, input and code is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.batch.status import SETTLED
from multimap_kernel.batch.table import Row
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import SessionResult, current, plan
from multimap_kernel.schema import InputError

Only = Literal["", "failed", "changed", "all"]
ONLY = get_args(Only)[1:]
LINE = ("bids", "study", "session")  # a notebook with these parameters runs the line


@dataclass(frozen=True)
class Planned:
    """What the line would do for one row.

    Parameters
    ----------
    keys
        For each step the key of its result.
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
    """Plan the rows of a table whose notebook runs the line; the others have no keys.

    Raises
    ------
    InputError
        If a study or a session is not there.
    RecipeError
        If a recipe cannot be read.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in table:
        if all(row.parameters.get(name) for name in LINE):
            groups[tuple(str(row.parameters.get(name, "")) for name in ("bids", "study", "store", "recipe"))].append(
                row
            )
    planned: dict[str, Planned] = {}
    for (bids, study, place, _), rows in groups.items():
        recipe = recipe_of(rows[0].parameters) or Recipe()
        runtime = Runtime(store=place) if place else Runtime()
        labels = [str(row.parameters["session"]) for row in rows]
        results = plan(bids, study=study, sessions=labels, recipe=recipe, runtime=runtime)
        store = Store(runtime.store, study)
        planned |= {
            row.session: _planned(result, store, recipe.name) for row, result in zip(rows, results, strict=True)
        }
    return [planned.get(row.session, Planned()) for row in table]


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
        ``failed``: what was tried and is not done; ``changed``: what was tried with another notebook, recipe, input
        or code; ``all``: everything; empty: whatever is not done, except what would only fail in the same way again.
    """
    if only == "all":
        return True
    if last is None:
        return not only
    kept = last.same_work(draft) and (planned.there or last.status != "done")
    if only == "failed":
        return last.status not in {"done", "excluded", "held", "running"}
    return not kept if only == "changed" else not (kept and last.status in SETTLED)
