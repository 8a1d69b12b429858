"""The judgement of a joint model: no leak, honest nulls, scores that mean what they say."""

import numpy as np
import pytest
from coupled import BY_BLOCK, coupled_runs, slow_null

from multimap_kernel.fusion.baselines import neighbours, shuffled
from multimap_kernel.fusion.chance import phase_null
from multimap_kernel.fusion.evaluate import evaluate
from multimap_kernel.fusion.linear import ridge
from multimap_kernel.fusion.scores import Pieces, agreement, interval, pieces_of, top_one
from multimap_kernel.fusion.split import cut
from multimap_kernel.fusion.tables import Table, read_table
from multimap_kernel.fusion.train import train
from multimap_kernel.schema import InputError


def pieces(count, runs=1, columns=0):
    run = np.repeat(np.arange(runs), count // runs)
    volume = np.concatenate([np.arange((run == number).sum()) for number in range(runs)])
    return Pieces(run, np.zeros(count, int), volume, np.zeros((count, columns)), 2.0)


def test_leak_probe__sees_shuffled_folds_and_nothing_in_the_shipped_ones():
    shipped, mixed = [], []
    for seed in range(4):
        table = read_table(slow_null(1, seed), BY_BLOCK["lags_s"])
        folds = cut(table, np.arange(len(table.run)), kind="block", folds=4, gap_s=16.0)
        whole = pieces(len(table.run))
        for found, parts in ((shipped, folds), (mixed, shuffled(table, 4, seed))):
            predicted = np.zeros_like(table.target)
            fold = np.zeros(len(table.run), int)
            for number, part in enumerate(parts):
                predicted[part.test], fold[part.test] = neighbours(table, part), number
            found.append(agreement(predicted, table.target, whole._replace(fold=fold)).mean())
    assert abs(np.mean(shipped)) < 0.05
    assert np.mean(mixed) > 0.15


def test_train__null_runs_score_nothing_and_no_gate_is_worth_much():
    joint, gains = [], []
    for seed in range(4):
        runs = coupled_runs(2, seed=seed, minutes=5.0, coupling=0, regions=3)
        fit, _ = train(runs, **{**BY_BLOCK, "kind": "run", "folds": 2})
        joint.append(fit.score)
        gains.append(fit.score - fit.ridge_score)
    assert abs(np.mean(joint)) < 0.05
    assert abs(np.mean(gains)) < 0.02


def test_evaluate__refuses_other_data_and_a_split_that_overlaps():
    runs = coupled_runs(2, minutes=3.0, regions=4)
    options = {**BY_BLOCK, "kind": "run", "folds": 2}
    fit, out = train(runs, **options)
    other = {name: ds.assign(region_series=ds["region_series"] * ds["time"] / 100) for name, ds in runs.items()}
    with pytest.raises(InputError, match="runs must be those that the model was trained on"):
        evaluate(other, fit, out)
    fold = fit.manifest["folds"][0]
    overlapping = {**fit.manifest, "folds": [{"test": fold["test"], "train": fold["test"]}]}
    with pytest.raises(InputError, match="EEG windows of a test and a training segment must not overlap"):
        evaluate(runs, type(fit)(**{**fit.__dict__, "manifest": overlapping}), out)
    again = type(fit).from_json(fit.to_json())
    assert evaluate(runs, again, out).scores["mean"].r == pytest.approx(0, abs=1e-6)


def test_agreement__is_the_correlation_within_pieces():
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((2, 60, 3))
    b += a
    halves = pieces(60)._replace(fold=np.repeat([0, 1], 30))
    offset = np.repeat([[5.0], [-5.0]], 30, axis=0)
    centred = [v.reshape(2, 30, 3) - v.reshape(2, 30, 3).mean(axis=1, keepdims=True) for v in (a, b)]
    expected = [np.corrcoef(*(v[..., r].ravel() for v in centred))[0, 1] for r in range(3)]
    np.testing.assert_allclose(agreement(a + offset, b - offset, halves), expected, atol=1e-12)


def test_agreement__takes_the_nuisance_out_of_both_sides():
    draw = np.random.default_rng(1)
    task = draw.standard_normal((200, 1))
    a, b = draw.standard_normal((2, 200, 1)) + 3 * task
    assert agreement(a, b, pieces(200))[0] > 0.8
    design = np.column_stack([np.ones(200), task])
    rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (a, b)]
    expected = np.corrcoef(rest[0].ravel(), rest[1].ravel())[0, 1]
    assert agreement(a, b, pieces(200)._replace(nuisance=task))[0] == pytest.approx(expected)


