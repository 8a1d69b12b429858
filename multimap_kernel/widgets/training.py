"""The training widget: choose what is learned from what, watch it beside ridge and null, stop it and go on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import fsspec

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline.results import sessions_of
from multimap_kernel.schema import InputError
from multimap_kernel.widgets.course import Course
from multimap_kernel.widgets.engine import ORDER, Engine
from multimap_kernel.widgets.still import Still
from multimap_kernel.widgets.watching import RunWidget, picture_of

Json = Any


def watch_training(
    bids: str, *, study: str, root: str = "", recipe: Recipe | None = None, link: str = ""
) -> TrainingWidget | Still:
    """Train the joint model on sessions of a study, and look at it while it learns.

    Parameters
    ----------
    bids
        Path or URL of the BIDS study.
    study
        Its name in the store.
    root
        The store; empty: that of the environment.
    recipe
        What the sessions were run with; the standard recipe if None.
    link
        Durable address to show below the picture in a batch run.

    Returns
    -------
    The widget, at the newest run of the study; with ``MULTIMAP_BATCH=1`` a picture of that run and the link.

    Raises
    ------
    InputError
        If no session was run with the recipe, or, in batch, no fold was ever learned.
    """
    chosen, store = recipe or Recipe(), root or Runtime().store
    place = bids if "://" in bids else str(Path(bids).absolute())  # the engine may be started from elsewhere
    if os.environ.get("MULTIMAP_BATCH") == "1":
        return Still(_newest_picture(Store(store, study)), f"picture of the training of {study}", link)
    return TrainingWidget(place, study, store if "://" in store else str(Path(store).absolute()), chosen)


class TrainingWidget(RunWidget):
    """Starts runs, and shows one at a time; the engine is a process of its own, which goes on without the kernel.

    Parameters
    ----------
    bids, study, root
        The BIDS study, its name in the store, and the store.
    recipe
        What the sessions were run with; what is chosen in the widget takes the place of its ``fuse``.

    Attributes
    ----------
    run
        Name of the run folder that is shown; "" before there is one.
    """

    acts: ClassVar[Sequence[str]] = ("start", "stop", "resume", "attach")

    def __init__(self, bids: str, study: str, root: str, recipe: Recipe) -> None:
        self._bids, self._store, self._recipe = bids, Store(root, study), recipe
        known = [label for label, name in sessions_of(self._store) if name == recipe.name]
        if not known:
            place = f"study {study!r} in {root}"
            raise InputError(f"{place} must hold sessions run with {recipe.name!r}, found none; run them first")
        super().__init__(None, choices={"sessions": known, **_options(recipe)})
        for run in runs_of(self._store)[-1:]:
            self.attach(run)

    def attach(self, run: str) -> None:
        """Show a run, whoever started it and whether it is over or not.

        Raises
        ------
        InputError
            If there is no such run.
        """
        known = runs_of(self._store)
        if run not in known:
            raise InputError(f"the run must be one of {', '.join(known) or 'none yet'}, found {run!r}")
        with self._busy:
            self._folder, self._course = RunDirectory(self._store.url("training", run)), Course()
            self._name = run
            self.refresh()

    def _show(self, folder: RunDirectory) -> None:
        with self.hold_sync():
            if self.run != self._name:
                self.runs, self.run = runs_of(self._store), self._name
            super()._show(folder)

    def start(self, sessions: Sequence[str], **options: Json) -> str:
        """Start a new run and show it.

        Parameters
        ----------
        sessions
            Labels to learn from.
        options
            ``lags_s``, ``kind``, ``folds``, ``gap_s``, ``size``, ``seed``: see `config.Fuse`.

        Returns
        -------
        Name of the run.

        Raises
        ------
        InputError
            If a session is unknown or an option has no meaning.
        """
        unknown = sorted(set(sessions) - set(self.choices["sessions"]))
        if unknown or not sessions:
            found = ", ".join(unknown) or "none"
            raise InputError(f"sessions to learn from must be among those of the study, found {found}")
        recipe = _changed(self._recipe, options)
        run = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        place = ["--store", self._store.root, "--study", self._store.study]
        engine = Engine(self._store.url("training", run))
        engine.begin([self._bids, *place, "--workers", "0", "--sessions", *sessions], recipe.dump())
        self.attach(run)
        return run

    def stop(self) -> None:
        """Ask the run to end with a checkpoint."""
        Engine(self._there().url).stop()
        self.refresh()

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        Engine(self._there().url).resume()
        self.refresh()

    def _state(self, folder: RunDirectory) -> dict[str, Json]:
        engine = Engine(folder.url)
        state = engine.state(self._course.last)
        return {"state": state, "words": engine.last_words() if state == "failed" else ""}


def runs_of(store: Store) -> list[str]:
    """Names of the training runs of a study, oldest first."""
    fs, path = fsspec.core.url_to_fs(store.url("training"))
    return sorted(found.rsplit("/", 2)[-2] for found in fs.glob(f"{path}/*/{ORDER}"))


def _newest_picture(store: Store) -> bytes:
    """The newest run that has something to show."""
    for run in reversed(runs_of(store)):
        picture = picture_of(RunDirectory(store.url("training", run)))
        if picture:
            return picture
    raise InputError(f"{store.url('training')} must hold a run with one fold at least, found none; train first")


def _options(recipe: Recipe) -> dict[str, Json]:
    fuse = recipe.fuse
    return {"lags_s": list(fuse.lags_s), **fuse.split.model_dump(), "size": fuse.size, "seed": fuse.seed}


def _changed(recipe: Recipe, options: dict[str, Json]) -> Recipe:
    """The recipe with what a person chose; faults are told as those of a recipe."""
    stored = recipe.model_dump(mode="json")
    split = {name: options[name] for name in ("kind", "folds", "gap_s") if name in options}
    rest = {name: value for name, value in options.items() if name not in split}
    stored["fuse"] = {**stored["fuse"], **rest, "model": "joint", "split": {**stored["fuse"]["split"], **split}}
    return Recipe.parse(stored, "the chosen options")
