"""The words: required variables, axes, values."""

import numpy as np
import pytest
import xarray as xr

from multimap_kernel.schema import (
    VARIABLES,
    Alignment,
    SchemaError,
    affine_coordinate,
    affine_matrix,
    annotate,
    regular_time,
    require,
    sampling,
    to_volume,
    volume_coordinates,
)


def test_require__lists_every_fault_at_once():
    ds = xr.Dataset(
        {"eeg": (("time", "channel"), np.zeros((4, 2), int)), "mask": (("z", "y", "x"), np.zeros((1, 1, 1)))}
    )
    with pytest.raises(SchemaError) as caught:
        require(ds, "eeg", "mask", "bold", where="clean", clock="scanner")
    text = str(caught.value)
    assert text.startswith("clean: ")
    for part in (
        "eeg must have dimensions",
        "eeg must be of kind",
        "mask must be of kind",
        "bold (",
        "apply_alignment",
    ):
        assert part in text
    assert len(caught.value.faults) == 5


def test_require__accepts_what_fits():
    ds = xr.Dataset({"eeg": (("channel", "time"), np.zeros((2, 4), "f4"))}, attrs={"clock": "scanner"})
    require(ds, "eeg", where="clean", clock="scanner")


def test_variables__have_units_and_meaning():
    for name, variable in VARIABLES.items():
        assert variable.name == name
        assert variable.doc
    array = annotate(xr.DataArray(np.zeros(3), dims="beat", name="r_peak"))
    assert array.attrs["units"] == "s"


def test_regular_time__is_two_numbers_and_survives_slicing():
    ds = xr.Dataset({"eeg": (("channel", "time"), np.zeros((1, 1_000)))}, coords=regular_time(-2.5, 5_000.04, 1_000))
    part = ds.isel(time=slice(100, 200))
    start, frequency, samples = sampling(part)
    assert start == pytest.approx(-2.5 + 100 / 5_000.04, abs=1e-12)
    assert frequency == pytest.approx(5_000.04)
    assert samples == 100
    np.testing.assert_allclose(ds.time.values, -2.5 + np.arange(1_000) / 5_000.04, atol=1e-9)


def test_sampling__refuses_an_irregular_axis():
    with pytest.raises(SchemaError, match="time must be a regular axis"):
        sampling(xr.Dataset(coords={"time": [0.0, 1.0, 5.0]}))


def test_affine__round_trip():
    matrix = np.array([[-3.0, 0.1, 0, 90], [0, 3, 0.2, -120], [0, 0, 4, -60], [0, 0, 0, 1]])
    ds = xr.Dataset(coords={"affine": affine_coordinate(matrix)})
    np.testing.assert_array_equal(affine_matrix(ds), matrix)
    with pytest.raises(SchemaError, match="affine"):
        affine_matrix(xr.Dataset())


def test_to_volume__puts_voxels_back_in_c_order():
    mask = np.zeros((2, 2, 3), bool)
    mask[0, 1, 2] = mask[1, 0, 0] = True
    grid = to_volume(np.array([[1.0, 2.0]]), mask)
    assert grid.shape == (1, 2, 2, 3)
    assert grid[0, 0, 1, 2] == 1.0
    assert grid[0, 1, 0, 0] == 2.0
    assert np.isnan(grid[0, 0, 0, 0])


def test_volume_coordinates__count_from_zero():
    ds = xr.Dataset(coords=volume_coordinates(3, 2.5, np.array([False, True, True])))
    assert list(ds.time.values) == [0.0, 2.5, 5.0]
    assert list(ds.volume.values) == [0, 1, 2]
    assert not ds.steady_state.values[0]


def test_alignment__survives_json():
    value = Alignment(
        10.1, (10.09, 10.11), 8.0, (0.0, None, 1e-5), 2.0, "R128", 2, missing=(1,), reasons=("one repaired",)
    )
    assert Alignment.from_json(value.to_json()) == value
