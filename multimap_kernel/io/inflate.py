"""Compressed volumes as files that can be read from anywhere: a gzip stream has no way to its middle."""

from __future__ import annotations

import fcntl
import gzip
import shutil
import tempfile
import uuid
import weakref
import zlib
from pathlib import Path

import fsspec

from multimap_kernel.io.files import identity
from multimap_kernel.schema import InputError

BLOCK = 1 << 22
"""Bytes that are inflated at a time: memory stays small whatever the size of the run."""


class PlainCopy:
    """The inflated copy of a ``.gz`` file in the temporary folder.

    It is made by the first task that needs it, in one streaming pass, never beside the raw file. It goes away with
    the last graph that refers to it, and at exit. A worker on another machine makes its own; a copy that a killed
    process left behind is named ``multimap-plain-*`` in the temporary folder.

    Parameters
    ----------
    url
        Path or URL of the ``.gz`` file.
    expected
        Bytes that must come out of it.
    """

    def __init__(self, url: str, expected: int) -> None:
        self.url = url
        self.expected = expected
        self.path = Path(tempfile.gettempdir()) / f"multimap-plain-{uuid.uuid4().hex}"
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __getstate__(self) -> dict[str, object]:
        """A copy that travels to a worker names the folder; only the original removes it."""
        return {"url": self.url, "expected": self.expected, "path": self.path}

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Arrays of one file have one name, wherever its copy lies."""
        return self.url, identity(self.url)

    def ready(self) -> str:
        """Path of the inflated file, made now if it is not there.

        Raises
        ------
        InputError
            If the file is damaged or ends early.
        """
        plain = self.path / "plain.nii"
        if not plain.exists():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.path / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one machine wait for the first
                if not plain.exists():
                    part = self.path / "part.nii"
                    inflate(self.url, part, self.expected)
                    part.replace(plain)
        return str(plain)


def inflate(url: str, target: Path | None, expected: int) -> None:
    """Inflate a gzip file block by block into ``target`` (None: only look whether it is whole).

    Raises
    ------
    InputError
        If the stream is damaged, or fewer than ``expected`` bytes come out.
    """
    fs, path = fsspec.core.url_to_fs(url)
    total = 0
    try:
        with fs.open(path, "rb") as raw, gzip.GzipFile(fileobj=raw) as stream:
            sink = target.open("wb") if target else None
            try:
                while block := stream.read1(BLOCK):  # what there is, also just before the file breaks off
                    total += len(block)
                    if sink:
                        sink.write(block)
            finally:
                if sink:
                    sink.close()
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise InputError(
            f"{url} must be a whole gzip file of {expected} bytes, it breaks off after {total}: {fault}; copy it again"
        ) from fault
    if total < expected:
        raise InputError(f"{url} must inflate to {expected} bytes, found {total}; copy the file again")


def looks_whole(url: str, expected: int) -> bool:
    """Whether the length that a gzip file states at its end is the expected one; reads four bytes.

    A file of several gzip members states only the last one's length, so False is a suspicion, not a proof: inflate it.
    """
    fs, path = fsspec.core.url_to_fs(url)
    stated = int.from_bytes(fs.cat_file(path, start=int(fs.size(path)) - 4), "little")
    return stated == expected % (1 << 32)
