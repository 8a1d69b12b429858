"""The session browser: what there is of each session, opened by a click, and what is missing started by one."""

from __future__ import annotations

import html
import os
import posixpath
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import fsspec
import ipywidgets
import traitlets

from multimap_kernel.batch.records import PAGE, RunRecord, list_runs
from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import STEPS, Attempt, SessionStates, open_maps, session_states
from multimap_kernel.schema import InputError, MultimapError
from multimap_kernel.view.embed import show
from multimap_kernel.widgets.alignment import AlignmentWidget
from multimap_kernel.widgets.review import Review
from multimap_kernel.widgets.starter import Starter

Json = Any
Bundle = dict[str, Any]
_FOLDER = Path(__file__).parent
_CSS = "\n".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("theme", "sessions"))
RUNS = "runs"
"""Folder of a study's runs in the store."""


def browse_sessions(
    bids: str, *, study: str, recipe: Recipe | None = None, runtime: Runtime | None = None
) -> SessionBrowser | StillTable:
    """Look over the sessions of a study, open what is there, start what is missing.

    Parameters
    ----------
    bids, study, recipe, runtime
        As in `run`; the standard recipe and runtime if left out.

    Returns
    -------
    The widget; with ``MULTIMAP_BATCH=1`` a table in HTML, because a widget in an executed notebook is dead.

    Raises
    ------
    InputError
        If the study does not exist.
    """
    recipe, runtime = recipe or Recipe(), runtime or Runtime()
    if os.environ.get("MULTIMAP_BATCH") == "1":
        attempts = _attempts(_runs(Store(runtime.store, study)))
        return StillTable(session_states(bids, study=study, recipe=recipe, runtime=runtime, attempts=attempts))
    return SessionBrowser(bids, study=study, recipe=recipe, runtime=runtime)


class StillTable:
    """The states of sessions as a table that needs no kernel."""

    def __init__(self, states: Sequence[SessionStates]) -> None:
        self.states = states

    def _repr_html_(self) -> str:
        return states_html(self.states)

    def __repr__(self) -> str:
        return "\n".join(f"{one.session}: {', '.join(f'{k} {v}' for k, v in one.steps.items())}" for one in self.states)


def states_html(states: Sequence[SessionStates]) -> str:
    """The states as one HTML table with its own colours, each also written as a word."""
    head = "".join(f"<th scope='col'>{step.name}</th>" for step in STEPS)
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(one.session)}"
        + (f"<small>{html.escape(told)}</small>" if (told := _told(one)) else "")
        + "</th>"
        + "".join(f"<td class='mm-{state}'>{state}</td>" for state in one.steps.values())
        + "</tr>"
        for one in states
    )
    return (
        f"<div class='multimap-widget multimap-sessions'><style>{_CSS}</style>"
        f"<table><tr><th scope='col'>session</th>{head}</tr>{rows}</table></div>"
    )


def _told(states: SessionStates) -> str:
    """What is known beside the states; the row has the session's name already."""
    return states.told.removeprefix(f"{states.session}: ")


class _Table(anywidget.AnyWidget):
    """The table in the browser; all that it draws is in its state, so that it is drawn without a kernel too."""

    _esm = "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("elements", "sessions"))
    _css = _CSS
    steps: traitlets.List[str] = traitlets.List().tag(sync=True)
    rows: traitlets.List[Json] = traitlets.List().tag(sync=True)
    told = traitlets.Unicode("").tag(sync=True)


