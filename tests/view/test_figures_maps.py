"""Pictures of results: a blob appears where it was planted, and only what passed is coloured."""

import io

import numpy as np
import planted
import pytest
from PIL import Image

from multimap_kernel.schema import Fit, SchemaError
from multimap_kernel.view.figures import figure_png
from multimap_kernel.view.figures_maps import map_figure, score_figure
from multimap_kernel.view.layers import map_layers

FIT = Fit("ridge", 0.083, (0.002, 0.021), (10.0,) * 5, (0.0, 2.0, 4.0), ((0, 20),) * 5, 16.0, 0)


@pytest.mark.parametrize("grid", planted.GRIDS)
def test_map_figure__left_is_left(grid):
    hand = planted.activation(grid).sel(condition=["hand"], modality=["BOLD"])
    figure = map_figure(map_layers(hand, anatomy=planted.anatomy("ras")), slices=3)
    image = figure.axes[0].images[1].get_array()  # three slices side by side, row 0 at the back
    width = image.shape[1] // 3
    middle = (width - 1) / 2
    shown = ~np.ma.getmaskarray(image)
    warm = np.argwhere(shown & (image.filled(0) > 0))
    rows, columns = warm[:, 0], warm[:, 1]
    assert set(columns // width) == {2}, "the slice through the peak is the uppermost of three"
    assert abs((np.median(columns % width) - middle) * 1.5 - planted.LEFT_MOTOR[0]) < 4
    assert abs((np.median(rows) - (image.shape[0] - 1) / 2) * 1.5 - (planted.LEFT_MOTOR[1] + 18)) < 4


def test_map_figure__nothing_is_coloured_where_nothing_passes():
    rest = planted.activation().sel(condition=["rest"])
    figure = map_figure(map_layers(rest, anatomy=planted.anatomy()))
    pixels = np.asarray(Image.open(io.BytesIO(figure_png(figure))).convert("RGB"), int)
    slices = pixels[:, : int(0.9 * pixels.shape[1])]
    assert (slices.max(-1) - slices.min(-1)).max() == 0
    texts = [text.get_text() for text in figure.texts]
    assert sum(text.startswith("nothing passes p_fwe < .05") for text in texts) == 2


def test_map_figure__refuses_anatomy_alone():
    with pytest.raises(SchemaError, match="at least one layer must be a statistic"):
        map_figure([map_layers([], anatomy=planted.anatomy())[0]])


def test_score_figure__says_above_or_within_the_null():
    assert "above the null" in score_figure(FIT).get_suptitle()
    low = Fit.from_json({**FIT.to_json(), "score": 0.01})
    figure = score_figure(low)
    assert "within the null" in figure.get_suptitle()
    assert [axes.get_xlabel() for axes in figure.axes] == ["correlation, mean over voxels"]
