"""Regions as plain means of their voxels, whatever the blocks that are summed."""

from importlib import import_module

import numpy as np
import pytest
import xarray as xr
from lazy import max_computes

from multimap_kernel.fusion import regions, shared_regions
from multimap_kernel.maps.blocks import VOXELS
from multimap_kernel.schema import InputError, affine_coordinate, volume_coordinates

module = import_module("multimap_kernel.fusion.regions")  # the package's name for it is the verb


@pytest.fixture(scope="module")
def ds():
    """A ball of more voxels than a block holds, 3 mm; one of them was not measured in the first volume."""
    z, y, x = np.indices((26, 28, 30)) - np.array([13, 14, 15])[:, None, None, None]
    mask = z**2 + y**2 + x**2 < 13**2
    series = np.random.default_rng(0).normal(1000, 10, (12, int(mask.sum()))).astype(np.float32)
    series[0, 4000] = np.nan
    affine = np.array([[3.0, 0, 0, -45], [0, 3, 0, -42], [0, 0, 3, -39], [0, 0, 0, 1]])
    coordinates = {**volume_coordinates(12, 2.0), "affine": affine_coordinate(affine)}
    return xr.Dataset({"series": (("time", "voxel"), series), "mask": (("z", "y", "x"), mask)}, coordinates,
                      {"repetition_time": 2.0, "space": "MNI", "clock": "scanner"})  # fmt: skip


def test_regions__are_the_means_of_the_voxels_of_each_cube(ds):
    got = regions(ds, edge_mm=12.0)["region_series"]
    k, j, i = np.argwhere(ds["mask"].values).T
    place = np.stack([3.0 * i - 45, 3.0 * j - 42, 3.0 * k - 39], axis=1)
    for name in got["region"].values[::9]:
        centre = np.array([float(part[1:]) for part in str(name).split()])
        inside = ((place >= centre - 6) & (place < centre + 6)).all(axis=1)
        np.testing.assert_allclose(got.sel(region=name), ds["series"].values[:, inside].mean(axis=1), rtol=1e-6)
    assert got.isnull().sum() == 1
    assert ds.sizes["voxel"] > VOXELS


def test_regions__no_task_holds_all_voxels_and_chunks_change_nothing(ds, monkeypatch):
    held, add_up = [], module._sum

    def watched(series, *others):
        held.append(series.shape[1])
        return add_up(series, *others)

    expected = regions(ds, edge_mm=12.0)["region_series"].values
    monkeypatch.setattr(module, "_sum", watched)
    with max_computes(0):
        got = regions(ds.chunk({"time": 5, "voxel": 701}).assign(mask=ds["mask"]), edge_mm=12.0)["region_series"]
    np.testing.assert_array_equal(got.values, expected)
    assert sorted(held) == [ds.sizes["voxel"] - VOXELS, VOXELS]


def test_regions__refuses_what_it_cannot_cut(ds):
    with pytest.raises(InputError, match=r"edge_mm must be positive, found 0; set fuse\.region_mm"):
        regions(ds, edge_mm=0.0)
    one = regions(ds, edge_mm=12.0)
    with pytest.raises(InputError, match="must share a region, found none"):
        shared_regions({"a": one, "b": one.assign_coords(region=[f"other {n}" for n in range(one.sizes["region"])])})
