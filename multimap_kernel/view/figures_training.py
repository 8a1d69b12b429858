"""One picture of a training run: gain beside ridge and null, regions, lags, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Json = Any
JOINT, RIDGE, NULL = "#0072b2", "#e69f00", "#b5b5b5"


def training_figure(plan: Mapping[str, Json], folds: Sequence[Mapping[str, Json]]) -> Figure:
    """Draw what a run has shown so far.

    Parameters
    ----------
    plan
        Facts of the event ``started`` (`fusion.journal`).
    folds
        Facts of the events ``fold``, one of each, in order; at least one.

    Returns
    -------
    Figure of four panels: scores over folds, regions with their family-wise threshold, lag weights, the split.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    scores, regions, lags, split = figure.subplots(2, 2).ravel()
    now = folds[-1]["so_far"]
    low, high = (np.nan if value is None else value for value in now["gain_interval"])
    figure.suptitle(
        f"gain over the ridge {now['gain']:+.3f} (mean of pieces, 95 % from {low:+.3f} to {high:+.3f}); "
        f"joint r {now['joint']:.3f}, ridge r {now['ridge']:.3f}",
        x=0.01, ha="left", fontsize=12,
    )  # fmt: skip
    _draw_scores(scores, folds)
    _draw_regions(regions, now)
    weights = {head: np.mean([fold["lag_weight"][head] for fold in folds], axis=0) for head in folds[0]["lag_weight"]}
    for head, weight in weights.items():
        lags.plot(plan["lags_s"], weight, marker="o", markersize=3, label=f"peak near {head}")
    lags.set(title="how long before the volume", xlabel="EEG before the volume (s)", ylabel="weight")
    lags.legend(frameon=False, fontsize=8)
    _draw_split(split, plan)
    for axes in (scores, regions, lags, split):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    return figure


def _draw_scores(axes: Axes, folds: Sequence[Mapping[str, Json]]) -> None:
    now = [fold["so_far"] for fold in folds]
    number = np.arange(1, len(folds) + 1)
    band = np.array([one["null_band"] for one in now], dtype=float)
    width = 0.8
    axes.bar(number, band[:, 2] - band[:, 0], width, bottom=band[:, 0], color=NULL, alpha=0.5, label="null 95 %")
    for name, colour in (("joint", JOINT), ("ridge", RIDGE)):
        axes.plot(number, [one[name] for one in now], marker="o", color=colour, label=name)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set(title="agreement so far", xlabel="folds predicted", ylabel="mean r over regions", xticks=number)
    axes.legend(frameon=False, fontsize=8)


def _draw_regions(axes: Axes, now: Mapping[str, Json]) -> None:
    joint, ridge, p = (np.array(now[name], float) for name in ("region_joint", "region_ridge", "region_p_fwe"))
    order = np.argsort(-np.nan_to_num(joint, nan=-2.0))
    passed = p < 0.05
    axes.bar(np.arange(order.size), joint[order], color=np.where(passed[order], JOINT, NULL), width=0.8)
    axes.plot(np.arange(order.size), ridge[order], "_", color=RIDGE, markersize=6, label="ridge")
    if now["threshold_fwe"] is not None:
        axes.axhline(now["threshold_fwe"], color="k", linestyle="--", linewidth=1, label="FWE .05")
    axes.set(title=f"{passed.sum()} of {order.size} regions pass", xlabel="regions, strongest first", ylabel="r")
    axes.set_xticks([])
    axes.legend(frameon=False, fontsize=8)


def _draw_split(axes: Axes, plan: Mapping[str, Json]) -> None:
    runs, split = list(plan["runs"]), plan["split"]
    for number, fold in enumerate(split["folds"]):
        for run, first, last in fold["test"]:
            axes.barh(runs.index(run), last - first + 1, left=first, height=0.6, color=f"C{number % 10}")
    axes.set(title=f"left out by {split['kind']}, gap {split['gap_s']:g} s", xlabel="volume; a colour for each fold")
    axes.set_yticks(range(len(runs)), runs, fontsize=8)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
