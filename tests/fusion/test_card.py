"""The card says what the numbers say, and warns where they warn."""

import pytest

from multimap_kernel.fusion.card import card
from multimap_kernel.schema import Evaluation, JointFit, Score


def fit(lag_weight=((0.1, 0.7, 0.2), (0.0, 0.2, 0.8))):
    split = {
        "kind": "run", "gap_s": 16.0, "lags_s": [2.0, 4.0, 6.0], "repetition_time": 2.0, "sha256": "a" * 64,
        "folds": [{"test": [["sub-01", 0, 99]], "train": []}, {"test": [["sub-02", 0, 49]], "train": []}],
    }  # fmt: skip
    return JointFit(
        score=0.3, ridge_score=0.2, gate=((0.5, 0.0), (0.3, 0.0)), penalties=(1.0, 1.0), lag_weight=lag_weight,
        manifest=split, data_sha256="b" * 64, weights_sha256="c" * 64, size="small", tokens="power", latent=1, seed=0,
    )  # fmt: skip


def evaluation(low=0.05, leak=0.1):
    return Evaluation(
        scores={"ridge": Score(0.2, 0.1, 0.3, 0.0), "joint": Score(0.3, 0.2, 0.4, 0.1)}, gain=0.1,
        gain_interval=(low, 0.15), regions=("a", "b"), region_r=(0.1, 0.5), region_ridge_r=(0.1, 0.3),
        region_p_fwe=(0.9, 0.01), null_mean=0.0, null_95=0.05, null_members=999, threshold_fwe=0.25, smallest_p=0.001,
        refit_null=(0.01,), other_run=float("nan"), retrieval=0.4, retrieval_ridge=0.3, retrieval_chance=0.1, leak=leak,
        leak_shuffled=0.2,
    )  # fmt: skip


def test_card__a_gain_counts_where_its_interval_lies_above_zero():
    text = card(fit(), evaluation())
    assert "the network gains +0.100 [+0.050, +0.150] in correlation over the ridge" in text
    assert "must not be called better" not in text
    poor = card(fit(), evaluation(low=-0.01))
    assert "no gain over the ridge: +0.100 [-0.010, +0.150]" in poor
    assert "The network must not be called better than the ridge on these data." in poor


def test_card__names_data_split_nulls_and_regions():
    text = card(fit(), evaluation())
    assert "2 runs, 150 volumes of 2 s: sub-01, sub-02" in text
    assert "EEG of another run: not known, there is one run" in text
    assert text.index("| b | 0.500 | 0.300 | 0.010 | 0.00 |") < text.index("| a | 0.100 | 0.100 | 0.900 | 0.40 |")
    assert "Nothing is known of another session: the split is by run." in text


def test_card__warns_of_a_probe_that_finds_more_than_the_ridge():
    assert "leak probe finds" not in card(fit(), evaluation(leak=0.1))  # real coupling, of which neighbours find some
    assert "The leak probe finds r = +0.25, no less than the ridge" in card(fit(), evaluation(leak=0.25))


@pytest.mark.parametrize(("weights", "at_end"), [((0.1, 0.7, 0.2), False), ((0.1, 0.2, 0.7), True)])
def test_card__shows_the_lags_and_warns_at_the_end_of_the_axis(weights, at_end):
    text = card(fit((weights, weights)), evaluation())
    assert f"weighs {6 if at_end else 4} s most" in text
    assert ("That is the end of the axis" in text) == at_end
