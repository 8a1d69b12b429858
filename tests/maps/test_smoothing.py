"""Smoothing inside the mask, as SciPy does it where nothing is missing."""

import numpy as np
import pytest
from analysis import analysis_dataset, lazy
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import max_computes
from scipy.ndimage import gaussian_filter

from multimap_kernel.maps import smooth
from multimap_kernel.schema import InputError, SchemaError, to_volume


@pytest.fixture(scope="module")
def ds():
    made = analysis_dataset(0, volumes=40)
    return made.assign(prediction=made["series"] - 1000)


def test_smooth__agrees_with_scipy_inside_the_mask(ds):
    got = smooth(ds, fwhm_mm=6.0)["series"].values
    mask, sigma = ds["mask"].values, 6.0 / np.sqrt(8 * np.log(2)) / np.array([4.0, 3.0, 3.0])
    weight = gaussian_filter(mask.astype(float), sigma, mode="constant")
    for volume in (0, 17):
        grid = to_volume(ds["series"].values[volume].astype(float), mask, 0.0)
        expected = (gaussian_filter(grid, sigma, mode="constant") / np.where(weight > 0, weight, 1))[mask]
        np.testing.assert_allclose(got[volume], expected, atol=2e-3)  # of 1000; scipy cuts at 4 sigma, rounded


def test_smooth__keeps_a_constant_up_to_the_edge(ds):
    flat = ds.assign(series=ds["series"] * 0 + 1000)
    np.testing.assert_allclose(smooth(flat, fwhm_mm=8.0)["series"], 1000, rtol=1e-6)


def test_smooth__nan_stays_where_it_is(ds):
    values = ds["series"].values.copy()
    values[:, 40] = np.nan
    values[3] = np.nan
    got = smooth(ds.assign(series=(("time", "voxel"), values)), fwhm_mm=6.0)["series"].values
    np.testing.assert_array_equal(np.isnan(got), np.isnan(values))


def test_smooth__zero_width_changes_nothing(ds):
    assert smooth(ds, fwhm_mm=0.0) is ds


@settings(max_examples=8, deadline=None)
@given(voxel=st.integers(20, 300), time=st.integers(1, 40))
def test_smooth__chunks_change_nothing(ds, voxel, time):
    with max_computes(0):
        got = smooth(lazy(ds, voxel, time), fwhm_mm=6.0)
    expected = smooth(ds, fwhm_mm=6.0)
    for name in ("series", "prediction"):
        np.testing.assert_allclose(got[name].values, expected[name].values, atol=1e-5 * 1000)


def test_smooth__refuses_negative_width_and_missing_mask(ds):
    with pytest.raises(InputError, match="fwhm_mm must be 0 or more, found -1"):
        smooth(ds, fwhm_mm=-1.0)
    with pytest.raises(SchemaError, match=r"mask .* must be there"):
        smooth(ds.drop_vars("mask"), fwhm_mm=3.0)
