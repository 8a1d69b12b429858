"""A Dask scheduler that counts, so that laziness can be asserted."""

from collections.abc import Iterator
from contextlib import contextmanager

import dask


@contextmanager
def max_computes(allowed: int) -> Iterator[None]:
    """Fail when more than ``allowed`` computations are started inside the block."""
    seen = 0

    def count(dsk, keys, **options):
        nonlocal seen
        seen += 1
        assert seen <= allowed, f"{seen} computations were started, {allowed} are allowed"
        return dask.get(dsk, keys, **options)

    with dask.config.set(scheduler=count):
        yield
