"""The history of a training run as what a person looks at: what is planned, how far it is, what each fold gave."""

from __future__ import annotations

from typing import Any

from multimap_kernel.io.runfolder import RunDirectory

Json = Any
POINTS = 400
"""Of one name that are drawn; more are thinned out."""


class Course:
    """What was read of one run so far.

    Attributes
    ----------
    plan
        Facts of the event ``started``: runs, regions, lags, split.
    progress
        ``job``, ``step`` of ``steps``, ``part``, ``eta_s``, and ``losses``: name -> [part, value] since the beginning;
        a value of None parts one network from the next.
    folds
        Facts of each fold, by number.
    judged
        The evaluation at the end.
    last
        Kind of the last event.
    """

    def __init__(self) -> None:
        self.plan: dict[str, Json] = {}
        self.progress: dict[str, Json] = {}
        self.folds: list[Json] = []
        self.judged: dict[str, Json] = {}
        self.last = ""
        self._place = 0

    def read(self, folder: RunDirectory) -> set[str]:
        """Take in what is new, and name what has changed: all four at the first look."""
        first = self._place == 0
        events, self._place = folder.follow(self._place)
        changed = {"plan", "progress", "folds", "judged"} if first else set()
        for event in events:
            changed |= self._take(event)
            self.last = event["event"]
        return changed

    def _take(self, event: dict[str, Json]) -> set[str]:
        kind = event["event"]
        if kind == "started":
            self.plan = event
            return {"plan"}
        if kind == "step":
            self.progress = self._stepped(event)
            return {"progress"}
        if kind == "fold":
            self.folds = [one for one in self.folds if one["fold"] < event["fold"]] + [event]
            return {"folds"}
        if kind == "judged":
            self.judged = event["evaluation"]
            return {"judged"}
        return set()

    def _stepped(self, event: dict[str, Json]) -> dict[str, Json]:
        losses = {name: list(points) for name, points in self.progress.get("losses", {}).items()}
        fresh = event["job"] != self.progress.get("job")
        for name, value in event["losses"].items():
            points = [point for point in losses.get(name, []) if point[0] < event["part"]]
            if len(points) > POINTS:
                points = [point for place, point in enumerate(points) if place % 2 or point[1] is None]
            ended = [[points[-1][0], None]] if fresh and points else []
            losses[name] = [*points, *ended, [event["part"], value]]
        return {**event, "losses": losses}
