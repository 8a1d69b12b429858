"""Is this machine well, and can the store be written?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from rich.table import Table

from multimap_kernel.console.screen import OUT
from multimap_kernel.io.reach import check_place
from multimap_kernel.schema import MultimapError


def doctor(store: str) -> int:
    """Tell whether this machine and this store are well; 0 if so."""
    table = Table("what", "found", "", title="multimap doctor", title_justify="left")
    memory, free = psutil.virtual_memory().total / 2**30, shutil.disk_usage(Path.cwd()).free / 2**30
    alike = version("dask") == version("distributed")
    marks = {True: "[green]well[/green]", False: "[red]not well[/red]", None: "[dim]optional[/dim]"}
    rows = [
        ("Python 3.11 or newer", platform.python_version(), sys.version_info >= (3, 11)),
        ("cores", str(os.cpu_count()), (os.cpu_count() or 1) >= 2),
        ("memory", f"{memory:.1f} GiB", memory > 4),
        ("free disk", f"{free:.0f} GiB", free > 5),
        ("dask and distributed alike", f"{version('dask')} and {version('distributed')}", alike),
        ("torch, for the joint model", _version("torch"), None),
        ("chromium, for the browser tests", shutil.which("chromium") or "not found", None),
        ("Jupyter kernel multimap", *_kernel()),
        ("store can be written", *_writable(store)),
    ]
    for what, found, well in rows:
        table.add_row(what, found, marks[well])
    OUT.print(table)
    return 0 if all(well is not False for _, _, well in rows) else 10


def _kernel() -> tuple[str, bool]:
    known = KernelSpecManager().find_kernel_specs()
    if "multimap" in known:
        return known["multimap"], True
    return "not installed; python -m multimap_kernel.kernelspec install", False


def _writable(store: str) -> tuple[str, bool]:
    try:
        check_place(store, writes=True)
    except MultimapError as fault:
        return str(fault), False
    return store, True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
