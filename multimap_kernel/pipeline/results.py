"""What runs left in the store: named by recipe, opened as one tree."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import fsspec
import xarray as xr

from multimap_kernel.io.store import Store, read_json
from multimap_kernel.schema import InputError

Json = Any


def current(store: Store, session: str, recipe: str = "default") -> dict[str, Json]:
    """The keys of a session's results under a recipe's name.

    Raises
    ------
    InputError
        If the session was never run with that recipe.
    """
    found = read_json(store.url(session_path(session), "current", f"{recipe}.json"))
    if found is None:
        place = f"study {store.study!r} in {store.root}"
        raise InputError(f"{session} of {place} must have been run with recipe {recipe!r}; run it first")
    return found


def session_path(label: str) -> str:
    """Folder of a session in the store: ``sub-01_ses-1_task-x`` is ``sub-01/ses-1/task-x``."""
    parts = label.split("_")
    own = [part for part in parts if part.partition("-")[0] not in {"sub", "ses"}]
    return posixpath.join(*[part for part in parts if part not in own], "_".join(own))


def open_session(root: str, study: str, session: str, recipe: str = "default") -> xr.DataTree:
    """Open all results of a session as one tree, lazily.

    Parameters
    ----------
    root, study
        The store and the study's name in it.
    session
        Session label, such as ``sub-01_task-rest``; ``group`` for the maps of the study.
    recipe
        Name of the recipe that it was run with.

    Returns
    -------
    A DataTree with a node for each step, and below it one for each group; the values of a step (alignment, fit) are in
    the attributes of its node.

    Raises
    ------
    InputError
        If the session was never run with that recipe.
    """
    store = Store(root, study)
    nodes: dict[str, xr.Dataset] = {}
    for name, where in current(store, session, recipe)["steps"].items():
        commit = store.commit(where["place"], where["key"]) or {}
        groups = store.open(where["place"], where["key"])
        values = commit.get("values", {})
        nodes[f"/{name}"] = groups.pop("", xr.Dataset()).assign_attrs(values)
        nodes.update({f"/{name}/{group}": ds for group, ds in groups.items()})
    return xr.DataTree.from_dict(nodes, name=session)


def sessions_of(store: Store) -> Iterator[tuple[str, str]]:
    """Every ``(session label, recipe name)`` that was run in a study."""
    fs, base = fsspec.core.url_to_fs(store.url())
    for path in sorted(fs.glob(posixpath.join(base, "sub-*", "**", "current", "*.json"))):
        *folders, _, name = posixpath.relpath(path, base).split("/")
        yield "_".join(folders), name.removesuffix(".json")
