"""The table of a running batch: every column at any width, what needs a look first, text that is text."""

import pytest
from rich.console import Console

from multimap_kernel.batch.live import HEADER, BatchTable, ordered
from multimap_kernel.batch.runner import Progress
from multimap_kernel.console import batches

START, END = "2026-11-25T21:00:00+00:00", "2026-11-25T21:03:10+00:00"
FAULT = "InputError: one label must come once per volume, 60 times, every 2 s; found <none> & nothing else"


@pytest.fixture
def rows():
    made = [
        Progress("sub-02_task-true", 1, "done", 4, 4, 456 * 2**20, START, END),
        Progress("sub-05_task-true", 1, "bad-input", 2, 4, 451 * 2**20, START, END, FAULT),
        Progress("sub-08_task-true", 2, "running", 3, 4, 900 * 2**20, START),
        Progress("sub-11_task-true", 0, "waiting", 0, 0, 0),
    ]
    return {row.session: row for row in made}


@pytest.mark.parametrize("width", [80, 100, 200])
def test_table__keeps_every_column_and_shortens_the_note(rows, width, monkeypatch):
    screen = Console(width=width, record=True, highlight=False)
    monkeypatch.setattr(batches, "OUT", screen)
    screen.print(batches._table(rows))
    counts, header, *lines = screen.export_text().splitlines()
    assert counts.strip() == "1 running · 1 bad-input · 1 done · 1 waiting"
    assert all(name in header for name in HEADER)
    assert [line.split()[1] for line in lines] == ["running", "bad-input", "done", "waiting"]
    assert lines[1].split()[2:8] == ["1", "2", "of", "4", "3:10", "min"]
    assert ("found <none> & nothing else" in lines[1]) == (width == 200)


def test_batch_table__shows_text_as_text(rows):
    table = BatchTable()
    table._rows = rows
    page = table.to_html()
    assert "found &lt;none&gt; &amp; nothing else" in page
    assert page.index("sub-08") < page.index("sub-05") < page.index("sub-02") < page.index("sub-11")
    assert next(row.status for row in ordered(rows.values())) == "running"
