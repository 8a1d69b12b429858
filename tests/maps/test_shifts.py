"""Shifts and surrogates: distinct, and with the spectra of the real series."""

import numpy as np
import pytest

from multimap_kernel.maps.shifts import (
    BINS,
    basis,
    distinct_shifts,
    scaled,
    shifted,
    strongest,
    surrogates,
    unit_residuals,
)


@pytest.mark.parametrize(
    ("count", "step", "expected"), [(120, 2.0, range(15, 106)), (72, 2.5, range(12, 61)), (29, 2.0, ())]
)
def test_distinct_shifts__leaves_the_zone_out_on_both_sides(count, step, expected):
    assert distinct_shifts(count, step, 0).tolist() == list(expected)


def test_distinct_shifts__long_run_draws_without_repetition():
    got = distinct_shifts(900, 1.0, 3)
    assert len(set(got.tolist())) == 299
    assert got.min() >= 30
    assert got.max() <= 870
    assert got.tolist() == distinct_shifts(900, 1.0, 3).tolist() != distinct_shifts(900, 1.0, 4).tolist()


def test_strongest__equals_partial_correlation_one_by_one():
    random = np.random.default_rng(0)
    data, regressors = random.standard_normal((60, 7)) * 10 + 1000, random.standard_normal((60, 3))
    nuisance = basis(np.column_stack([np.ones(60), np.arange(60.0), random.standard_normal((60, 2))]))
    shifts = np.array([20, 31])
    got = strongest(scaled(shifted(regressors, shifts), nuisance), unit_residuals(data, nuisance))
    rest = np.eye(60) - nuisance @ nuisance.T
    r = np.array(
        [
            [np.corrcoef((rest @ np.roll(x, s)), rest @ y)[0, 1] for y in data.T]
            for s in (0, 20, 31)
            for x in regressors.T
        ]
    )
    r = r.reshape(3, 3, 7)  # shift, regressor, voxel
    chosen = np.abs(r[0]).argmax(axis=0)
    np.testing.assert_array_equal(got.chosen, chosen)
    np.testing.assert_allclose(got.best, r[0][chosen, np.arange(7)], atol=1e-5)
    np.testing.assert_allclose(got.maximum, np.abs(r[1:]).max(axis=(1, 2)), atol=1e-5)
    expected = np.histogram(np.abs(r[1:]).max(axis=1), bins=BINS, range=(0, 1))[0]
    assert np.abs(np.cumsum(got.counts) - np.cumsum(expected)).max() <= 1


def test_strongest__nan_regressor_and_voxel_never_win():
    random = np.random.default_rng(1)
    data, nuisance = random.standard_normal((40, 4)), basis(np.ones((40, 1)))
    data[3, 2] = np.nan
    regressors = np.column_stack([np.ones(40), random.standard_normal(40)])  # the first is explained by the nuisance
    got = strongest(scaled(shifted(regressors, np.array([20])), nuisance), unit_residuals(data, nuisance))
    assert got.chosen.tolist() == [1, 1, -1, 1]
    assert np.isnan(got.best[2])
    assert got.counts.sum() == 3


@pytest.mark.parametrize("count", [60, 61])
def test_surrogates__keep_spectrum_and_cross_spectrum(count):
    regressors = np.random.default_rng(2).standard_normal((count, 2)) @ np.array([[1.0, 0.7], [0.0, 0.7]])
    nothing = np.zeros((count, 0))
    rows = scaled(surrogates(regressors, 199, 0), nothing)
    np.testing.assert_allclose(rows[:, 0], (regressors / np.linalg.norm(regressors, axis=0)).T, atol=1e-6)
    spectrum = np.fft.rfft(rows, axis=2)
    np.testing.assert_allclose(np.abs(spectrum), np.abs(spectrum[:, :1]).repeat(200, axis=1), atol=1e-5)
    cross = spectrum[0] * spectrum[1].conj()
    np.testing.assert_allclose(cross, cross[:1].repeat(200, axis=0), atol=1e-5)
    assert np.abs(rows[0, 1:] @ rows[0, 0]).max() < 0.9  # none is the real one again
    np.testing.assert_array_equal(rows, scaled(surrogates(regressors, 199, 0), nothing))
