"""Templates and who may enter them: planted movements are told, noise and lasting changes are not."""

import numpy as np
import pytest

from multimap_kernel.eeg.template import mean_of_others, outlying


def epochs(count=300, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 80)).astype(np.float32)


@pytest.mark.parametrize(("share", "window"), [(1.0, 30), (0.7, 21), (0.7, 400), (0.02, 5)])
def test_mean_of_others__nearest_that_may_enter(share, window):
    """As many on both sides, fewer only towards an end; an epoch that may not enter may hold anything."""
    values, weight = epochs(), (np.random.default_rng(3).random(300) < share).astype(float)
    expected = np.zeros_like(values)
    for place in range(300):
        others = np.flatnonzero((weight > 0) & (np.arange(300) != place))
        first = min(max((others < place).sum() - window // 2, 0), max(len(others) - window, 0))
        expected[place] = values[others[first : first + window]].mean(0)
    values[weight == 0] = np.nan
    np.testing.assert_allclose(mean_of_others(values, weight, window), expected, atol=1e-4)


def test_mean_of_others__none_may_enter():
    assert not mean_of_others(epochs(6), np.zeros(6), 5).any()
    assert not mean_of_others(epochs(6), np.eye(6)[2], 5)[2].any()


@pytest.mark.parametrize("height", [5.0, 5e3])
def test_outlying__planted_movements(height):
    """Single, next to each other, and at both ends, beside an epoch that enters no template anyway."""
    values, weight, planted = epochs(), np.ones(300), [0, 40, 41, 42, 128, 299]
    values[planted] += height * np.random.default_rng(1).standard_normal((6, 80))
    weight[60] = 0
    assert np.flatnonzero(outlying(values, weight, 30)).tolist() == planted


def test_outlying__a_quarter_of_all():
    values, planted = epochs(), np.random.default_rng(2).random(300) < 0.25
    values[planted] += 100 * np.random.default_rng(1).standard_normal((planted.sum(), 80))
    np.testing.assert_array_equal(outlying(values, np.ones(300), 30), planted)


@pytest.mark.parametrize(("first", "count"), [(120, 16), (100, 55), (0, 25), (275, 25)])
def test_outlying__a_long_movement(first, count):
    """Longer than half a window in the middle, almost a whole one at an end."""
    values, planted = epochs(), (np.arange(300) >= first) & (np.arange(300) < first + count)
    values[planted] += 10 * np.random.default_rng(1).standard_normal((count, 80))
    np.testing.assert_array_equal(outlying(values, np.ones(300), 30), planted)


def test_outlying__small_distances_between_large_epochs():
    """One epoch a million times as large as the others moves their mean, and float32 could not tell them apart."""
    values = epochs(12)
    values[3] *= 1e6
    values[8] *= 4
    assert np.flatnonzero(outlying(values, np.ones(12), 30)).tolist() == [3, 8]


def test_outlying__few_usable_epochs_among_others():
    """Three of them far from all others that may enter: no outliers; what may not enter is not judged at all."""
    values, weight = epochs(), np.zeros(300)
    weight[:40] = weight[150:153] = weight[260:] = 1
    values[weight == 0] = np.nan
    assert not outlying(values, weight, 30).any()
    values[20] *= 10
    assert np.flatnonzero(outlying(values, weight, 30)).tolist() == [20]
    assert not outlying(values, np.zeros(300), 30).any()


def test_outlying__none_in_noise_nor_after_a_change_for_good():
    values = epochs()
    assert not outlying(values, np.ones(300), 30).any()
    values[250:] += 50.0
    values[:, 0] += np.linspace(0, 1e3, 300)
    assert not outlying(values, np.ones(300), 30).any()


def test_outlying__few_epochs_and_unknown_values():
    values = epochs(6)
    assert not outlying(values, np.ones(6), 30).any()
    values[2] *= 100
    assert np.flatnonzero(outlying(values, np.ones(6), 30)).tolist() == [2]
    values[4, 0] = np.nan
    assert not outlying(values, np.ones(6), 30).any()
