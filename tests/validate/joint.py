"""The joint model on many seeds: interaction truth, linear truth, null. Results of each seed are kept as they come."""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from coupled import BY_BLOCK, BY_RUN, coupled_runs, slow_null
from science import ROOT, science_hash

from multimap_kernel.fusion.baselines import neighbours, shuffled
from multimap_kernel.fusion.chance import Null, phase_null
from multimap_kernel.fusion.scores import Pieces, agreement, by_piece, interval, patterns, pieces_of, top_one
from multimap_kernel.fusion.split import cut, folds_of
from multimap_kernel.fusion.tables import read_table
from multimap_kernel.fusion.train import train
from multimap_kernel.simulate.sizes import CAP

KEPT = ROOT / "build" / "validate" / "model"
SEEDS, NULLS, LEAKS = range(10), range(1000, 1200), range(20)
RUNS = 8  # of ten minutes
OPTIONS = {**BY_RUN, "folds": 4}


def study(coupling, seed):
    """Everything about one seed of eight sessions, by what drives a region."""
    runs = coupled_runs(RUNS, seed=seed, coupling=coupling, channels=CAP)
    fit, out = train(runs, **OPTIONS)
    first = next(iter(runs.values()))
    driver = first["driver"].values
    pieces = Pieces(
        np.unique(out["run"].values, return_inverse=True)[1], out["fold_of"].values, out["volume"].values,
        np.zeros((out.sizes["time"], 0)), out.attrs["repetition_time"],
    )  # fmt: skip
    predicted, linear, measured = (out[f"region_{name}"].values for name in ("prediction", "ridge", "measured"))
    joint, ridge = (by_piece(values, measured, pieces) for values in (predicted, linear))
    embedding = out["embedding"].values
    known = np.isfinite(embedding[:, 0, 0])
    found, chance = top_one(embedding[:, 0], embedding[:, 1], pieces)
    plain, _ = top_one(patterns(linear, known), patterns(measured, known), pieces)
    shown = {"seed": seed, "retrieval": found.mean(), "retrieval_ridge": plain.mean(), "chance": chance}
    shown["latent"] = [fit.latent, measured.shape[1]]
    for kind in ("interaction", "alpha", "none"):
        gain = (joint - ridge)[:, driver == kind].mean(axis=1)
        shown[kind] = {
            "joint": joint[:, driver == kind].mean(),
            "ridge": ridge[:, driver == kind].mean(),
            "gain": [gain.mean(), *interval(gain)],
            "gate": np.mean(np.array(fit.gate)[:, driver == kind]),
        }
    shown["all"] = {"joint": fit.score, "ridge": fit.ridge_score}
    ceiling = [
        np.corrcoef(ds["truth_response"].values[:, r], ds["region_series"].values[:, r])[0, 1]
        for ds in runs.values()
        for r in np.flatnonzero(driver == "alpha")
    ]
    shown["of_ceiling"] = shown["alpha"]["joint"] / np.mean(ceiling)
    judgeable = np.isin(driver, ["alpha", "none"])
    null = judged(runs, fit, out, seed)
    r, truth = null.r[judgeable], (driver == "alpha")[judgeable]
    found = (null.p_fwe <= 0.05)[judgeable]
    shown["auc"] = float((r[truth][:, None] > r[~truth][None]).mean())
    shown["dice"] = float(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    shown["lag_peak"] = float(out["lag"].values[out["lag_weight"].values[:, 0].mean(axis=0).argmax()])
    return shown


def judged(runs, fit, out, seed) -> Null:
    """The regions of a model beside their null."""
    table = read_table(runs, tuple(fit.manifest["lags_s"]))
    pieces = pieces_of(table, out["fold_of"].values)
    folds = folds_of(table, fit.manifest)
    return phase_null(out["region_prediction"].values, table, folds, fit.penalties, pieces, seed)


def null(seed):
    """Mean correlation and smallest family-wise p of one short session that holds nothing."""
    runs = coupled_runs(1, seed=seed, minutes=6.0, coupling=0, task_effect=0.0, channels=CAP[:8])
    fit, out = train(runs, **{**BY_BLOCK, "folds": 2})
    found = judged(runs, fit, out, seed)
    gate = float(np.mean(fit.gate))
    return {"seed": seed, "r": fit.score, "ridge": fit.ridge_score, "p": float(found.p_fwe.min()), "gate": gate}


def once(name, seed, make):
    """A seed's result: kept from an earlier run of the same code, or made now."""
    path = KEPT / f"{name}-{seed}.json"
    if path.is_file() and json.loads(path.read_text())["science"] == science_hash("model"):
        return json.loads(path.read_text())["found"]
    found = make(seed)
    KEPT.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"science": science_hash("model"), "found": found}, default=float))
    print(f"model {name} {seed}: {json.dumps(found, default=float)[:300]}", flush=True)
    return found


def row(what, asked, found, holds):
    return f"| {what} | {asked} | {found} | {'holds' if holds else 'DOES NOT HOLD'} |"


