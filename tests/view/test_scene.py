"""Geometry of the viewer: numbers worked out by hand, and positions of voxels in the world."""

import nibabel as nib
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimap_kernel.io.nifti import read_anatomy
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.scene import peak_position, viewer_matrix, viewer_state, voxel_sizes
from multimap_kernel.view.volumes import make_volumes


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


def test_viewer_state__time_of_volumes_starts_with_each_volume():
    volumes = make_volumes(planted.volumes("las", repetition_time=1.5))
    state = viewer_state([], {"volumes": "zarr://volumes"}, volumes=volumes)
    assert state["dimensions"]["t"] == [1.5, "s"]
    assert state["position"][3] == 0.5  # the middle of the first volume
    transform = state["layers"][0]["source"]["transform"]
    np.testing.assert_allclose(np.array(transform["matrix"])[:3, [0, 1, 2, 4]], viewer_matrix(planted.GRIDS["las"][0]))
    assert transform["matrix"][3] == [0, 0, 0, 1, 0]
    assert transform["inputDimensions"]["t"] == transform["outputDimensions"]["t"] == [1.5, "s"]


@pytest.mark.parametrize(("qform", "sform"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("grid", planted.GRIDS)
def test_viewer_matrix__of_a_file_shows_a_planted_voxel_where_nibabel_says(grid, qform, sform, tmp_path):
    affine, shape = planted.GRIDS[grid]
    values = np.zeros(shape, np.float32)
    index = np.rint(np.linalg.solve(affine, [*planted.LEFT_MOTOR, 1.0]))[:3].astype(int)
    values[tuple(index)] = 7.0
    image = nib.Nifti1Image(values, None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine if qform else None, code=1 if qform else 0)
    image.set_sform(affine if sform else None, code=4 if sform else 0)
    if not qform:
        image.header.set_zooms(nib.affines.voxel_sizes(affine))
    nib.save(image, tmp_path / "sub-01_T1w.nii.gz")
    layer = map_layers((), anatomy=read_anatomy(str(tmp_path / "sub-01_T1w.nii.gz")))[0]
    matrix, sizes = viewer_matrix(layer.affine), voxel_sizes(layer.affine)
    (found,) = np.argwhere(layer.values == 7.0)  # the reader may turn the axes of the array; the place stays
    seen = matrix[:, :3] @ ((found + 0.5) * sizes) + matrix[:, 3]
    where = nib.affines.apply_affine(nib.load(tmp_path / "sub-01_T1w.nii.gz").affine, index)
    np.testing.assert_allclose(seen, where, atol=1e-3)  # the header keeps quaternions as float32
    assert np.linalg.norm(seen - planted.LEFT_MOTOR) < np.linalg.norm(sizes) / 2
