"""Where colour starts: numbers worked out by hand."""

import numpy as np
import pytest
import xarray as xr

from multimap_kernel.maps.inference import family_wise_p
from multimap_kernel.view.boundary import find_boundary


def a_map(statistic, p_fwe, q_fdr=None) -> xr.Dataset:
    variables = {"statistic": statistic, "p_fwe": p_fwe} | ({} if q_fdr is None else {"q_fdr": q_fdr})
    return xr.Dataset({name: ("voxel", np.asarray(values, float)) for name, values in variables.items()})


def test_find_boundary__is_the_smallest_statistic_that_passes():
    ds = a_map([1.0, -5.0, 4.0, 3.0, np.nan], [0.9, 0.01, 0.04, 0.06, np.nan])
    assert find_boundary(ds, np.arange(20.0), 0.05) == (4.0, True, None)


def test_find_boundary__of_false_discoveries_is_its_own():
    ds = a_map([1.0, -5.0, 4.0, -3.0, np.nan], [0.9, 0.01, 0.04, 0.06, np.nan], [0.8, 0.001, 0.01, 0.03, np.nan])
    assert find_boundary(ds, np.arange(20.0), 0.05) == (4.0, True, 3.0)
    assert find_boundary(ds, np.arange(20.0), 0.0005).fdr_threshold is None


def test_find_boundary__without_a_hit_is_what_one_voxel_would_have_needed():
    null = np.arange(1.0, 100.0)  # 99 members: p = .05 allows 4 to reach it, so it must exceed 95
    statistic = np.array([3.0, -60.0, np.nan])
    threshold, passes, _ = find_boundary(a_map(statistic, family_wise_p(statistic, null)), null, 0.05)
    assert not passes
    assert 95.0 < threshold < 95.001
    assert family_wise_p(np.array([threshold]), null)[0] <= 0.05


@pytest.mark.parametrize("null", [np.empty(0), np.full(5, np.nan), np.arange(3.0)])
def test_find_boundary__without_a_usable_null_shows_nothing(null):
    threshold, passes, _ = find_boundary(a_map([3.0, -6.0], [1.0, 1.0]), null, 0.05)
    assert not passes
    assert 6.0 < threshold < 6.001