class SessionBrowser(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets carries no types
    """The table, and below it what was opened.

    Parameters
    ----------
    bids, study, recipe, runtime
        As in `browse_sessions`.

    Attributes
    ----------
    states
        What the table shows.
    """

    def __init__(self, bids: str, *, study: str, recipe: Recipe, runtime: Runtime) -> None:
        self._bids, self._recipe, self._runtime = bids, recipe, runtime
        self._store = Store(runtime.store, study)
        self._starter = Starter(bids, study=study, recipe=recipe, runtime=runtime, changed=self.refresh)
        self._lock = threading.Lock()
        self._records: list[RunRecord] = []
        self._alignment: AlignmentWidget | None = None
        self.states: tuple[SessionStates, ...] = ()
        self._table = _Table(steps=[step.name for step in STEPS])
        self._opened = ipywidgets.Output()
        self.refresh()
        super().__init__([self._table, self._opened])
        self._table.on_msg(self._answer)

    def refresh(self, session: str = "") -> None:
        """Read the states again, of one session or of all and their runs; may be called from any thread."""
        with self._lock:
            if not session:
                self._records = _runs(self._store)
            found = session_states(
                self._bids,
                study=self._store.study,
                sessions=[session] if session else [],
                recipe=self._recipe,
                runtime=self._runtime,
                attempts=[*_attempts(self._records), *self._starter.attempts()],
            )
            new = {one.session: one for one in found}
            self.states = tuple(new.get(one.session, one) for one in self.states) if session else found
            pages = {record.session for record in self._records if record.ended}
            self._table.rows = [_row(one, page=one.session in pages) for one in self.states]

    def start(self, session: str) -> None:
        """Start what is missing of a session in a process of its own; returns at once.

        Raises
        ------
        InputError
            If the session is not in the study, is excluded, or has everything.
        """
        states = next((one for one in self.states if one.session == session), None)
        if states is None:
            raise InputError(f"the session must be one of {', '.join(o.session for o in self.states)}, found {session}")
        if set(states.steps.values()) <= {"done", "excluded"}:
            raise InputError(f"{session} has nothing to start: it is {states.told or 'done'}")
        self._starter.start(session)
        self.refresh(session)

    def reveal(self, session: str, what: str) -> None:
        """Show below the table a session's ``alignment``, its ``maps``, or its executed ``notebook``.

        Raises
        ------
        InputError
            If the session does not have it.
        """
        makers = {"alignment": self._open_alignment, "maps": self._open_maps, "notebook": self._open_notebook}
        if what not in makers:
            raise InputError(f"what is opened must be one of {', '.join(makers)}, found {what!r}")
        self._opened.outputs = tuple({"output_type": "display_data", **bundle} for bundle in makers[what](session))

    def _open_alignment(self, session: str) -> list[Bundle]:
        """The widget in which it is judged; what is decided there shows in the table at once."""
        if self._alignment is not None:
            self._alignment.close()
        self._alignment = AlignmentWidget(Review(self._store, session, self._recipe.name))
        self._alignment.observe(lambda _: self.refresh(session), "decisions")
        data, about = self._alignment._repr_mimebundle_()
        return [{"data": data, "metadata": about}]

    def _open_maps(self, session: str) -> list[Bundle]:
        opened = open_maps(self._store, session, self._recipe.name)
        series = opened.tree["features"].to_dataset().assign(prediction=opened.tree["fuse"]["prediction"])
        volumes = opened.tree["normalise"].to_dataset()
        shown = show(opened.maps, anatomy=opened.anatomy, series=series, volumes=volumes)
        return [{"data": data, "metadata": {}} for data in shown.outputs()]

    def _open_notebook(self, session: str) -> list[Bundle]:
        """The page of the newest attempt, without the right to run anything."""
        for record in reversed(self._records):
            fs, path = fsspec.core.url_to_fs(posixpath.join(record.folder, PAGE))
            if record.session == session and fs.exists(path):
                page = html.escape(fs.cat_file(path).decode("utf-8"))
                title = html.escape(f"executed notebook of {session}")
                style = 'width="100%" height="700" style="border:0; background:#fff"'
                frame = f'<iframe sandbox srcdoc="{page}" title="{title}" {style}></iframe>'
                return [{"data": {"text/html": frame, "text/plain": record.folder}, "metadata": {}}]
        raise InputError(f"{session} must have an executed notebook, found none; run one with multimap batch")

    def _answer(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """Do what was clicked; what goes wrong is said in the table."""
        session = str(message.get("session", ""))
        try:
            if message.get("do") == "start":
                self.start(session)
            elif message.get("do") == "open":
                self.reveal(session, str(message.get("what")))
            self.refresh()
            told = ""
        except (MultimapError, OSError) as fault:
            told = str(fault)
        self._table.told = told
        self._table.send({"answered": message.get("do")})

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget, and for a notebook that is opened without a kernel the table."""
        return {**super()._repr_mimebundle_(**options), "text/html": states_html(self.states)}


def _row(states: SessionStates, *, page: bool) -> Json:
    return {"session": states.session, "states": list(states.steps.values()), "told": _told(states), "page": page}


def _runs(store: Store) -> list[RunRecord]:
    """What was run in batch, oldest first."""
    return sorted(list_runs(store.url(RUNS)), key=lambda record: record.started)


def _attempts(records: Sequence[RunRecord]) -> list[Attempt]:
    """What the newest run of each session in batch knows that the store does not: that it is at work, or failed."""
    newest = {record.session: record for record in records}
    return [_attempt(record) for record in newest.values() if record.status != "done"]


def _attempt(record: RunRecord) -> Attempt:
    running = record.status == "running"
    told = f"running on {record.host} since {record.started[:19]} UTC" if running else record.error
    return Attempt(record.session, running, told, record.keys)
