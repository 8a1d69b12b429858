"""Raw files wherever they are, on disk or in an object store; nothing in this module ever writes to them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import posixpath
import tempfile
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.schema import InputError, StorageError


def exists(url: str) -> bool:
    """Whether there is a file at this path or URL."""
    fs, path = fsspec.core.url_to_fs(url)
    return bool(fs.isfile(path))


def size(url: str) -> int:
    """Bytes of a file."""
    fs, path = fsspec.core.url_to_fs(url)
    return int(fs.size(path))


def identity(url: str) -> str:
    """A text that changes when the file changes; cheap, the content is not read."""
    fs, path = fsspec.core.url_to_fs(url)
    return str(fs.ukey(path))


def name(url: str) -> str:
    """File name without folders."""
    return posixpath.basename(url)


def sibling(url: str, other: str) -> str:
    """Path or URL of another file in the same folder."""
    return posixpath.join(posixpath.dirname(url), other)


def read_bytes(url: str) -> bytes:
    """All bytes of a small file.

    Raises
    ------
    InputError
        If there is no such file.
    """
    fs, path = fsspec.core.url_to_fs(url)
    try:
        return bytes(fs.cat_file(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as fault:
        raise InputError(f"{url} must be a file, found none; check the path") from fault
    except OSError as fault:
        raise StorageError(f"{url} could not be read: {fault}; try again") from fault


def read_text(url: str) -> str:
    """Text of a small file: UTF-8, or Latin-1 as older recorders wrote it."""
    content = read_bytes(url)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_json(url: str) -> dict[str, Any]:
    """A sidecar.

    Raises
    ------
    InputError
        If the file does not hold a JSON object.
    """
    try:
        loaded = json.loads(read_text(url))
    except ValueError as fault:
        raise InputError(f"{url} must hold JSON, found: {fault}; repair the file") from fault
    if not isinstance(loaded, dict):
        raise InputError(f"{url} must hold a JSON object, found a {type(loaded).__name__}; repair the file")
    return loaded


def read_table(url: str, *columns: str) -> list[dict[str, str]]:
    """Rows of a tab-separated table, each value as text; an empty or absent cell is ``"n/a"``.

    Raises
    ------
    InputError
        If one of ``columns`` is missing.
    """
    return [row for _, row in numbered_rows(url, *columns)]


def numbered_rows(url: str, *columns: str) -> list[tuple[int, dict[str, str]]]:
    """Rows as `read_table` gives them, each with its line in the file, counted from 1.

    Raises
    ------
    InputError
        If one of ``columns`` is missing.
    """
    reader = csv.DictReader(read_text(url).splitlines(), delimiter="\t", restval="n/a")
    found = [str(field).strip() for field in reader.fieldnames or ()]
    reader.fieldnames = found
    missing = [column for column in columns if column not in found]
    if missing:
        raise InputError(f"{url} must have the columns {list(columns)}, found {found}; separate columns by tabs")
    return [(reader.line_num, {key: (row[key] or "n/a").strip() for key in found}) for row in reader]


def read_values(url: str, dtype: np.dtype[Any], count: int, offset: int) -> np.ndarray:
    """Read ``count`` values that lie together in a file, ``offset`` bytes from its start, in native byte order.

    Raises
    ------
    InputError
        If the file ends before.
    """
    fs, path = fsspec.core.url_to_fs(url)
    values = np.empty(count, dtype)
    with fs.open(path, "rb") as stream:
        stream.seek(offset)
        filled = _fill(stream, values.view(np.uint8).data)
    if filled != values.nbytes:
        raise InputError(
            f"{url} must hold {offset + values.nbytes} bytes, found {offset + filled}; copy the file again"
        )
    return values.astype(dtype.newbyteorder("="), copy=False)


def _fill(stream: Any, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer):
        got = stream.readinto(buffer[filled:])
        if not got:
            break
        filled += got
    return filled


def localise(url: str) -> Path:
    """Path of a file on this machine; a remote file is copied into the temporary folder once per version.

    For readers that need a path (MNE). Files of one remote folder come into one local folder, so that a header finds
    its data. The copies stay until the system clears its temporary folder.

    Raises
    ------
    InputError
        If there is no such file.
    """
    fs, path = fsspec.core.url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        if not fs.isfile(path):
            raise InputError(f"{url} must be a file, found none; check the path")
        return Path(path)
    if not fs.isfile(path):
        raise InputError(f"{url} must be a file, found none; check the URL and your rights")
    parent = hashlib.sha256(posixpath.dirname(url).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"multimap-remote-{os.getuid()}" / parent
    target, stamp = folder / name(url), folder / f".{name(url)}.version"
    version = str(fs.ukey(path))
    if not (target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == version):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = folder / f".{uuid.uuid4().hex}"
        fs.get_file(path, str(part))
        part.replace(target)
        stamp.write_text(version, encoding="utf-8")
    return target
