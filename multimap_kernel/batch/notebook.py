"""An executed notebook, made to say what really happened, with its pictures as files and a way to the live viewer."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import nbformat

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.pipeline.keys import GROUP_FOLDER

BANNER = "multimap-status"  # tag of the cell that tells a reader of the notebook what became of the run
IMAGES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def read_notebook(path: Path) -> Any:
    """Read a notebook's file; it is closed whatever it holds."""
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def find_failure(path: Path) -> tuple[str, str]:
    """Find the cell of an executed notebook that raised, or that was running at the end.

    Returns
    -------
    The cell as ``In [3]: first line``, and the exception in one line (empty if none was raised).
    """
    started = ""
    cells = _code(read_notebook(path))
    for number, cell in enumerate(cells, start=1):  # a kernel that died may not have told its own count any more
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith("#")]
        name = f"In [{number}]: {lines[0] if lines else ''}"
        for output in cell.outputs:
            if output.output_type == "error":
                return name, f"{output.ename}: {output.evalue}"
        if cell.metadata.get("papermill", {}).get("start_time"):
            started = name
    return started, ""


def correct_notebook(path: Path, record: RunRecord) -> None:
    """Make the executed notebook say what its record says.

    papermill marks every cell as completed after a kernel died or a time limit passed, also those that never ran.

    Parameters
    ----------
    path
        The executed notebook; changed in place.
    record
        What really happened.
    """
    notebook = read_notebook(path)
    _drop_widgets(notebook)
    _link_pictures(notebook, record)
    notebook.metadata["multimap"] = {"status": record.status, "exit_code": record.exit_code, "run_id": record.run_id}
    if record.status != "done":
        cells = [cell.metadata.setdefault("papermill", {}) for cell in _code(notebook)]
        started = [about for about in cells if about.get("start_time")]
        for about in cells:
            if about not in started:
                about.update(status="pending", exception=None, end_time=None, duration=None)
        if started:
            started[-1].update(status="failed", exception=True)
        notebook.metadata.setdefault("papermill", {})["exception"] = True
        notebook.cells.insert(0, _banner(record))
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    part.replace(path)


def save_pictures(path: Path, folder: Path) -> int:
    """Write every picture of an executed notebook as a file ``cell-03-1.png``; returns how many there are."""
    count = 0
    for number, cell in enumerate(_code(read_notebook(path)), start=1):
        for place, (kind, content) in enumerate(_pictures(cell), start=1):
            folder.mkdir(exist_ok=True)
            data = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
            (folder / f"cell-{number:02d}-{place}.{IMAGES[kind]}").write_bytes(data)
            count += 1
    return count


def count_cells(path: Path) -> tuple[int, int]:
    """How many code cells of a notebook are done, and how many there are; zeros while it is just being written."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return 0, 0
    states = [cell["metadata"].get("papermill", {}).get("status") for cell in cells if cell["cell_type"] == "code"]
    return states.count("completed"), len(states)


def _pictures(cell: Any) -> list[tuple[str, str]]:
    """Kind and content of each picture of a cell; of several forms of one picture the first in `IMAGES`."""
    bundles = [output.get("data", {}) for output in cell.outputs]
    found = [next(((kind, bundle[kind]) for kind in IMAGES if kind in bundle), None) for bundle in bundles]
    return [(kind, "".join(content)) for kind, content in filter(None, found)]


def _drop_widgets(notebook: Any) -> None:
    """The state of widgets is dead without its kernel, and can be larger than everything else."""
    notebook.metadata.pop("widgets", None)
    for cell in _code(notebook):
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)
        cell.outputs = [output for output in cell.outputs if output.get("data", True)]


def _link_pictures(notebook: Any, record: RunRecord) -> None:
    """Say under each picture how to come from it to the live viewer; the command works where the store can be read."""
    parameters = record.parameters
    if not (parameters.get("study") and (parameters.get("session") or parameters.get("bids"))):
        return  # the notebook's own demonstration, whose store is gone
    words = ["multimap", "show", "--study", parameters["study"]]
    if session := parameters.get("session") or _of_study(notebook):
        words += ["--session", session]
    if (name := record.recipe.get("name", "default")) != "default":
        words += ["--recipe-name", name]
    if parameters.get("store"):
        words += ["--store", parameters["store"]]
    command = shlex.join(words)
    line = f"live viewer: <code>{html.escape(command)}</code>"
    for cell in _code(notebook):
        if _pictures(cell):
            data = {"text/html": line, "text/plain": f"live viewer: {command}"}
            cell.outputs.append(nbformat.v4.new_output("display_data", data=data))


def _of_study(notebook: Any) -> str:
    """What the maps of a whole study are called, for a notebook that asks for no session; else nothing."""
    asked = [cell.source for cell in _code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    return "" if any(re.search(r"^session\b", source, re.MULTILINE) for source in asked) else GROUP_FOLDER


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _banner(record: RunRecord) -> Any:
    where = f" in `{record.cell}`" if record.cell else ""
    lines = [f"**This run is not done: {record.status}** (exit code {record.exit_code}){where}"]
    if record.error:
        lines.append(f"`{record.error}`")
    return nbformat.v4.new_markdown_cell("\n\n".join(lines), metadata={"tags": [BANNER]})
