"""The maps that a command is about: those of a session, or of the group."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from multimap_kernel.io.store import Store
from multimap_kernel.io.templates import load_template
from multimap_kernel.pipeline import background, open_session, sessions_of
from multimap_kernel.schema import InputError

GROUP = "group"


@dataclass(frozen=True)
class Chosen:
    """What was computed for a session or the group: its label, all results, its maps, and the anatomy below them."""

    label: str
    tree: xr.DataTree
    maps: list[xr.Dataset]
    anatomy: xr.Dataset


def choose_maps(store: Store, session: str, recipe: str) -> Chosen:
    """Open the maps of a session, of ``group``, or of the first session that was run.

    Raises
    ------
    InputError
        If nothing of that name was run.
    """
    label = session or next((one for one, name in sessions_of(store) if name == recipe), "")
    if not label:
        raise InputError(
            f"study {store.study!r} in {store.root} must hold a finished session, found none; run it first"
        )
    tree = open_session(store.root, store.study, label, recipe)
    made = tree["group" if label == GROUP else "map"]
    maps = [made[kind].to_dataset() for kind in ("activation", "coupling") if kind in made.children]
    if label == GROUP:
        return Chosen(label, tree, maps, load_template(2.0).drop_vars("mask"))
    return Chosen(label, tree, maps, background(maps[0], tree["realign"].to_dataset()))
