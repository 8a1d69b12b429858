"""Geometry of the viewer: numbers worked out by hand, and positions of voxels in the world."""

import nibabel as nib
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.scene import peak_position, viewer_matrix, viewer_state, voxel_sizes


def test_viewer_matrix__ras_2mm_by_hand():
    affine = np.array([[2.0, 0, 0, -98], [0, 2, 0, -134], [0, 0, 2, -72], [0, 0, 0, 1]])
    expected = [[1, 0, 0, -99], [0, 1, 0, -135], [0, 0, 1, -73]]
    np.testing.assert_allclose(viewer_matrix(affine), expected)


def test_viewer_matrix__las_by_hand():
    affine = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
    expected = [[-1, 0, 0, 91.5], [0, 1, 0, -127.5], [0, 0, 1, -73.5]]
    np.testing.assert_allclose(viewer_matrix(affine), expected)


def test_viewer_matrix__anisotropic_with_swapped_axes_by_hand():
    # index x runs to the back in steps of 2 mm, y up in steps of 3.5 mm, z to the right in steps of 4 mm
    affine = np.array([[0.0, 0, 4, -60], [-2, 0, 0, 80], [0, 3.5, 0, -40], [0, 0, 0, 1]])
    expected = [[0, 0, 1, -62], [-1, 0, 0, 81], [0, 1, 0, -41.75]]
    np.testing.assert_allclose(viewer_matrix(affine), expected)


def test_viewer_matrix__oblique_columns_are_direction_cosines():
    matrix = viewer_matrix(planted.oblique_affine())
    np.testing.assert_allclose(matrix[:, :3].T @ matrix[:, :3], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(matrix[:, 0], [np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10)), 0], atol=1e-12)


@given(st.sampled_from(sorted(planted.GRIDS)), st.tuples(*[st.integers(0, 60)] * 3))
def test_viewer_matrix__middle_of_a_voxel_is_where_nibabel_says(grid, index):
    affine = planted.GRIDS[grid][0]
    matrix = viewer_matrix(affine)
    # the client multiplies its own coordinates (voxel i fills i to i + 1) by the voxel size before the matrix
    seen = matrix[:, :3] @ ((np.array(index) + 0.5) * voxel_sizes(affine)) + matrix[:, 3]
    np.testing.assert_allclose(seen, nib.affines.apply_affine(affine, index), atol=1e-9)
    np.testing.assert_allclose(voxel_sizes(affine), nib.affines.voxel_sizes(affine))


@pytest.mark.parametrize("grid", planted.GRIDS)
def test_peak_position__is_the_planted_place(grid):
    layer = map_layers(planted.activation(grid, noise=0.0))[0]
    half = np.abs(planted.GRIDS[grid][0][:3, :3]).sum(1) / 2
    assert (np.abs(peak_position(layer) - planted.LEFT_MOTOR) <= half + 1e-9).all()


def test_viewer_state__shows_the_first_map_that_passes_over_the_anatomy():
    maps = planted.activation().isel(condition=[1, 0])
    layers = map_layers(maps, anatomy=planted.anatomy())
    state = viewer_state(layers, {layer.name: f"zarr://{layer.name}" for layer in layers})
    visible = [layer["name"] for layer in state["layers"] if layer["visible"]]
    assert visible == ["anatomy", "activation-hand-BOLD"]
    np.testing.assert_allclose(state["position"], planted.LEFT_MOTOR, atol=6)
    assert [pane["layout"] for pane in state["layout"]["children"]] == ["xy"] * 3
    source = state["layers"][1]["source"]["transform"]
    assert source["inputDimensions"]["i"] == [pytest.approx(0.003), "m"]
    assert state["layers"][1]["shaderControls"]["threshold"] == layers[1].threshold


def test_viewer_state__sliders_reach_beyond_the_largest_value():
    for scale in (0.001, 0.3, 4.9, 5.1, 47.0):
        ds = planted.activation()
        ds["statistic"] = ds["statistic"] * scale
        layer = map_layers(ds)[0]
        state = viewer_state([layer], {layer.name: "zarr://x"})
        line = state["layers"][0]["shader"].splitlines()[0]
        end = float(line.split("max=")[1].split(",")[0])
        assert layer.limits[1] < end <= 6 * layer.limits[1]
