"""What nothing names any more is removed; what a run is about to write is not."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec

from multimap_kernel.io.store import COMMIT, Store, canonical, read_json, remove, replace, walk_keys
from multimap_kernel.pipeline.keys import GROUP_FOLDER
from multimap_kernel.schema import StorageError

Json = Any
KEPT = timedelta(days=7)
"""How long what a run left unfinished waits for the next one."""


@contextmanager
def underway(store: Store, folder: str, recipe: str, steps: Mapping[str, Json]) -> Iterator[None]:
    """Keep `collect_garbage` from what a run makes, until it is done or, if it never is, for `KEPT`.

    Parameters
    ----------
    store, folder
        The study, and the folder of the session in it.
    recipe
        Name of the recipe; a later run of it takes the place of this one.
    steps
        Place and key of each step that may be written, by its name.
    """
    note = store.url(folder, "underway", f"{recipe}.json")
    replace(note, canonical({"created": datetime.now(UTC).isoformat(), "steps": steps}))
    yield
    remove(note)  # not after a fault: what is done is kept for the run that goes on


def collect_garbage(store: Store, *, dry_run: bool = False) -> tuple[str, ...]:
    """Remove the results that no recipe and no executed notebook names, and the leftovers of runs that were killed.

    A run that is at work is left alone, and so is what it finished if it was killed, for a week.

    Parameters
    ----------
    store
        The study to clear.
    dry_run
        Only tell what would go.

    Returns
    -------
    The folders that were removed, or would be.

    Raises
    ------
    StorageError
        If the store cannot be read or cleared.
    """
    found = list(walk_keys(store))  # before the notes: what a run writes, it has noted before
    written, old = _underway(store)
    named = _named(store, "current") | written
    run_keys = set(_keys_of_runs(store))
    gone = [*old]
    for place, key in found:
        commit = store.commit(place, key)
        folder = store.url(place, key)
        if (place, key) not in named and key not in run_keys:
            gone.append(folder)
        elif (place, key) not in written:
            fs, path = fsspec.core.url_to_fs(folder)
            kept = {COMMIT, commit["data"] if commit else ""}
            names = (entry.rsplit("/", 1)[-1] for entry in fs.ls(path, detail=False))
            gone.extend(posixpath.join(folder, name) for name in sorted(names) if name not in kept)
    if not dry_run:
        for folder in gone:
            try:
                remove(folder)
            except OSError as fault:
                raise StorageError(f"{folder} must be removable, found: {fault}; check rights, then again") from fault
    return tuple(gone)


def _notes(store: Store, kind: str) -> Iterator[tuple[str, Json]]:
    """Address and content of what runs wrote down about themselves, of sessions and of the group."""
    fs, base = fsspec.core.url_to_fs(store.url())
    for folder in ("sub-*/**", GROUP_FOLDER):
        for path in sorted(fs.glob(posixpath.join(base, folder, kind, "*.json"))):
            url = store.url(posixpath.relpath(path, base))
            if (note := read_json(url)) is not None:
                yield url, note


def _named(store: Store, kind: str) -> set[tuple[str, str]]:
    return {_where(step) for _, note in _notes(store, kind) for step in note["steps"].values()}


def _where(step: Json) -> tuple[str, str]:
    return step["place"], step["key"]


def _underway(store: Store) -> tuple[set[tuple[str, str]], list[str]]:
    """Places and keys that runs may be writing, and the notes of runs that nobody went on with."""
    written, old = set(), []
    for url, note in _notes(store, "underway"):
        if datetime.now(UTC) - datetime.fromisoformat(note["created"]) > KEPT:
            old.append(url)
        else:
            written |= {_where(step) for step in note["steps"].values()}
    return written, old


def _keys_of_runs(store: Store) -> Iterator[str]:
    """Keys of the results that executed notebooks read: what they show can be looked up and compared."""
    fs, base = fsspec.core.url_to_fs(store.url("runs"))
    for path in fs.glob(posixpath.join(base, "*", "*", "attempt-*", "run.json")):
        record = read_json(store.url("runs", posixpath.relpath(path, base))) or {}
        yield from record.get("keys", {}).values()
