"""What became of a run: the exit code of its process is the truth, and the executed notebook is made to agree."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat

from multimap_kernel.config import Recipe
from multimap_kernel.io.store import canonical
from multimap_kernel.schema import errors

Status = Literal[
    "running", "done", "failed", "bad-input", "excluded", "storage-failed", "preempted", "timed-out", "died"
]
DONE, RAISED, STORAGE, PREEMPTED, TIMED_OUT, KILLED, KERNEL_DIED = 0, 10, 30, 75, 124, 137, 138
_STATUS: dict[int, Status] = {
    DONE: "done",
    RAISED: "failed",
    20: "bad-input",
    21: "excluded",
    STORAGE: "storage-failed",
    PREEMPTED: "preempted",
    TIMED_OUT: "timed-out",
    KILLED: "died",
    KERNEL_DIED: "died",
}
TRANSIENT = frozenset({STORAGE, PREEMPTED, KILLED, KERNEL_DIED})  # worth one more attempt
BANNER = "multimap-status"  # tag of the cell that tells a reader of the notebook what became of the run


@dataclass(frozen=True)
class RunRecord:
    """One attempt at one notebook; ``run.json`` is this, and nothing else says what happened.

    Parameters
    ----------
    run_id, session, attempt
        Which attempt of which row of which batch.
    folder
        Where ``notebook.ipynb``, ``notebook.html``, ``run.json`` and ``log.txt`` are.
    notebook, parameters
        What was executed.
    notebook_hash, recipe_hash, code_version
        sha256 of the notebook and of the recipe without its name (empty if the notebook takes none), and the version
        of multimap.
    status, exit_code
        What became of it; the exit code is None while it runs.
    started, ended
        UTC, ISO 8601.
    peak_memory_bytes
        Largest proportional set size of the process tree; workers of a shared cluster are not in it.
    cell, error, log_tail
        Of a run that is not done: the cell that was running, what was raised, the end of the log.
    """

    run_id: str
    session: str
    attempt: int
    folder: str
    notebook: str
    parameters: dict[str, Any] = field(default_factory=dict)
    notebook_hash: str = ""
    recipe_hash: str = ""
    code_version: str = ""
    status: Status = "running"
    exit_code: int | None = None
    started: str = ""
    ended: str = ""
    peak_memory_bytes: int = 0
    cell: str = ""
    error: str = ""
    log_tail: str = ""

    def save(self) -> None:
        """Write ``run.json``; a reader sees the old one or the new one, never a half."""
        part = Path(self.folder, "run.json.part")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")
        part.replace(part.with_suffix(""))

    def fits(self, notebook: str | Path, recipe: Recipe) -> bool:
        """Whether this run executed this very notebook with this very recipe."""
        return (self.notebook_hash, self.recipe_hash) == (hash_notebook(notebook), hash_recipe(recipe))

    @classmethod
    def load(cls, folder: str | Path) -> RunRecord:
        """Read ``run.json`` of an attempt's folder."""
        return cls(**json.loads(Path(folder, "run.json").read_text(encoding="utf-8")))


def hash_notebook(path: str | Path) -> str:
    """The sha256 of a notebook's file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def hash_recipe(recipe: Recipe) -> str:
    """The sha256 of everything in a recipe but its name, which changes no result."""
    return hashlib.sha256(canonical(recipe.model_dump(mode="json", exclude={"name"}))).hexdigest()


def status_of(exit_code: int) -> Status:
    """Name what an exit code means; a signal that nobody caught (above 128) is a death."""
    return _STATUS.get(exit_code, "died" if exit_code > 128 else "failed")


def exit_code_of(exception: str) -> int:
    """The exit code for an exception that a notebook raised, known by the name of its class only."""
    kind = getattr(errors, exception, None)
    return int(kind.exit_code) if isinstance(kind, type) and issubclass(kind, errors.MultimapError) else RAISED


def find_failure(path: Path) -> tuple[str, str]:
    """Find the cell of an executed notebook that raised, or that was running at the end.

    Returns
    -------
    The cell as ``In [3]: first line``, and the exception in one line (empty if none was raised).
    """
    started = ""
    cells = [cell for cell in _read(path).cells if cell.cell_type == "code"]
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
    notebook = _read(path)
    notebook.metadata["multimap"] = {"status": record.status, "exit_code": record.exit_code, "run_id": record.run_id}
    if record.status != "done":
        cells = [cell.metadata.setdefault("papermill", {}) for cell in notebook.cells if cell.cell_type == "code"]
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


def _banner(record: RunRecord) -> Any:
    where = f" in `{record.cell}`" if record.cell else ""
    lines = [f"**This run is not done: {record.status}** (exit code {record.exit_code}){where}"]
    if record.error:
        lines.append(f"`{record.error}`")
    return nbformat.v4.new_markdown_cell("\n\n".join(lines), metadata={"tags": [BANNER]})


def _read(path: Path) -> Any:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # closes the file whatever it holds
