"""Sign flips and relabellings of members, each distinct one at most once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np

_LISTED = 1 << 20  # up to so many, members of the null are drawn from a list without repetition


def count_flips(members: int) -> int:
    """Number of sign flips of so many members that differ by more than a common sign, the identity left out."""
    return int(2 ** (members - 1)) - 1


def sign_flips(members: int, limit: int, seed: int) -> np.ndarray:
    """Flip signs of members.

    Parameters
    ----------
    members
        How many there are.
    limit
        Largest number of flips; where there are not more, all are taken, else they are drawn without repetition.
    seed
        Of the draw.

    Returns
    -------
    Signs (1 + flip, member) float32: first the identity, then flips that differ by more than a common sign, which
    changes no ``|t|``.
    """
    distinct = count_flips(members)
    random = np.random.default_rng(seed)
    if distinct <= limit:
        codes = np.arange(1, distinct + 1)
    elif distinct <= _LISTED:
        codes = np.sort(random.choice(distinct, limit, replace=False)) + 1
    else:
        bits = _distinct_rows(lambda count: random.integers(0, 2, (count, members - 1)).astype(bool), limit)
        return np.vstack([np.ones(members), np.column_stack([np.ones(limit), 1 - 2.0 * bits])]).astype(np.float32)
    bits = (codes[:, None] >> np.arange(members - 1)[None, :]) & 1
    return np.vstack([np.ones(members), np.column_stack([np.ones(len(codes)), 1 - 2.0 * bits])]).astype(np.float32)


def count_labellings(first: int, second: int) -> int:
    """Number of ways to share members out to two groups of these sizes that give another ``|t|`` than the real one."""
    ways = comb(first + second, first)
    return (ways // 2 if first == second else ways) - 1


def relabellings(is_first: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Share members out to the two groups anew.

    Parameters
    ----------
    is_first : (member,)
        Whether a member belongs to the first group.
    limit
        Largest number of labellings; as in `sign_flips`.
    seed
        Of the draw.

    Returns
    -------
    Whether a member belongs to the first group (1 + labelling, member), float32: first the real one, then others,
    each once; where both groups are as large, one that only swaps them is not another one.
    """
    real = np.asarray(is_first, bool)
    members, size = len(real), int(real.sum())
    distinct = count_labellings(size, members - size)
    random = np.random.default_rng(seed)
    if distinct <= _LISTED // members:
        rows = _all_labellings(members, size)
        if 2 * size == members:
            rows = rows[rows[:, 0] == real[0]]
        rows = rows[(rows != real).any(axis=1)]
        if len(rows) > limit:
            rows = rows[np.sort(random.choice(len(rows), limit, replace=False))]
    else:
        rows = _distinct_rows(lambda count: _shuffled(random, real, count), limit)
    return np.vstack([real, rows]).astype(np.float32)


def _all_labellings(members: int, size: int) -> np.ndarray:
    chosen = np.array(list(combinations(range(members), size)))
    rows = np.zeros((len(chosen), members), bool)
    rows[np.arange(len(chosen))[:, None], chosen] = True
    return rows


def _shuffled(random: np.random.Generator, real: np.ndarray, count: int) -> np.ndarray:
    rows: np.ndarray = random.permuted(np.tile(real, (count, 1)), axis=1)
    if 2 * int(real.sum()) == len(real):
        swapped = rows[:, 0] != real[0]
        rows[swapped] = ~rows[swapped]
    return np.asarray(rows[(rows != real).any(axis=1)])


def _distinct_rows(draw: Callable[[int], np.ndarray], wanted: int) -> np.ndarray:
    """Draw until there are enough different rows; the identity, all False, is never taken."""
    rows = np.zeros((0, 0), bool)
    while len(rows) < wanted:
        drawn = draw(wanted)
        rows = drawn if not len(rows) else np.vstack([rows, drawn])
        rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
        rows = rows[rows.any(axis=1)]
    return rows[:wanted]