def leak(seed):
    """Nearest neighbours on slow BOLD that nothing drives: under the shipped blocks, and under folds that leak."""
    table = read_table(slow_null(1, seed), BY_BLOCK["lags_s"])
    folds = cut(table, np.arange(len(table.run)), kind="block", folds=4, gap_s=16.0)
    shown = {}
    for name, parts in (("shipped", folds), ("shuffled", shuffled(table, 4, seed))):
        predicted, fold = np.zeros_like(table.target), np.zeros(len(table.run), int)
        for number, part in enumerate(parts):
            predicted[part.test], fold[part.test] = neighbours(table, part), number
        pieces = Pieces(table.run, fold * (name == "shipped"), table.volume, np.zeros((fold.size, 0)), table.step_s)
        shown[name] = float(agreement(predicted, table.target, pieces).mean())
    return shown


def rows():
    """Rows of the table of validation that hold whole studies."""
    return [*_interaction(), *_linear(), *_leak()]


def _interaction():
    seeds = [once("interaction", seed, lambda s: study("interaction", s)) for seed in SEEDS]
    gains = [one["interaction"]["gain"] for one in seeds]
    good = sum(gain >= 0.1 and low > 0 for gain, low, _ in gains)
    each = ", ".join(f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]" for gain, low, high in gains)
    ridge = max(one["interaction"]["ridge"] for one in seeds)
    better = sum(one["retrieval"] >= one["retrieval_ridge"] for one in seeds)
    shares = ", ".join(f"{one['retrieval']:.2f}/{one['retrieval_ridge']:.2f}" for one in seeds)
    gate = min(one["interaction"]["gate"] for one in seeds)
    return [
        row("interaction truth, 8 x 600 s: joint - ridge in its regions, seeds 0-9",
            ">= .10, interval above 0, in 8 of 10; gate > 0", f"{good} of 10; {each}; smallest gate {gate:.2f}",
            good >= 8 and gate > 0),
        row("interaction truth: r of the ridge in its regions", "< .05 by construction",
            f"largest {ridge:+.3f}", ridge < 0.05),
        row("retrieval, embedding / ridge patterns (interaction truth)", "embedding at least as good",
            f"{better} of 10: {shares}", better == len(seeds)),
    ]  # fmt: skip


def _linear():
    seeds = [once("linear", seed, lambda s: study(1.0, s)) for seed in SEEDS]
    loss = min(one["all"]["joint"] - one["all"]["ridge"] for one in seeds)
    gain = max(abs(one["all"]["joint"] - one["all"]["ridge"]) for one in seeds)
    ceiling = min(one["of_ceiling"] for one in seeds)
    auc, dice = (np.mean([one[name] for one in seeds]) for name in ("auc", "dice"))
    lag = max(abs(one["lag_peak"] - 5.25) for one in seeds)
    better = sum(one["retrieval"] >= one["retrieval_ridge"] for one in seeds)
    shares = ", ".join(f"{one['retrieval']:.2f}/{one['retrieval_ridge']:.2f}" for one in seeds)
    return [
        row("linear truth: joint - ridge, seeds 0-9", ">= -.01", f"smallest {loss:+.4f}", loss >= -0.01),
        row("linear truth: contribution of the gate", "within .01 of 0", f"largest {gain:.4f}", gain <= 0.01),
        row("linear truth: r of the ceiling", ">= .7", f"smallest {ceiling:.2f}", ceiling >= 0.7),
        row("linear truth: region AUC, mean", ">= .98", f"{auc:.3f}", auc >= 0.98),
        row("linear truth: Dice at family-wise .05, mean", ">= .9", f"{dice:.3f}", dice >= 0.9),
        row("linear truth: lag peak against 5.25 s", "within one bin (2 s)", f"at most {lag:.2f} s away", lag <= 2),
        row("retrieval, embedding / ridge patterns (linear truth)", "embedding at least as good",
            f"{better} of 10: {shares}", better == len(seeds)),
    ]  # fmt: skip


def null_rows():
    """Rows of sessions that hold nothing."""
    seeds = [once("null", seed, null) for seed in NULLS]
    mean = float(np.mean([one["r"] for one in seeds]))
    share = float(np.mean([one["p"] <= 0.05 for one in seeds]))
    return [
        row("null data: mean r of the joint model, 200 seeds", "within .05 of 0", f"{mean:+.4f}", abs(mean) <= 0.05),
        row("null data: max-T family-wise error of its regions, 200 seeds", "<= .08", f"{share:.3f}", share <= 0.08),
    ]


def _leak():
    seeds = [once("leak", seed, leak) for seed in LEAKS]
    shipped, shuffled_r = (float(np.mean([one[name] for one in seeds])) for name in ("shipped", "shuffled"))
    return [
        row("leak probe (3 nearest neighbours, slow null BOLD, 20 seeds): shipped blocks", "r within .05 of 0",
            f"{shipped:+.3f}", abs(shipped) < 0.05),
        row("leak probe: folds drawn at random", "r > .15", f"{shuffled_r:+.3f}", shuffled_r > 0.15),
    ]  # fmt: skip


if __name__ == "__main__":
    print("\n".join([*rows(), *null_rows()]))
