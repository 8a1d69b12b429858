"""Executed notebooks of others: found by the run's name, and copied to the reader, whose own server opens them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

import fsspec

from multimap_kernel.batch.records import NOTEBOOK, RunRecord, newest
from multimap_kernel.schema import InputError

FOLDER = "shared-runs"
"""In the reader's own files."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=@-]{0,199}")


def find_runs(name: str, roots: Iterable[str]) -> list[RunRecord]:
    """The newest attempt of each session of a run, or of the named one.

    Parameters
    ----------
    name
        ``<run>`` or ``<run>/<session>``.
    roots
        Paths or URLs of the stores that the reader may read.

    Raises
    ------
    InputError
        If the name is none, or no store has such a run.
    """
    run, _, session = name.partition("/")
    if not (_NAME.fullmatch(run) and (not session or _NAME.fullmatch(session))):
        raise InputError(f"a run is named by RUN or RUN/SESSION, found {name!r}")
    found = []
    for root in roots:
        fs, base = fsspec.core.url_to_fs(root)
        fs.invalidate_cache()
        pattern = posixpath.join(base, "*", "runs", run, session or "*", "attempt-*", NOTEBOOK)
        folders = sorted({posixpath.dirname(posixpath.dirname(path)) for path in fs.glob(pattern)})
        found += [newest(str(fs.unstrip_protocol(folder)) if "://" in root else folder) for folder in folders]
    kept = [record for record in found if record is not None]
    if not kept:
        raise InputError(f"there is no run {name} with a notebook in the data that you may read")
    return kept


def copy_run(record: RunRecord, home: Path) -> str:
    """Copy an executed notebook to its reader; a copy that is there already may hold her own work and stays.

    Parameters
    ----------
    record
        From `find_runs`.
    home
        Folder that the reader's server shows.

    Returns
    -------
    Path of the copy inside that folder.
    """
    place = posixpath.join(FOLDER, record.run_id, f"{record.session}_attempt-{record.attempt}.ipynb")
    target = home / place
    if not target.exists():
        fs, path = fsspec.core.url_to_fs(posixpath.join(record.folder, NOTEBOOK))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(fs.cat_file(path))
        part.replace(target)
    return place
