"""Byte ranges of files wherever they are, a block at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from multimap_kernel.share.places import Location

BLOCK = 1 << 20


class Range(NamedTuple):
    """Bytes ``start`` to ``stop`` (not included) of a file."""

    start: int
    stop: int


async def size_of(location: Location) -> int | None:
    """Bytes of a file; None if there is no file."""

    def look() -> int | None:
        try:
            found = location.fs.info(location.path)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    return await asyncio.to_thread(look)


def parse_range(header: str | None, size: int) -> Range | None:
    """The bytes that a request asks for: all without a header, None if they are not in the file.

    One range only, as browsers and Zarr readers send it; a header of another form counts as none.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or found[0] == "bytes=-":
        return Range(0, size)
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return Range(start, stop) if start < stop else None


async def blocks(location: Location, wanted: Range) -> AsyncIterator[bytes]:
    """Read bytes in blocks, so that a large file needs no memory."""
    for start in range(wanted.start, wanted.stop, BLOCK):
        stop = min(start + BLOCK, wanted.stop)
        yield await asyncio.to_thread(location.fs.cat_file, location.path, start=start, end=stop)
