"""Sign flips and relabellings: all that differ, each once."""

import numpy as np
import pytest

from multimap_kernel.maps.flips import count_flips, count_labellings, relabellings, sign_flips


def as_set(rows):
    return {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize("members", [3, 5, 8])
def test_sign_flips__all_that_change_t_each_once(members):
    got = sign_flips(members, 999, 0)
    both = as_set(got) | as_set(-got)
    assert len(got) == 1 + count_flips(members) == 2 ** (members - 1)
    assert len(both) == 2**members
    assert got[0].tolist() == [1.0] * members


@pytest.mark.parametrize("members", [12, 40, 90])
def test_sign_flips__draws_without_repetition(members):
    got = sign_flips(members, 500, 3)
    assert len(as_set(got) | as_set(-got)) == 2 * 501
    assert 0.4 < (got[1:, 1:] < 0).mean() < 0.6
    np.testing.assert_array_equal(got, sign_flips(members, 500, 3))


@pytest.mark.parametrize(("first", "second", "expected"), [(3, 4, 35), (4, 4, 35), (2, 5, 21)])
def test_relabellings__all_that_change_t_each_once(first, second, expected):
    real = np.array([True] * first + [False] * second)
    got = relabellings(real, 999, 0)
    assert len(as_set(got)) == len(got) == expected == 1 + count_labellings(first, second)
    assert (got.sum(axis=1) == first).all()
    np.testing.assert_array_equal(got[0], real)
    if first == second:
        assert not as_set(got) & as_set(1 - got)


@pytest.mark.parametrize(("first", "second"), [(9, 9), (25, 31), (30, 30)])
def test_relabellings__draws_without_repetition(first, second):
    real = np.random.default_rng(1).permutation(np.array([True] * first + [False] * second))
    got = relabellings(real, 300, 5)
    assert len(as_set(got)) == len(got) == 301
    assert (got.sum(axis=1) == first).all()
    assert first != second or not as_set(got) & as_set(1 - got)
