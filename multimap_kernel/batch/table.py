"""The run table: one row is one session with the parameters of its notebook, checked before anything starts."""

from __future__ import annotations

import ast
import csv
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from multimap_kernel.batch.notebook import read_notebook
from multimap_kernel.io.files import read_text
from multimap_kernel.schema import InputError, RecipeError

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
}
TRUTHS = {"true": True, "false": False}
SESSION = "session"


@dataclass(frozen=True)
class Row:
    """One row of the run table.

    Parameters
    ----------
    session
        Label of the session; names the folder of its attempts.
    parameters
        Values for the names in the notebook's ``parameters`` cell; the others keep what the cell says.
    """

    session: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """One name of a notebook's ``parameters`` cell: its kind, empty if any value will do; whether it must be given."""

    kind: str
    required: bool


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Read the cell tagged ``parameters``; a name that is annotated and has no value must be given by each row.

    Raises
    ------
    InputError
        If there is no such notebook, or the cell is no Python.
    """
    cells = [cell for cell in read_notebook(notebook).cells if "parameters" in cell.metadata.get("tags", [])]
    source = "\n".join(cell.source for cell in cells[:1])
    try:
        lines = ast.parse(source).body
    except SyntaxError as fault:
        raise InputError(f"the parameters cell of {notebook.name} must be Python, found: {fault}") from fault
    found = {}
    for line in lines:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            kind = ast.unparse(line.annotation).partition("[")[0]
            found[line.target.id] = Parameter(kind if kind in KINDS else "", line.value is None)
        elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            with suppress(ValueError):  # computed: any value will do
                kind = type(ast.literal_eval(line.value)).__name__
                found[line.targets[0].id] = Parameter(kind if kind in KINDS else "", required=False)
            found.setdefault(line.targets[0].id, Parameter("", required=False))
    return found


def read_table(url: str, notebook: Path) -> list[Row]:
    """Read a run table.

    Parameters
    ----------
    url
        A CSV file with a column ``session`` and one for each parameter that differs; an empty cell leaves the
        notebook's own value. Or a JSON list of objects with the same names.
    notebook
        Its ``parameters`` cell says of what type a cell of the CSV is: "02", "1e3" and "true" are text where the
        notebook asks for ``str``.

    Raises
    ------
    InputError
        If the file cannot be read.
    RecipeError
        If a column or a value does not fit; all faults are told at once.
    """
    known = read_parameters(notebook)
    text = read_text(url)
    if url.endswith(".json"):
        try:
            entries: list[dict[str, Any]] = json.loads(text)
        except ValueError as fault:
            raise InputError(f"{url} must hold a JSON list of rows, found: {fault}") from fault
    else:
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        entries = [{name: cell for name, cell in line.items() if cell or name == SESSION} for line in reader]
    faults = _columns(entries, known)
    rows = []
    for number, entry in enumerate(entries, start=1) if not faults else ():
        session = entry.pop(SESSION) or ""
        if SESSION in known:
            entry[SESSION] = session
        try:
            rows.append(Row(session, {name: _typed(name, value, known) for name, value in entry.items()}))
        except ValueError as fault:
            faults.append(f"row {number} ({session}): {fault}")
    if faults:
        raise RecipeError(f"{url}: " + "; ".join(faults))
    return rows


def _columns(entries: Sequence[Mapping[str, Any]], known: Mapping[str, Parameter]) -> list[str]:
    if not entries:
        return ["the table must have at least one row under its header, found none"]
    names = {name: None for entry in entries for name in entry}
    faults = [] if all(SESSION in entry for entry in entries) else [_missing_session(names)]
    if None in names:
        faults.append("a row has more cells than the header; put text with commas into double quotes")
    return faults + [_unknown(name, known) for name in names if name not in {SESSION, None} and name not in known]


def _missing_session(names: Iterable[str]) -> str:
    near = difflib.get_close_matches(SESSION, [str(name) for name in names], n=1)
    return "every row must have a 'session'" + (f"; did you mean it by {near[0]!r}?" if near else "")


def _typed(name: str, value: Any, known: Mapping[str, Parameter]) -> Any:
    """The value of a cell in the type that the notebook asks for; raises ValueError."""
    kind = known[name].kind
    if not isinstance(value, str) or kind in {"", "str"}:
        return value
    try:
        if kind == "bool":
            return TRUTHS[value.lower()]
        return {"int": int, "float": float}.get(kind, json.loads)(value)
    except (ValueError, KeyError):
        example = {"bool": "true or false", "list": "[1, 2]", "dict": '{"a": 1}'}.get(kind, "a number")
        raise ValueError(f"{name!r} must be {kind} ({example}), found {value!r}") from None


def check_table(notebook: Path, table: Sequence[Row]) -> None:
    """Refuse a table that cannot run, with all its faults at once.

    Raises
    ------
    RecipeError
        If a session stands twice or is no label, or a parameter is unknown to the notebook, missing or of another type.
    InputError
        If there is no such notebook, or the kernel that it asks for is not installed.
    """
    if not notebook.is_file():
        raise InputError(f"the notebook must be a file, found nothing at {notebook}")
    _check_kernel(notebook)
    known = read_parameters(notebook)
    required = [name for name, parameter in known.items() if parameter.required]
    faults = []
    seen: set[str] = set()
    for row in table:
        if row.session in seen:
            faults.append(f"{row.session} stands in the table twice")
        if not LABEL.fullmatch(row.session):
            faults.append(f"a session must be a label such as sub-01_task-rest, found {row.session!r}")
        seen.add(row.session)
        faults += [fault for name, value in row.parameters.items() if (fault := _fault(name, value, known))]
        faults += [f"{row.session} must give {name!r}" for name in required if name not in row.parameters]
    if faults:
        raise RecipeError(f"{notebook.name}: " + "; ".join(dict.fromkeys(faults)))


def _fault(name: str, value: Any, known: Mapping[str, Parameter]) -> str:
    if name not in known:
        return _unknown(name, known)
    kind = known[name].kind
    # True is an int to Python, but to nobody who writes a table
    if not kind or (isinstance(value, KINDS[kind]) and isinstance(value, bool) == (kind == "bool")):
        return ""
    return f"parameter {name!r} must be {kind}, found {type(value).__name__} {value!r}"


def _unknown(name: str, known: Mapping[str, Parameter]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"its parameters are {', '.join(known) or 'none'}"
    return f"unknown parameter {name!r}; {hint}"


def _check_kernel(notebook: Path) -> None:
    name = read_notebook(notebook).metadata.get("kernelspec", {}).get("name", "")
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        raise InputError(
            f"{notebook.name} asks for the Jupyter kernel {name!r}, which is not installed here; "
            "for multimap itself: python -m multimap_kernel.kernelspec install"
        ) from None
