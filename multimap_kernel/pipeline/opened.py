"""The maps that somebody wants to look at: those of a session, or of the group, with the anatomy below them."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from multimap_kernel.io.store import Store
from multimap_kernel.io.templates import load_template
from multimap_kernel.pipeline.group import GROUP
from multimap_kernel.pipeline.publish import BACKGROUND_MM, background
from multimap_kernel.pipeline.results import open_session, sessions_of
from multimap_kernel.pipeline.steps import STEPS
from multimap_kernel.schema import InputError


@dataclass(frozen=True)
class OpenedMaps:
    """What was computed for a session or the group.

    Parameters
    ----------
    label
        Session label, or ``group``.
    tree
        All results, lazily.
    maps
        The activation and the coupling maps, those that there are.
    anatomy
        ``anatomy (z, y, x)`` to draw below them.
    """

    label: str
    tree: xr.DataTree
    maps: list[xr.Dataset]
    anatomy: xr.Dataset

    @property
    def of_group(self) -> bool:
        """Whether they are of the whole study, so that there is no course of a voxel and no volume to show."""
        return self.label == GROUP.name


def open_maps(store: Store, session: str, recipe: str) -> OpenedMaps:
    """Open the maps of a session, of ``group``, or of the first session by name that was run (``""``).

    Raises
    ------
    InputError
        If nothing of that name was run, or not as far as its maps.
    """
    label = session or next((one for one, name in sessions_of(store) if name == recipe), "")
    place = f"study {store.study!r} in {store.root}"
    if not label:
        raise InputError(f"{place} must hold a finished session, found none; run it first")
    tree = open_session(store.root, store.study, label, recipe)
    step = GROUP.name if label == GROUP.name else "map"
    made = tree.children.get(step)
    if made is None:
        found = ", ".join(one.name for one in STEPS if one.name in tree.children)
        raise InputError(f"{label} of {place} must have maps, found the steps {found}; run it whole")
    maps = [made[kind].to_dataset() for kind in ("activation", "coupling") if kind in made.children]
    if label == GROUP.name:
        return OpenedMaps(label, tree, maps, load_template(BACKGROUND_MM).drop_vars("mask"))
    return OpenedMaps(label, tree, maps, background(maps[0], tree["realign"].to_dataset()))
