"""Two runs beside each other: what went in differently, and what came out differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline.results import session_path

_CODE = (("notebook_hash", "notebook"), ("git_commit", "git commit"), ("code_version", "multimap"), ("image", "image"))
_OUTCOME = (("status", "status"), ("cell", "cell"), ("error", "error"))


@dataclass(frozen=True)
class Difference:
    """One thing that two runs of a session do not share; ``kind`` is recipe, parameters, code, steps or result."""

    session: str
    kind: str
    what: str
    before: str
    after: str


def compare_runs(before: list[RunRecord], after: list[RunRecord]) -> tuple[Difference, ...]:
    """Tell what differs between two runs, session by session.

    Parameters
    ----------
    before, after
        Records of two runs, one attempt of each session.

    Returns
    -------
    Differences in the order of the sessions: what went in (recipe, parameters, code), which steps have another key
    for it, and what came out (status; correlation and largest difference of the maps, where both are in the store).
    Empty if the runs did the same and ended the same.
    """
    first, second = ({record.session: record for record in records} for records in (before, after))
    found: list[Difference] = []
    for session in sorted(first.keys() | second.keys()):
        one, other = first.get(session), second.get(session)
        if one is None or other is None:
            states = ["not in it" if record is None else record.status for record in (one, other)]
            found.append(Difference(session, "result", "session", *states))
        else:
            found += [Difference(session, *words) for words in _between(one, other)]
    return tuple(found)


def _between(one: RunRecord, other: RunRecord) -> Iterator[tuple[str, str, str, str]]:
    yield from (("recipe", *words) for words in _changes(one.recipe, other.recipe))
    yield from (("parameters", *words) for words in _changes(one.parameters, other.parameters))
    for name, word in _CODE:
        if getattr(one, name) != getattr(other, name):
            yield "code", word, getattr(one, name)[:12], getattr(other, name)[:12]
    for step in dict.fromkeys((*one.keys, *other.keys)):
        keys = [record.keys.get(step, "") for record in (one, other)]
        if keys[0] != keys[1]:
            yield "steps", step, keys[0][:12] or "not planned", keys[1][:12] or "not planned"
    for name, word in _OUTCOME:
        if getattr(one, name) != getattr(other, name):
            yield "result", word, getattr(one, name), getattr(other, name)
    yield from (("result", *words) for words in _maps(one, other))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted name, old value and new value of everything that is not the same."""
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{at}{name}.")
        elif old != new:
            words = [str(table[name]) if name in table else "absent" for table in (before, after)]
            yield f"{at}{name}", words[0], words[1]


def _maps(one: RunRecord, other: RunRecord) -> Iterator[tuple[str, str, str]]:
    """How far the activation maps lie apart; nothing if they are the same result or one of them is gone."""
    keys = [record.keys.get("map", "") for record in (one, other)]
    if keys[0] == keys[1] or not all(keys):
        return
    old, new = _activation(one, keys[0]), _activation(other, keys[1])
    if old is None or new is None:
        states = ["not in the store" if ds is None else "in the store" for ds in (old, new)]
        yield "maps", states[0], states[1]
        return
    for condition in old["condition"].values.tolist():
        for modality in old["modality"].values.tolist():
            at = {"condition": condition, "modality": modality}
            words = _apart(old["statistic"], new["statistic"], at)
            if words:
                yield f"map {condition}, {modality}", *words


def _activation(record: RunRecord, key: str) -> xr.Dataset | None:
    where = record.parameters
    if not all(isinstance(where.get(name), str) for name in ("store", "study")):
        return None
    store = Store(str(where["store"]), str(where["study"]))
    place = f"{session_path(record.session)}/map"
    return store.open(place, key).get("activation") if store.commit(place, key) else None


def _apart(one: xr.DataArray, other: xr.DataArray, at: Mapping[str, str]) -> tuple[str, str] | None:
    if any(value not in other[name].values for name, value in at.items()):
        return "in it", "not in it"
    a, b = one.sel(at).values, other.sel(at).values
    if a.shape != b.shape:
        return f"grid {a.shape}", f"grid {b.shape}"
    both = np.isfinite(a) & np.isfinite(b)
    if np.array_equal(a[both], b[both]):
        return None
    r = float(np.corrcoef(a[both], b[both])[0, 1])
    peaks = [float(np.abs(values[both]).max()) for values in (a, b)]
    return (
        f"largest {peaks[0]:.2f}",
        f"largest {peaks[1]:.2f}; r with before {r:.3f}, at most {np.abs(a - b)[both].max():.2f} apart",
    )
