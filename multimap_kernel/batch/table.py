"""The run table: one row is one session with the parameters of its notebook, checked before anything starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

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


def check_table(notebook: Path, table: Sequence[Row]) -> None:
    """Refuse a table that cannot run, with all its faults at once.

    Raises
    ------
    RecipeError
        If a session stands twice or is no label, or a parameter is unknown to the notebook or of another type.
    InputError
        If there is no such notebook, or the kernel that it asks for is not installed.
    """
    if not notebook.is_file():
        raise InputError(f"the notebook must be a file, found nothing at {notebook}")
    _check_kernel(notebook)
    known = papermill.inspect_notebook(str(notebook))
    faults = []
    seen: set[str] = set()
    for row in table:
        if row.session in seen:
            faults.append(f"{row.session} stands in the table twice")
        if not LABEL.fullmatch(row.session):
            faults.append(f"a session must be a label such as sub-01_task-rest, found {row.session!r}")
        seen.add(row.session)
        faults += [fault for name, value in row.parameters.items() if (fault := _fault(name, value, known))]
    if faults:
        raise RecipeError(f"{notebook.name}: " + "; ".join(dict.fromkeys(faults)))


def _fault(name: str, value: Any, known: Mapping[str, Any]) -> str:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its parameters are {', '.join(known) or 'none'}"
        return f"unknown parameter {name!r}; {hint}"
    kind = known[name]["inferred_type_name"]
    allowed = KINDS.get(kind)
    # True is an int to Python, but to nobody who writes a table
    if allowed is None or (isinstance(value, allowed) and isinstance(value, bool) == (kind == "bool")):
        return ""
    return f"parameter {name!r} must be {kind}, found {type(value).__name__} {value!r}"


def _check_kernel(notebook: Path) -> None:
    name = (
        nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)
        .metadata.get("kernelspec", {})
        .get("name", "")
    )
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        raise InputError(
            f"{notebook.name} asks for the Jupyter kernel {name!r}, which is not installed here; "
            "for multimap itself: python -m multimap_kernel.kernelspec install"
        ) from None
