"""What the joint model of a study learns from: the features of its sessions, in regions that all of them have."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from multimap_kernel.config import Recipe
from multimap_kernel.fusion.patches import add_patches
from multimap_kernel.fusion.regions import regions, shared_regions
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline.results import open_session, sessions_of
from multimap_kernel.schema import InputError


def training_runs(store: Store, recipe: Recipe, sessions: Sequence[str] = ()) -> dict[str, xr.Dataset]:
    """Open the features of a study's sessions as runs of regions.

    Parameters
    ----------
    store
        The study.
    recipe
        Under whose name the sessions were run; ``fuse.region_mm`` is the edge of a region, ``fuse.tokens`` whether the
        clean EEG is added in patches.
    sessions
        Labels; all if empty.

    Returns
    -------
    Session label -> what `fusion.train` takes, lazily.

    Raises
    ------
    InputError
        If no session has features, or they have no region in common.
    """
    known = [label for label, name in sessions_of(store) if name == recipe.name and (not sessions or label in sessions)]
    runs = {}
    for label in known:
        tree = open_session(store.root, store.study, label, recipe.name)
        if "features" in tree.children:
            run = regions(tree["features"].to_dataset(), edge_mm=recipe.fuse.region_mm)
            raw = recipe.fuse.tokens == "patches"
            runs[label] = add_patches(run, tree["clean_eeg"].to_dataset()) if raw else run
    if not runs:
        raise InputError(f"study {store.study!r} must have a session with features to learn from, found none")
    return shared_regions(runs)
