"""Maps as layers: thresholds from p, one layer per map, and the store for the viewer."""

import json

import numpy as np
import planted
import pytest
import xarray as xr
import zarr

from multimap_kernel.schema import SchemaError
from multimap_kernel.view.layers import map_layers, viewer_zarr


def test_map_layers__one_per_condition_and_modality_and_per_band():
    layers = map_layers([planted.activation(), planted.coupling()], anatomy=planted.anatomy())
    assert [layer.name for layer in layers] == [
        "anatomy",
        "activation-hand-BOLD",
        "activation-hand-EEG",
        "activation-rest-BOLD",
        "activation-rest-EEG",
        "coupling-delta",
        "coupling-alpha",
    ]
    assert [layer.passes for layer in layers[1:]] == [True, True, False, False, False, True]
    assert {layer.values.dtype for layer in layers} == {np.dtype("float32")}
    hand, rest = layers[1], layers[3]
    assert hand.legend.startswith("|t| ≥ ")
    assert rest.legend.startswith("nothing passes p_fwe < .05: threshold |t| ")
    assert 4.0 < hand.fdr_threshold < hand.threshold  # planted: q under .05 from 4.0 on
    assert rest.fdr_threshold is None
    assert hand.null == "circular shifts, n = 199, p ≥ 0.005"


def test_map_layers__values_are_x_y_z_and_zero_where_there_is_none():
    ds = planted.activation("anisotropic")
    layer = map_layers(ds)[0]
    given = ds["statistic"].sel(condition="hand", modality="BOLD").values
    assert layer.values.shape == planted.GRIDS["anisotropic"][1]
    assert layer.values[45, 30, 20] == given[20, 30, 45]
    assert np.isfinite(layer.values).all()
    assert (layer.values[~ds["mask"].values.T] == 0).all()
    passing = ds["p_fwe"].sel(condition="hand", modality="BOLD").values < 0.05
    np.testing.assert_array_equal(np.abs(layer.values) >= layer.threshold, passing.T)


def test_map_layers__coupling_takes_the_strongest_lag_and_one_threshold():
    ds = planted.coupling()
    delta, alpha = map_layers(ds)
    index = np.unravel_index(np.abs(alpha.values).argmax(), alpha.values.shape)
    assert alpha.values[index] == ds["statistic"].sel(band="alpha", lag=4.0).values[index[::-1]]
    assert alpha.note == "largest at lag 4 s"
    assert alpha.threshold == delta.threshold


def test_map_layers__refuses_what_is_no_map():
    with pytest.raises(SchemaError, match="statistic and p_fwe with dimensions"):
        map_layers(xr.Dataset({"statistic": (("z", "y", "x"), np.zeros((2, 2, 2)))}))


def test_viewer_zarr__holds_values_affine_and_every_chunk(tmp_path):
    layers = map_layers(planted.activation("las"), anatomy=planted.anatomy("ras"))
    folder = viewer_zarr(layers, tmp_path / "viewer.zarr")
    group = zarr.open_group(folder, mode="r")
    assert sorted(group.array_keys()) == sorted(layer.name for layer in layers)
    for layer in layers:
        array = group[layer.name]
        np.testing.assert_array_equal(array[...], layer.values)
        assert array.metadata.zarr_format == 3
        stored = array.attrs["multimap"]
        np.testing.assert_array_equal(stored["affine"], layer.affine)
        assert stored["statistic_kind"] == layer.statistic
        assert stored["fdr_threshold"] == layer.fdr_threshold
        expected = np.prod([-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True)])
        assert len([path for path in (folder / layer.name / "c").rglob("*") if path.is_file()]) == expected
        codecs = json.loads((folder / layer.name / "zarr.json").read_text())["codecs"]
        assert [codec["name"] for codec in codecs] == ["bytes", "zstd"]
