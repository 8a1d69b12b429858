"""The picture of a joint model draws the numbers that it was given."""

import numpy as np
import pytest
import xarray as xr

from multimap_kernel.schema import Evaluation, SchemaError, Score
from multimap_kernel.view.figures import figure_png
from multimap_kernel.view.figures_joint import joint_figure


def evaluation(low):
    return Evaluation(
        scores={"mean": Score(0, 0, 0, 0), "ridge": Score(0.2, 0.1, 0.3, 0.0), "joint": Score(0.3, 0.2, 0.4, 0.1)},
        gain=0.1, gain_interval=(low, 0.15), regions=("a", "b", "c"), region_r=(0.1, 0.5, 0.3),
        region_ridge_r=(0.1, 0.2, 0.3), region_p_fwe=(0.9, 0.01, 0.04), null_mean=0.0, null_95=0.05, null_members=999,
        threshold_fwe=0.25, smallest_p=0.001, refit_null=(0.0,), other_run=0.0, retrieval=0.4, retrieval_ridge=0.3,
        retrieval_chance=0.1, leak=0.01, leak_shuffled=0.2,
    )  # fmt: skip


@pytest.fixture
def out():
    draw = np.random.default_rng(0)
    embedding = draw.standard_normal((100, 2, 2))
    embedding /= np.linalg.norm(embedding, axis=2, keepdims=True)
    embedding[:2] = np.nan
    return xr.Dataset(
        {
            "embedding": (("time", "modality", "latent"), embedding.astype(np.float32)),
            "lag_weight": (("fold", "head", "lag"), np.full((2, 1, 4), 0.25, np.float32)),
        },
        {
            "time": 2.0 * np.arange(100), "run": ("time", ["one"] * 60 + ["two"] * 40), "modality": ["eeg", "bold"],
            "volume": ("time", np.r_[:60, :40]), "head": ["5 s"], "lag": [0.0, 2.0, 4.0, 6.0],
        },
        {"repetition_time": 2.0},
    )  # fmt: skip


def test_joint_figure__shows_gain_regions_moments_and_lags(out):
    figure = joint_figure(evaluation(0.05), out)
    scores, regions, moments, lags = figure.axes[:4]
    assert figure.get_suptitle() == "The network gains +0.100 [+0.050, +0.150] in r over the ridge"
    assert [label.get_text() for label in scores.get_yticklabels()] == ["mean", "ridge", "joint"]
    np.testing.assert_allclose(scores.collections[1].get_offsets()[:, 0], [0, 0.2, 0.3])
    assert [label.get_text() for label in regions.get_xticklabels()] == ["b", "c", "a"]  # strongest first
    np.testing.assert_allclose(regions.collections[2].get_offsets()[:, 1], [0.5, 0.3, 0.1])
    assert "2 of 3 regions pass" in regions.get_title()
    chosen = out["embedding"].isel(time=slice(8, 60, 8)).values  # each 16 s of the first run; the edge has no window
    np.testing.assert_allclose(moments.images[0].get_array(), chosen[:, 0] @ chosen[:, 1].T, rtol=1e-5)
    assert "embedding 0.40, ridge patterns 0.30, chance 0.10" in moments.get_title()
    np.testing.assert_allclose(lags.lines[0].get_xdata(), [0, 2, 4, 6])
    assert figure_png(figure)[:4] == b"\x89PNG"


def test_joint_figure__says_no_gain_where_the_interval_holds_zero(out):
    assert joint_figure(evaluation(-0.02), out).get_suptitle().startswith("No gain: +0.100 [-0.020")


def test_joint_figure__refuses_what_is_not_a_joint_model(out):
    with pytest.raises(SchemaError, match="embedding"):
        joint_figure(evaluation(0.05), out.drop_vars("embedding"))
