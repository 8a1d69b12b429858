"""Whether a place can be used, asked before anything is computed for it."""

from __future__ import annotations

import posixpath
import uuid
from pathlib import Path

import fsspec

from multimap_kernel.io.store import Store, create_exclusive, remove
from multimap_kernel.schema import InputError, StorageError


def check_place(url: str, *, writes: bool = False) -> None:
    """Make sure that a path or URL leads to a file system, and, if asked, that it can be written.

    Parameters
    ----------
    url
        Path or any fsspec URL.
    writes
        Write one empty object there, in folders that are made, and remove it.

    Raises
    ------
    InputError
        If no file system goes by the URL's scheme, or its package is not installed.
    StorageError
        If it cannot be written.
    """
    try:  # its class only: making it may ask the network for rights
        for scheme in (fsspec.core.split_protocol(url)[0] or "file").split("::"):
            fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as fault:
        raise InputError(f"{url} must be a path or a URL that fsspec can open, found: {fault}; check it") from fault
    if not writes:
        return
    probe = posixpath.join(str(url).rstrip("/"), f".probe-{uuid.uuid4().hex}")
    try:
        create_exclusive(probe, b"")
        remove(probe)
    except Exception as fault:  # clients of object stores have errors of their own
        raise StorageError(
            f"{url} must be a folder that can be written, found: {fault}; check path and rights"
        ) from fault


def check_folder(path: str | Path) -> None:
    """Make sure that a folder is there or could be made on this machine; makes nothing.

    Raises
    ------
    InputError
        If a file is in its way.
    """
    asked = Path(path).absolute()
    nearest = next(one for one in (asked, *asked.parents) if one.exists())
    if not nearest.is_dir():
        raise InputError(f"{path} must be a folder, or one that can be made, found the file {nearest}; name another")


def check_study(store: Store) -> None:
    """Make sure that a study is in its store.

    Raises
    ------
    InputError
        If it is not; names those that are.
    """
    fs, root = fsspec.core.url_to_fs(str(store.root))
    marks = [path for mark in _OF_A_STUDY for path in fs.glob(posixpath.join(root, "*", mark))]
    studies = sorted({posixpath.basename(posixpath.dirname(path.rstrip("/"))) for path in marks})
    if store.study not in studies:
        have = ", ".join(studies) or "none"
        raise InputError(f"{store.root} must hold the study {store.study!r}, found {have}; check its name")


_OF_A_STUDY = ("sub-*", "decisions", "runs")
"""Folders by which a study is known."""
