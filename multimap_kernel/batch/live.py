"""The rows of a running batch as a table that stays up to date: what runs and what needs a look comes first."""

from __future__ import annotations

import html
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from IPython.display import HTML, DisplayHandle

from multimap_kernel.batch.runner import Progress

HEADER = ("session", "status", "attempt", "cells", "time", "peak memory", "note")
COLOURS = {  # of the statuses, by rich's names and for HTML; both are legible on light and dark
    "waiting": ("dim", "var(--jp-ui-font-color2, #888)"),
    "running": ("cyan", "var(--jp-info-color1, #0288d1)"),
    "done": ("green", "var(--jp-success-color1, #388e3c)"),
    "excluded": ("yellow", "var(--jp-warn-color1, #c77700)"),
    "held": ("yellow", "var(--jp-warn-color1, #c77700)"),
    "preempted": ("yellow", "var(--jp-warn-color1, #c77700)"),
}
FAULT = ("red", "var(--jp-error-color1, #d32f2f)")
ORDER = ("running", "fault", "preempted", "excluded", "held", "done", "waiting")
NOTE = 120  # characters; the whole message is in run.json
PAUSE_S = 0.5


def colour(status: str) -> tuple[str, str]:
    """The colour of a status for the terminal and for HTML."""
    return COLOURS.get(status, FAULT)


def summary(rows: Iterable[Progress]) -> str:
    """One line: how many rows there are of each status."""
    counts = Counter(row.status for row in rows)
    return " · ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: _rank(item[0])))


def ordered(rows: Iterable[Progress]) -> list[Progress]:
    """Running rows first, then those that need a look, then the rest, each by name."""
    return sorted(rows, key=lambda row: (_rank(row.status), row.session))


def cells(row: Progress) -> tuple[str, ...]:
    """One row as text, in the order of `HEADER`."""
    waiting = row.status == "waiting"
    return (
        row.session,
        row.status,
        "" if waiting else str(row.attempt),
        f"{row.cells_done} of {row.cells}" if row.cells else "",
        _duration(row),
        f"{row.peak_memory_bytes / 2**20:.0f} MiB" if row.peak_memory_bytes else "",
        row.note if len(row.note) <= NOTE else f"{row.note[: NOTE - 1]}…",
    )


class BatchTable:
    """The table in a notebook; give it to `run_batch` as ``on_progress``.

    It is plain HTML, renewed in place at most twice a second, in the fonts and colours of JupyterLab's theme.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Progress] = {}
        self._shown = DisplayHandle()  # type: ignore[no-untyped-call]  # IPython
        self._renewed = float("-inf")

    def __call__(self, progress: Progress) -> None:
        """Take one row's news."""
        new = progress.session not in self._rows or self._rows[progress.session].status != progress.status
        first = not self._rows
        self._rows[progress.session] = progress
        if new or time.monotonic() - self._renewed > PAUSE_S:
            self._renewed = time.monotonic()
            show = self._shown.display if first else self._shown.update
            show(HTML(self.to_html()))  # type: ignore[no-untyped-call]  # IPython

    def to_html(self) -> str:
        """The table as it stands."""
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in HEADER)
        body = "".join(_html_row(row) for row in ordered(self._rows.values()))
        return (
            '<div style="font-family:var(--jp-ui-font-family, sans-serif);color:var(--jp-ui-font-color1, inherit)">'
            f"<p>{html.escape(summary(self._rows.values()))}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def _html_row(row: Progress) -> str:
    shown = [html.escape(text) for text in cells(row)]
    shown[1] = f'<b style="color:{colour(row.status)[1]}">{shown[1]}</b>'
    return "<tr>" + "".join(f'<td style="text-align:left">{text}</td>' for text in shown) + "</tr>"


def _rank(status: str) -> int:
    return ORDER.index(status if status in ORDER else "fault")


def _duration(row: Progress) -> str:
    if not row.started:
        return ""
    end = datetime.fromisoformat(row.ended) if row.ended else datetime.now(UTC)
    minutes, seconds = divmod(int((end - datetime.fromisoformat(row.started)).total_seconds()), 60)
    return f"{minutes}:{seconds:02d} min"
