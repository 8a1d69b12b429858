"""Voxels of the mask as series, and back onto the grid."""

import numpy as np
import pytest
from heads import run_of
from lazy import max_computes

from multimap_kernel.fmri import series
from multimap_kernel.schema import InputError, SchemaError, to_volume


@pytest.fixture
def ds():
    rng = np.random.default_rng(4)
    values = rng.integers(0, 1000, (19, 4, 5, 6)).astype(np.int16)
    return run_of(values, np.eye(4)).assign(mask=(("z", "y", "x"), rng.random((4, 5, 6)) > 0.4))


def test_series__goes_back_onto_the_grid(ds):
    found = series(ds)
    assert found["series"].dtype == np.float32
    back = to_volume(found["series"].values, found["mask"].values)
    np.testing.assert_array_equal(back, ds["bold"].where(ds["mask"]))
    assert found["affine"].equals(ds["affine"])
    assert found.attrs == ds.attrs


def test_series__keeps_what_is_missing(ds):
    values = ds["bold"].astype(np.float32)
    values[3] = np.nan
    assert np.isnan(series(ds.assign(bold=values))["series"].values).all(1).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize("chunks", [{"time": 5, "z": 3}, {"time": 1}, {"time": -1, "x": 4}])
def test_series__does_not_depend_on_chunks(ds, chunks):
    with max_computes(0):
        lazy = series(ds.assign(bold=ds["bold"].variable.chunk(chunks)))
    np.testing.assert_array_equal(lazy["series"].compute(), series(ds)["series"])
    with max_computes(1):  # the mask alone
        series(ds.chunk(chunks))


def test_series__refuses_an_empty_mask(ds):
    with pytest.raises(InputError, match="mask must hold a voxel"):
        series(ds.assign(mask=ds["mask"] & False))


def test_series__refuses_the_mask_of_another_grid(ds):
    other = ds["mask"].isel(x=slice(1, None)).rename(x="x2")
    with pytest.raises(SchemaError, match="mask must have dimensions"):
        series(ds.assign(mask=other))