def unrelated(seed, runs=1):
    """Runs of 200 volumes whose smooth BOLD has nothing to do with their smooth EEG, and what two folds predict."""
    draw, rows = np.random.default_rng([seed, 1]), 200 * runs
    power, target = (np.cumsum(draw.standard_normal((rows + 5, count)), axis=0) for count in (12, 10))
    power, target = (np.asarray(values[5:] - values[:-5], np.float32) for values in (power, target))
    run, volume = np.divmod(np.arange(rows), 200)
    nothing = np.zeros((rows, 0), np.float32)
    table = Table(
        names=tuple(f"run-{number}" for number in range(runs)), run=run, volume=volume,
        power=power.reshape(rows, 1, 12, 1), target=target, patch=nothing, window=nothing, design=nothing,
        lags_s=(0.0,), step_s=2.0, channels=("Cz",) * 12, bands=("alpha",), regions=("region",) * 10, conditions=(),
    )  # fmt: skip
    return table, cut(table, np.arange(rows), kind="block", folds=2, gap_s=16.0)


def predicted_by_ridge(table, folds, penalty):
    predicted, fold_of = np.zeros_like(table.target), np.zeros(len(table.run), int)
    for number, fold in enumerate(folds):
        X = table.scaled(fold.train).reshape(len(table.run), -1)
        predicted[fold.test] = ridge(X[fold.train], table.target[fold.train], X[fold.test], np.array([penalty]))[0]
        fold_of[fold.test] = number
    return predicted, pieces_of(table, fold_of)


def test_phase_null__is_calibrated_where_folds_learn_from_each_other():
    below = 0
    for seed in range(60):
        table, folds = unrelated(seed)
        predicted, parts = predicted_by_ridge(table, folds, 1.0)
        below += phase_null(predicted, table, folds, (1.0, 1.0), parts, seed).p_fwe.min() <= 0.05
    assert below <= 8  # 3 expected; above 8 by chance with p = .003


def test_phase_null__finds_what_is_there_and_gives_its_floor():
    table, folds = unrelated(3, runs=2)
    table.target[:, 2] += 2 * table.power[:, 0, 4, 0]
    predicted, parts = predicted_by_ridge(table, folds, 0.1)
    null = phase_null(predicted, table, folds, (0.1, 0.1), parts, 0)
    assert null.p_fwe[2] == null.smallest_p == 1 / 1000
    assert (np.delete(null.p_fwe, 2) > 0.05).all()
    assert null.r == pytest.approx(agreement(predicted, table.target, parts))
    first = phase_null(predicted[folds[0].test], table, folds[:1], (0.1,), parts.take(folds[0].test), 0)
    assert first.r == pytest.approx(
        agreement(predicted[folds[0].test], table.target[folds[0].test], parts.take(folds[0].test))
    )


def test_top_one__is_one_for_equal_sides_and_chance_for_others():
    draw = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in draw.standard_normal((2, 400, 8)))
    found, chance = top_one(a, a, pieces(400, runs=2))
    assert found.tolist() == [1.0, 1.0]
    assert chance == pytest.approx(1 / 25)
    assert top_one(a, b, pieces(400, runs=2))[0].mean() == pytest.approx(chance, abs=0.05)


def test_interval__is_students():
    low, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)  # t(2) = 4.3027, over sqrt(3)
    assert np.isnan(interval(np.array([1.0]))).all()
