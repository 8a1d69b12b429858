"""A run at work, as a widget: it tails the run folder and writes orders there, whoever learns."""

from __future__ import annotations

import base64
import contextvars
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from ipykernel.kernelbase import Kernel
from IPython.display import display

from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import InputError, MultimapError
from multimap_kernel.view.figures import figure_png
from multimap_kernel.view.figures_training import training_figure
from multimap_kernel.widgets.course import Course
from multimap_kernel.widgets.still import Still

Json = Any
_FOLDER = Path(__file__).parent
_SCRIPTS, _STYLES = ("elements", "panel", "draw", "charts", "form", "training"), ("theme", "panel", "training")
LOOK_S = 0.5
"""Between two looks at the run folder."""


@contextmanager
def watch_run(folder: RunDirectory) -> Iterator[None]:
    """Show a training run that is learned inside the block, in the same kernel.

    The widget stands below the cell and is alive while the cell runs: *Stop* ends the training with a checkpoint. With
    ``MULTIMAP_BATCH=1`` a picture takes its place when the block ends. An old order to stop is taken back.

    Parameters
    ----------
    folder
        What `fusion.train` is given.

    Raises
    ------
    StorageError
        If the folder cannot be read or written.
    """
    folder.write_control()
    if os.environ.get("MULTIMAP_BATCH") == "1":
        try:
            yield
        finally:
            picture = picture_of(folder)
            if picture:
                display(Still(picture, f"picture of the training in {folder.url}"))  # type: ignore[no-untyped-call]
        return
    widget = RunWidget(folder)
    shown = display(widget, display_id=True)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        widget.learning = False
        widget.refresh()
        if shown is not None:  # None outside a notebook
            shown.update(widget)  # now with the picture that the notebook keeps


class RunWidget(anywidget.AnyWidget):
    """Watches one run folder.

    Parameters
    ----------
    folder
        The run; None: none yet.
    first
        First values of the synced attributes.

    Attributes
    ----------
    learning
        Whether this kernel is learning the run now.
    """

    _esm = "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = "\n".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in _STYLES)
    choices = traitlets.Dict().tag(sync=True)
    runs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    run = traitlets.Unicode("").tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    plan = traitlets.Dict().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    folds: traitlets.List[Any] = traitlets.List().tag(sync=True)
    judged = traitlets.Dict().tag(sync=True)
    told = traitlets.Dict().tag(sync=True)
    acts: ClassVar[Sequence[str]] = ("stop",)
    """What a click or a key may ask for, each a method."""

    def __init__(self, folder: RunDirectory | None, **first: Json) -> None:
        self._folder, self._course = folder, Course()
        self._busy, self._ended = threading.RLock(), threading.Event()
        self.learning = folder is not None
        unasked(super().__init__, **first)
        self.refresh()
        self.on_msg(self._answer)
        threading.Thread(target=self._look, name="multimap-training", daemon=True).start()

    def stop(self) -> None:
        """Ask the run to end with a checkpoint."""
        self._there().write_control(stop=True)
        self.refresh()

    def refresh(self) -> None:
        """Show what was added to the run folder since the last look."""
        with self._busy:
            if self._folder is not None:
                unasked(self._show, self._folder)

    def _show(self, folder: RunDirectory) -> None:
        with self.hold_sync():  # the page never sees half of it
            for name in self._course.read(folder):
                setattr(self, name, getattr(self._course, name))
            self.state = self._state(folder)

    def close(self) -> None:
        """Stop looking; the run goes on."""
        self._ended.set()
        super().close()

    def _state(self, folder: RunDirectory) -> dict[str, Json]:
        if self.learning:
            return {"state": "stopping" if folder.read_control().get("stop") else "running", "words": ""}
        ends = {"": "new", "done": "done", "judged": "done", "stopped": "stopped"}
        return {"state": ends.get(self._course.last, "failed"), "words": "The cell says why."}

    def _there(self) -> RunDirectory:
        if self._folder is None:
            raise InputError("there must be a run, found none yet; start one")
        return self._folder

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.refresh()
            except MultimapError as fault:
                self.told = {"fault": str(fault)}

    def _answer(self, _: Any, message: dict[str, Json], __: Any) -> None:
        """Obey a click or a key."""
        kind, number = message.get("kind"), message.get("number", 0)
        try:
            if kind not in self.acts:
                raise InputError(f"the widget knows {', '.join(self.acts)}, found {kind!r}")
            getattr(self, str(kind))(**message.get("options", {}))
            self.told = {"kind": kind, "number": number}
        except MultimapError as fault:
            self.told = {"kind": kind, "number": number, "fault": str(fault)}

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Json], dict[str, Json]]:
        """The widget, and the picture that stays where there is no kernel."""
        data, about = super()._repr_mimebundle_(**options) or ({}, {})
        if self._course.folds:
            picture = figure_png(training_figure(self._course.plan, self._course.folds))
            data = {**data, "image/png": base64.b64encode(picture).decode()}
        return {**data, "text/plain": f"training {self.run or 'in this kernel'}"}, about


def unasked(call: Callable[..., None], *arguments: Json, **options: Json) -> None:
    """Call something that speaks to the page, as the answer to no request.

    ipykernel hands what a page says to the loop that spoke to it last, before all wishes of the page. A word from the
    main loop would thus keep the page's orders waiting until the cell ends.
    """
    context = contextvars.copy_context()
    if Kernel.initialized():
        context.run(Kernel.set_parent, Kernel.instance(), b"", {})
    context.run(call, *arguments, **options)


def picture_of(folder: RunDirectory) -> bytes:
    """PNG of what a run folder holds; empty if no fold was learned yet."""
    course = Course()
    course.read(folder)
    return figure_png(training_figure(course.plan, course.folds)) if course.folds else b""
