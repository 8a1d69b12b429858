"""Pictures of a study: every session is there, what was left out is marked, and left is left."""

import dataclasses

import numpy as np
import pandas as pd
import planted
import pytest
from matplotlib.colors import to_rgba

from multimap_kernel.schema import SchemaError
from multimap_kernel.view.figures import GREEN, RED
from multimap_kernel.view.figures_study import side_by_side, study_figure
from multimap_kernel.view.layers import map_layers


@pytest.fixture
def quality():
    rows = {
        "decision": ["", "exclude", ""],
        "verdict": ["good", "good", "bad"],
        "residual_ms": [0.05, 0.06, 4.0],
        "drift_ppm": [8.0, 8.1, 7.9],
        "displacement_mm": [0.1, 0.9, 0.2],
        "tsnr": [70.0, 20.0, np.nan],
        "gradient_residual": [1.0, 1.1, 1.4],
        "score": [0.2, 0.0, 0.05],
        "null_upper": [0.08, 0.09, 0.07],
    }
    return pd.DataFrame(rows, index=pd.Index(["sub-01", "sub-02", "sub-03"], name="session"))


@pytest.fixture
def layers():
    one = {"condition": ["hand"], "modality": ["BOLD"]}
    (found,) = map_layers(planted.activation("ras").sel(one))
    (nothing,) = map_layers(planted.activation("ras", planted=False).sel(one))
    template = [dataclasses.replace(layer, space="MNI152NLin2009cAsym") for layer in (found, nothing)]
    return dict(zip(("sub-01", "sub-02"), template, strict=True))


def test_study_figure__marks_each_session_by_its_verdict_and_crosses_out_the_excluded(quality):
    figure = study_figure(quality)
    residual = figure.axes[0]
    assert [text.get_text() for text in residual.get_yticklabels()] == ["sub-01", "sub-02 (exclude)", "sub-03"]
    counted, left_out = residual.collections[:2]
    assert counted.get_offsets().data.tolist() == [[0.05, 0], [4.0, 2]]
    assert [tuple(colour) for colour in counted.get_facecolors()] == [to_rgba(GREEN), to_rgba(RED)]
    assert left_out.get_offsets().data.tolist() == [[0.06, 1]]
    assert residual.lines[0].get_xdata()[0] == pytest.approx((0.05 + 4.0) / 2)  # the median is of those that count


def test_side_by_side__left_is_left_and_only_what_passes_is_surrounded(layers):
    grey = map_layers([], anatomy=planted.anatomy("ras"))[0]
    figure = side_by_side(layers, anatomy=grey)
    found, nothing = figure.axes[:2]
    values = found.images[1].get_array()
    _, column = np.unravel_index(np.argmax(values), values.shape)
    assert abs((column - (values.shape[1] - 1) / 2) * 1.5 - planted.LEFT_MOTOR[0]) < 4
    assert "axial slice at 54 mm" in figure.get_suptitle()
    assert [bool(axes.collections) for axes in (found, nothing)] == [True, False]
    assert "nothing passes" in nothing.get_title()
    assert "nothing passes" not in found.get_title()


def test_side_by_side__refuses_maps_that_lie_apart(layers):
    apart = layers | {"sub-02": dataclasses.replace(layers["sub-02"], space="native")}
    with pytest.raises(SchemaError, match="must lie in one template space"):
        side_by_side(apart)
    with pytest.raises(SchemaError, match="found no map"):
        side_by_side({})
