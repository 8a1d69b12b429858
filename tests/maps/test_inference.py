"""From statistics to p and q: counts, ranks and thresholds."""

import json

import numpy as np
import pytest
from scipy import stats

from multimap_kernel.maps.inference import (
    critical_value,
    describe_null,
    false_discovery_rate,
    family_wise_p,
    normal_score,
    pooled_p,
)
from multimap_kernel.schema import InputError


def test_family_wise_p__counts_members_that_reach_the_statistic():
    null = np.array([1.0, 2.0, 3.0, np.nan])
    got = family_wise_p(np.array([[0.5, -2.0], [3.5, np.nan]]), null)
    np.testing.assert_allclose(got, [[1.0, 0.75], [0.25, np.nan]])


def test_family_wise_p__no_members_gives_one():
    assert family_wise_p(np.array([100.0]), np.full(3, np.nan)) == 1.0


def test_false_discovery_rate__agrees_with_scipy():
    p = np.random.default_rng(0).uniform(size=(7, 30)) ** 2
    np.testing.assert_allclose(
        false_discovery_rate(p), stats.false_discovery_control(p.ravel()).reshape(p.shape), rtol=1e-6
    )


def test_false_discovery_rate__nan_does_not_belong_to_the_family():
    q = false_discovery_rate(np.array([0.01, np.nan, 0.04]))
    np.testing.assert_allclose(q, [0.02, np.nan, 0.04], rtol=1e-6)


def test_pooled_p__is_the_rank_in_the_pool():
    null = np.random.default_rng(1).uniform(size=5000)
    counts = np.histogram(null, bins=4096, range=(0, 1))[0][None]
    r = np.array([[0.25, -0.9, np.nan]])
    expected = [(1 + (null >= size).sum()) / 5001 for size in (0.25, 0.9)]
    np.testing.assert_allclose(pooled_p(r, counts)[0, :2], expected, atol=1e-3)
    assert np.isnan(pooled_p(r, counts)[0, 2])


def test_normal_score__keeps_the_tail_probability_on_both_sides():
    t = np.array([-30.0, -2.0, 0.0, 2.0, 30.0])
    z, p = normal_score(t, 40)
    np.testing.assert_allclose(stats.norm.logsf(np.abs(z)), stats.t.logsf(np.abs(t), 40), rtol=1e-9)
    np.testing.assert_allclose(p, 2 * stats.t.sf(np.abs(t), 40))
    np.testing.assert_array_equal(np.sign(z), np.sign(t))


def test_critical_value__is_the_smallest_statistic_with_that_p():
    null = np.random.default_rng(2).uniform(size=99).astype(np.float32)
    value = critical_value(null, 0.05)
    assert family_wise_p(np.array([value]), null) <= 0.05 < family_wise_p(np.array([value - 1e-6]), null)


def test_critical_value__refuses_less_than_the_smallest_possible_p():
    with pytest.raises(InputError, match=r"smallest possible p, 0.1 with 9 members.*found p = 0.05"):
        critical_value(np.arange(9.0), 0.05)


def test_describe_null__says_n_and_smallest_p():
    assert json.loads(describe_null("shifts", 91, 0)) == {"method": "shifts", "n": 91, "smallest_p": 0.01087, "seed": 0}
