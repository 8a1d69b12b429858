"""The joint model on truth that the ridge cannot see, on linear truth, and on wrong input."""

import numpy as np
import pytest
import torch
from coupled import BY_BLOCK, BY_RUN, LAGS, coupled_runs

from multimap_kernel.fusion.evaluate import evaluate
from multimap_kernel.fusion.linear import correlations
from multimap_kernel.fusion.train import train
from multimap_kernel.schema import InputError, SchemaError


@pytest.fixture(scope="module")
def short():
    """Four runs of three minutes: quick, and long enough to learn something wrong."""
    return coupled_runs(4, minutes=3.0, regions=3)


def by_driver(ds, out, name):
    r = correlations(out[name].values, out["region_measured"].values)
    return {driver: r[ds["driver"].values == driver].mean() for driver in np.unique(ds["driver"].values)}


@pytest.fixture(scope="module")
def interaction():
    runs = coupled_runs(6)
    return runs, *train(runs, **BY_RUN)


def test_train__finds_the_interaction_that_the_ridge_cannot_see(interaction):
    runs, fit, out = interaction
    ds = next(iter(runs.values()))
    joint, ridge = by_driver(ds, out, "region_prediction"), by_driver(ds, out, "region_ridge")
    assert abs(ridge["interaction"]) < 0.1
    assert joint["interaction"] - ridge["interaction"] > 0.1
    assert joint["alpha"] > ridge["alpha"] - 0.01
    assert abs(joint["none"]) < 0.05
    gate = np.array(fit.gate)[:, ds["driver"].values == "interaction"]
    assert (gate > 0).all()
    assert fit.score > fit.ridge_score


def test_train__wrong_lag_removes_the_effect(interaction):
    """EEG from 20 to 32 s after the volume cannot have caused it."""
    runs, _, _ = interaction
    ds = next(iter(runs.values()))
    _, out = train(runs, **{**BY_RUN, "lags_s": tuple(-20.0 - lag for lag in reversed(LAGS))})
    for name in ("region_prediction", "region_ridge"):
        found = by_driver(ds, out, name)
        assert max(found["interaction"], found["alpha"]) < 0.1


def test_evaluate__embedding_finds_moments_at_least_as_well_as_ridge_patterns(interaction):
    runs, fit, out = interaction
    judged = evaluate(runs, fit, out)
    assert fit.latent <= len(judged.regions) // 2
    assert judged.retrieval >= judged.retrieval_ridge > 2 * judged.retrieval_chance
    assert judged.gain_interval[0] > 0
    assert abs(judged.other_run) < 0.05
    assert max(map(abs, judged.refit_null)) < 0.05
    assert judged.scores["joint"].r > judged.null_95
    for name, driver in zip(judged.regions, next(iter(runs.values()))["driver"].values, strict=True):
        p = judged.region_p_fwe[judged.regions.index(name)]
        assert p < 0.05 if driver in {"alpha", "interaction"} else p > judged.smallest_p or driver != "none"


def test_train__linear_truth_gains_nothing_and_loses_nothing():
    runs = coupled_runs(4, coupling=1.0, seed=1)
    fit, out = train(runs, **BY_RUN)
    assert abs(fit.score - fit.ridge_score) < 0.01
    joint, ridge = (by_driver(runs["sub-01_task-flicker"], out, f"region_{name}") for name in ("prediction", "ridge"))
    assert abs(joint["alpha"] - ridge["alpha"]) < 0.02


def test_train__same_seed_same_weights_and_another_seed_others(short):
    first, out = train(short, **BY_RUN)
    again, same = train(short, **BY_RUN)
    other, _ = train(short, **{**BY_RUN, "seed": 1})
    assert first == again
    assert out.identical(same)
    assert other.weights_sha256 != first.weights_sha256
    assert other.data_sha256 == first.data_sha256


def test_train__leaves_the_callers_random_state_and_threads_alone(short):
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(short, **{**BY_RUN, "folds": 2})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_train__test_runs_do_not_touch_their_own_prediction(short):
    """BOLD of one run turned upside down changes what others are predicted from it, not its own prediction."""
    name = "sub-01_task-flicker"
    changed = {**short, name: short[name].assign(region_series=-2 * short[name]["region_series"])}
    (_, out), (_, other) = (train(runs, **{**BY_RUN, "folds": 4}) for runs in (short, changed))
    own = out["run"].values == name
    np.testing.assert_array_equal(other["region_prediction"].values[own], out["region_prediction"].values[own])
    np.testing.assert_array_equal(other["embedding"].values[own, 0], out["embedding"].values[own, 0])
    assert not np.array_equal(other["region_prediction"].values[~own], out["region_prediction"].values[~own])


def test_train__one_run_is_split_into_blocks():
    runs = coupled_runs(1, regions=3)
    fit, out = train(runs, **BY_BLOCK)
    assert len(fit.manifest["folds"]) == 4
    assert np.isfinite(out["region_prediction"].values).all()
    edges = np.isnan(out["embedding"].values[:, 0, 0])
    assert edges.sum() == 4 * 4  # two rows at each end of each block have no whole window


def test_train__lag_weights_stay_where_the_response_is(interaction):
    _, _, out = interaction
    peak = out["lag"].values[out["lag_weight"].sel(head="5 s").values.mean(axis=0).argmax()]
    assert abs(peak - 5.25) <= 2.0  # responses peak at 5.0 and 5.5 s; a bin is 2 s


def test_train__refuses_too_many_latents_a_short_run_and_the_wrong_clock(short):
    with pytest.raises(InputError, match=r"latent must be 1 to half the number of regions, 4, found 5"):
        train(short, **BY_RUN, latent=5)
    with pytest.raises(InputError, match="split by run needs at least two of them"):
        train({"sub-01_task-flicker": short["sub-01_task-flicker"]}, **BY_RUN)
    with pytest.raises(InputError, match=r"gap_s must be at least .* 14 s, .* found 4 s"):
        train(short, **{**BY_BLOCK, "gap_s": 4.0})
    with pytest.raises(SchemaError, match="scanner clock"):
        train({"a": short["sub-01_task-flicker"].assign_attrs(clock="eeg")}, **BY_RUN)
