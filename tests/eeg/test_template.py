"""Who may enter a template: planted movements are told, noise and lasting changes are not."""

import numpy as np
import pytest

from multimap_kernel.eeg.template import outlying


def epochs(count=300, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 80)).astype(np.float32)


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
