"""Pictures of clocks, motion and volumes: what is drawn is what was given."""

import io

import numpy as np
import planted
import pytest
import xarray as xr
from PIL import Image

from multimap_kernel.schema import SchemaError
from multimap_kernel.view.figures import alignment_figure, carpet_figure, figure_png, motion_figure

MOTION = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]


def _labels(axes) -> set[str]:
    return set(axes.get_legend_handles_labels()[1])


def test_alignment_figure__shows_missing_extra_and_uncovered():
    # marker 5 of the file comes 0.8 s after volume 6, as counted from the offset and the drift
    onset = np.array([1.5, 3.5, 5.5, 11.5, 13.5, 1.5 + 12.8 * (1 + 8e-6), 15.5])
    eeg = xr.Dataset({"marker_onset": ("marker", onset), "marker_label": ("marker", ["R128"] * 7)})
    axes = alignment_figure(planted.alignment(), eeg=eeg).axes[0]
    assert _labels(axes) == {"marker − model", "marker missing", "extra marker", "no EEG"}
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["marker − model"].get_ydata()[[0, 1]], [0.01, -0.01])
    np.testing.assert_allclose(lines["extra marker"].get_xdata(), [6.4])
    missing = [path.vertices[0, 0] for path in axes.collections[0].get_paths()]
    assert missing == [3, 4]
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    np.testing.assert_allclose([span.x0, span.x1], [9.5, 11.5])
    assert "2 markers are missing" in axes.get_title()
    assert axes.get_ylabel() == "residual (ms)"


def test_alignment_figure__draws_without_any_marker():
    empty = planted.alignment().from_json({**planted.alignment().to_json(), "residual_s": [None] * 12, "matched": 0})
    assert figure_png(alignment_figure(empty))[:4] == b"\x89PNG"


def test_motion_figure__rotations_in_degrees():
    values = np.zeros((10, 6))
    values[5] = [0.1, 0.2, 0.3, np.deg2rad(1), 0, 0]
    ds = xr.Dataset({"motion": (("time", "parameter"), values)}, {"time": 2.0 * np.arange(10), "parameter": MOTION})
    figure = motion_figure(ds, framewise_displacement=np.zeros(10), dvars=np.ones(10))
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["translation (mm)", "rotation (°)"]
    assert len(figure.axes) == 4
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata()[5], 1.0)
    assert len(motion_figure(ds).axes) == 2


def test_carpet_figure__takes_out_mean_and_trend():
    time = np.arange(50.0)
    series = 1000 + 5 * time[:, None] + np.sin(time / 3)[:, None] + np.zeros((50, 40))
    ds = xr.Dataset({"series": (("time", "voxel"), series.astype(np.float32))}, {"time": time})
    figure = carpet_figure(ds, voxels=20)
    image = figure.axes[1].images[0].get_array()
    assert image.shape == (20, 50)
    np.testing.assert_allclose(image.mean(1), 0, atol=1e-5)
    assert np.corrcoef(image[0], np.sin(time / 3))[0, 1] > 0.95
    chunked = carpet_figure(ds.chunk(time=7, voxel=9), voxels=20).axes[1].images[0].get_array()
    np.testing.assert_allclose(chunked, image, atol=1e-6)


def test_carpet_figure__refuses_without_series():
    with pytest.raises(SchemaError, match=r"series .* must be there"):
        carpet_figure(xr.Dataset())


def test_figure_png__same_figure_same_bytes_on_white():
    first, second = (figure_png(alignment_figure(planted.alignment())) for _ in range(2))
    assert first == second
    assert Image.open(io.BytesIO(first)).convert("RGB").getpixel((1, 1)) == (255, 255, 255)
