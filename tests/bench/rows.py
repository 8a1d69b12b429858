"""What a row of the benchmarks is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


def nothing(_: Any) -> list[float]:
    return []


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    ``load`` makes fresh inputs for a run of that number, ``do`` is what is measured, ``tell`` takes a few numbers out
    of the result, ``scale`` is the whole work over the measured part, where that is a loop of equal parts,
    ``compiles`` asks for one run before the first that counts.
    """

    label: str
    load: Callable[[int], Any]
    do: Callable[[Any], Any]
    tell: Callable[[Any], list[float]] = nothing
    scale: float = 1.0
    compiles: bool = False


@dataclass(frozen=True)
class Row:
    """Ours and the peer's way; what is asked: the least ratio of the peer's CPU seconds to ours, memory of ours."""

    name: str
    what: str
    ours: Side
    peer: Side | None
    least: float = 0.0
    memory_mib: float | None = None
    agree: Callable[[list[list[float]], list[list[float]]], str] | None = None
    note: str = ""
    runs: int = 5


def correlation(ours: list[list[float]], peers: list[list[float]]) -> str:
    return f"r = {np.corrcoef(ours[0], peers[0])[0, 1]:.6f}"
