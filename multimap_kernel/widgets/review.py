"""One session under a person's eyes: what the store holds of it, what was decided, and what that does to its clocks."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import fsspec
import numpy as np

from multimap_kernel.align import correct_alignment, correct_markers
from multimap_kernel.io.decisions import decide, effective, history
from multimap_kernel.io.store import Store, read_json
from multimap_kernel.pipeline.results import session_path
from multimap_kernel.pipeline.steps import STEPS
from multimap_kernel.schema import Alignment, Decision, InputError, MultimapError, sampling

Json = Any


class Judgement(NamedTuple):
    """The clocks under some decisions; without an alignment ``fault`` tells why there is none."""

    alignment: Alignment | None
    fault: str = ""

    @property
    def residual(self) -> np.ndarray:
        """Marker minus model (volume,), s; NaN where no marker was found."""
        values = self.alignment.residual_s if self.alignment else ()
        return np.array([np.nan if value is None else value for value in values])


class Review:
    """A session, opened from the store and judged again whenever somebody decides.

    Parameters
    ----------
    store
        Study that the session belongs to.
    session
        Session label.
    recipe
        Name of the recipe whose results are shown; where the session never came through the line with it, what
        ingest left is enough to correct what stopped it.

    Raises
    ------
    InputError
        If the session was never ingested.
    """

    def __init__(self, store: Store, session: str, recipe: str = "default") -> None:
        self.store, self.session = store, session
        pointer = read_json(store.url(session_path(session), "current", f"{recipe}.json")) or {}
        self.marker = str(pointer.get("recipe", {}).get("align", {}).get("marker", ""))
        named = {name: (where["place"], where["key"]) for name, where in pointer.get("steps", {}).items()}
        named["ingest"] = _ingested(store, session, named.get("ingest"))
        self.commits: Mapping[str, Json] = {name: store.commit(*where) or {} for name, where in named.items()}
        opened = {name: store.open(*where, chunked=False) for name, where in named.items() if name in _SHOWN}
        self.recording, self.bold = opened["ingest"]["eeg"], opened["ingest"]["bold"]
        self.clean = opened.get("clean_eeg", {}).get("")
        self.confounds = opened.get("normalise", {}).get("confounds")
        self.features = opened.get("features", {}).get("")
        stored = self.commits.get("align", {}).get("values", {}).get("alignment")
        self.applied = Alignment.from_json(stored) if stored else None
        self.refresh()

    def refresh(self) -> None:
        """Read the decisions again, and judge the clocks under those that hold."""
        self.decisions = history(self.store, self.session)
        self.held = effective(self.decisions)
        self.judgement = self._judge(self.held)

    @property
    def clock(self) -> Alignment:
        """The clock that times are shown by: the one that holds, else the last one applied, else that of the EEG."""
        if self.judgement.alignment:
            return self.judgement.alignment
        if self.applied:
            return replace(self.applied, verdict="none", reasons=(self.judgement.fault,))
        period = float(self.bold.attrs["repetition_time"])
        told = (self.judgement.fault,)
        return Alignment(0.0, (0.0, 0.0), 0.0, (), period, self.marker, 0, verdict="none", reasons=told)

    @property
    def markers(self) -> np.ndarray:
        """Times of the volume markers as they are corrected now, s on the EEG clock."""
        label = self.clock.marker or self.marker
        try:
            ds = correct_markers(self.recording, self.held, marker=label)
        except InputError:  # one to delete is not there: the judgement says so
            ds = self.recording
        named = np.array([str(text).strip() for text in ds["marker_label"].values]) == label
        return np.sort(ds["marker_onset"].values[named if label else slice(None)])

    def stale(self) -> tuple[str, ...]:
        """Steps whose results here were made under other decisions, or rest on such: the next run sees to them."""
        known = {item.identifier: (item.action, item.value) for item in self.decisions}
        changed: list[str] = []
        for step in STEPS:
            used = [known.get(name, ("", "")) for name in self.commits.get(step.name, {}).get("decisions", ())]
            now = [(item.action, item.value) for item in step.decisions(self.held)]
            if step.name not in self.commits or sorted(used) != sorted(now) or set(step.reads) & set(changed):
                changed.append(step.name)
        return tuple(changed)

    def preview(self, action: str, value: str) -> Judgement:
        """The clocks as they would be after one more decision; nothing is recorded."""
        value = self.stored_value(action, value)
        trial = Decision("~", self.session, "you", "", action, value)
        return self._judge(effective((*self.decisions, trial)))

    def decide(self, action: str, value: str = "", reason: str = "") -> Decision:
        """Record a decision whose times are those of the screen; raises InputError if it lacks what it needs."""
        made = decide(self.store, self.session, action, value=self.stored_value(action, value), reason=reason)
        self.refresh()
        return made

    def undo(self, identifier: str = "") -> Decision:
        """Take a decision back, by default the latest that holds; raises InputError if there is none."""
        latest = max((item.identifier for item in self.held), default="")
        if not (identifier or latest):
            raise InputError(f"a decision about {self.session} must hold to be taken back, found none")
        made = decide(self.store, self.session, "undo", supersedes=identifier or latest)
        self.refresh()
        return made

    def stored_value(self, action: str, shown: str) -> str:
        """What is recorded for what a person typed or pointed at: s of the EEG clock for scanner time, s for ms."""
        try:
            if action == "shift":
                return f"{float(shown) / 1e3:.9g}"
            if action == "add_marker":
                return f"{self._eeg_time(float(shown)):.6f}"
            if action == "drop_marker" and self.markers.size:
                nearest = self.markers[np.abs(self.markers - self._eeg_time(float(shown))).argmin()]
                return f"{nearest:.6f}"
            if action == "bad_span":
                begin, end = sorted(self._eeg_time(float(part)) for part in shown.split(":"))
                return f"{max(begin, 0.0):.4f}:{end:.4f}"
        except ValueError:
            raise InputError(f"{action.replace('_', ' ')} needs a number, found {shown!r}") from None
        return shown.strip()

    def shown_value(self, decision: Decision) -> str:
        """What a person reads for what was recorded."""
        if decision.action == "shift":
            return f"{float(decision.value) * 1e3:+.6g} ms"
        if decision.action in {"add_marker", "drop_marker"}:
            return f"at {self.clock.scanner_time(float(decision.value)):.3f} s"
        if decision.action == "bad_span":
            begin, end = (self.clock.scanner_time(float(part)) for part in decision.value.split(":"))
            return f"{begin:.2f} to {end:.2f} s"
        return decision.value + (" s" if decision.action == "repetition_time" else "")

    def _eeg_time(self, scanner_time: float) -> float:
        return self.clock.offset_s + self.clock.pace * scanner_time

    def _judge(self, decisions: tuple[Decision, ...]) -> Judgement:
        try:
            return Judgement(correct_alignment(self.recording, self.bold, decisions, marker=self.marker))
        except MultimapError as fault:
            return Judgement(None, str(fault))

    @property
    def quantum(self) -> float:
        """One sample of the recording, s."""
        return 1.0 / sampling(self.recording).frequency


_SHOWN = frozenset({"ingest", "clean_eeg", "normalise", "features"})


def _ingested(store: Store, session: str, named: tuple[str, str] | None) -> tuple[str, str]:
    """The recording as its files tell it: a repetition time that was decided comes on top, and can be taken back."""
    place = f"{session_path(session)}/ingest"
    fs, folder = fsspec.core.url_to_fs(store.url(place))
    keys = [posixpath.basename(path.rstrip("/")) for path in fs.ls(folder, detail=False)] if fs.exists(folder) else []
    found = {key: commit for key in keys if (commit := store.commit(place, key))}
    if named and not found.get(named[1], {}).get("decisions"):
        return named
    as_read = {key: commit for key, commit in found.items() if not commit["decisions"]} or found
    if not as_read:
        where = f"study {store.study!r} in {store.root}"
        raise InputError(
            f"{session} of {where} must have been ingested, found nothing; run it first, it may stop later"
        )
    return place, max(as_read, key=lambda key: str(as_read[key]["created"]))
