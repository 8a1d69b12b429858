"""The carpet: each row without trend, in its own standard deviations."""

import numpy as np
import pytest
import xarray as xr
from lazy import max_computes
from scipy.signal import detrend

from multimap_kernel.fmri.carpet import carpet
from multimap_kernel.schema import SchemaError


def series(voxels=50, volumes=40):
    values = 100 + np.random.default_rng(0).standard_normal((volumes, voxels)) + np.linspace(0, 30, volumes)[:, None]
    values[:, 3] = 7.0
    return xr.Dataset({"series": (("time", "voxel"), values.astype("f4"))}, {"time": np.arange(volumes) * 2.0})


def test_carpet__rows_are_detrended_and_scaled():
    found = carpet(series())["carpet"]
    truth = detrend(series()["series"].values.astype(float), axis=0)
    truth[:, 3] = 0
    scale = np.where(truth.std(0) > 0, truth.std(0), 1)
    np.testing.assert_allclose(found.values, (truth / scale).T, atol=1e-5)
    assert found.dims == ("row", "time")


def test_carpet__takes_voxels_at_equal_distances_and_is_lazy():
    whole = carpet(series())["carpet"]
    with max_computes(0):
        some = carpet(series().chunk(voxel=7), voxels=10)["carpet"]
    np.testing.assert_allclose(some.values, whole.values[::5], atol=1e-12)


def test_carpet__needs_series():
    with pytest.raises(SchemaError, match="series"):
        carpet(series().drop_vars("series"))
