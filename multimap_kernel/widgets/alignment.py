"""The alignment widget: do markers and volumes agree, what did cleaning leave, and what a person decides about it."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anywidget
import traitlets

from multimap_kernel.io.store import Store
from multimap_kernel.pipeline.results import sessions_of
from multimap_kernel.schema import InputError, MultimapError
from multimap_kernel.view.figures import alignment_figure, figure_png
from multimap_kernel.widgets.panels import (
    clocks_of,
    decisions_of,
    detail_of,
    facts_of,
    summary,
    timeline_of,
    window_of,
)
from multimap_kernel.widgets.review import Review
from multimap_kernel.widgets.still import Still

Json = Any
_FOLDER = Path(__file__).parent
_MODULES = ("elements", "panel", "draw", "timeline", "traces", "actions", "moves", "alignment")
FIRST_S, COLUMNS = 12.0, 1200
"""Length of the window that is shown first, and its columns at most."""


def review_alignment(
    root: str, study: str, session: str = "", *, recipe: str = "default", link: str = ""
) -> AlignmentWidget | Still:
    """Look at a session's clocks and cleaning, and decide about it.

    Parameters
    ----------
    root, study
        The store and the study's name in it.
    session
        Session label; empty for the first one that was run with the recipe.
    recipe
        Name of the recipe whose results are shown.
    link
        Durable address to show below the picture in a batch run.

    Returns
    -------
    The widget; with ``MULTIMAP_BATCH=1`` a picture and the link, because a widget in an executed notebook is dead.

    Raises
    ------
    InputError
        If the session was never ingested, or the link is no web address.
    """
    if link and urlsplit(link).scheme not in {"", "http", "https"}:
        raise InputError(f"link must be a web address (http, https or a path), found {link!r}")
    store = Store(root, study)
    session = session or next((label for label, name in sessions_of(store) if name == recipe), "")
    if not session:
        raise InputError(f"study {study!r} in {root} must hold a session run with {recipe!r}, found none; run it first")
    review = Review(store, session, recipe)
    if os.environ.get("MULTIMAP_BATCH") == "1":
        return Still(_picture(review), f"picture of the alignment of {review.session}", link)
    return AlignmentWidget(review)


class AlignmentWidget(anywidget.AnyWidget):
    """A session under review; every decision is a file in the store, so nothing is lost with the kernel.

    Parameters
    ----------
    review
        The opened session.

    Attributes
    ----------
    picked
        Time that the cursor is at, s on the scanner clock; None before anybody picked one. May be set from here.
    """

    _esm = "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _MODULES)
    _css = "\n".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("theme", "panel", "alignment"))
    facts = traitlets.Dict().tag(sync=True)
    clocks = traitlets.Dict().tag(sync=True)
    decisions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    timeline = traitlets.Dict().tag(sync=True)
    window = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    preview = traitlets.Dict().tag(sync=True)
    done = traitlets.Dict().tag(sync=True)
    picked = traitlets.Float(None, allow_none=True).tag(sync=True)

    def __init__(self, review: Review) -> None:
        self.review = review
        facts = facts_of(review)
        # the first view is part of the state: a question asked while cells are queued waits until all have run
        super().__init__(
            facts=facts,
            window=window_of(review, 0.0, FIRST_S, COLUMNS),
            detail=detail_of(review, facts["channels"][0], 0.0, FIRST_S),
            **self._judged(),
        )
        self.on_msg(self._answer)

    def _judged(self) -> dict[str, Json]:
        return {
            "clocks": clocks_of(self.review),
            "decisions": decisions_of(self.review),
            "timeline": timeline_of(self.review),
        }

    def _answer(self, _: Any, message: dict[str, Json], __: Any) -> None:
        """Answer one question of the browser; the kernel runs this beside a busy cell."""
        kind, number = message.get("kind"), int(message.get("number", 0))
        try:
            if kind == "window":
                ends = float(message["start"]), float(message["stop"])
                made = window_of(self.review, *ends, min(int(message["columns"]), 4_000))
                self.window = {**made, "number": number}
            elif kind == "detail":
                made = detail_of(self.review, str(message["channel"]), float(message["start"]), float(message["stop"]))
                self.detail = {**made, "number": number}
            elif kind == "preview":
                self.preview = {**self._foreseen(str(message["action"]), str(message["value"])), "number": number}
            else:
                self.done = {"kind": kind, "number": number, **self._decided(message)}
        except Exception as fault:
            self.done = {"kind": kind, "number": number, "fault": str(fault) or repr(fault)}
            if not isinstance(fault, MultimapError):
                raise

    def _foreseen(self, action: str, value: str) -> dict[str, Json]:
        judgement = self.review.preview(action, value)
        return {**summary(judgement), "residual": (judgement.residual * 1e3).astype("f4").tobytes()}

    def _decided(self, message: dict[str, Json]) -> dict[str, Json]:
        before = summary(self.review.judgement)
        if message["kind"] == "undo":
            self.review.undo(str(message.get("identifier", "")))
        elif message["kind"] == "decide":
            self.review.decide(str(message["action"]), str(message["value"]), str(message["reason"]).strip())
        else:
            raise InputError(f"the widget answers window, detail, preview, decide and undo, found {message['kind']!r}")
        for name, value in self._judged().items():
            setattr(self, name, value)
        return {"before": before, "after": summary(self.review.judgement)}

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Json], dict[str, Json]]:
        """The widget, and the picture that stays where there is no kernel."""
        data, about = super()._repr_mimebundle_(**options) or ({}, {})
        picture = base64.b64encode(_picture(self.review)).decode()
        return {**data, "image/png": picture, "text/plain": f"alignment of {self.review.session}"}, about


def _picture(review: Review) -> bytes:
    return figure_png(alignment_figure(review.clock, eeg=review.recording))
