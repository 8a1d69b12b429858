"""The picture of a joint model: its scores beside baselines and null, its regions, its embedding, its lags."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multimap_kernel.schema import Evaluation, require
from multimap_kernel.view.figures import BLUE, GREY, ORANGE

_APART_S = 16.0  # moments nearer than the response is long are not different moments


def joint_figure(evaluation: Evaluation, out: xr.Dataset) -> Figure:
    """Draw what a joint model gains over the ridge, and whether it may be believed.

    Parameters
    ----------
    evaluation
        What `fusion.evaluate` gave.
    out
        What `fusion.train` gave: ``embedding (time, modality, latent)``, ``lag_weight (fold, head, lag)``, ``run
        (time)``.

    Returns
    -------
    Four panels: correlation of every model with its 95 % interval, the null's band grey; every region, joint beside
    ridge, with the threshold of the family-wise error; similarity of moments of the first run in the embedding, where
    a bright diagonal means that EEG finds its BOLD; weight of each lag, a line a fold.

    Raises
    ------
    SchemaError
        If a variable is missing.
    """
    require(out, "embedding", "lag_weight", where="joint_figure")
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (scores, regions), (moments, lags) = figure.subplots(2, 2)
    _draw_scores(scores, evaluation)
    _draw_regions(regions, evaluation)
    _draw_moments(moments, evaluation, out)
    _draw_lags(lags, out)
    gain, (low, high) = evaluation.gain, evaluation.gain_interval
    told = "The network gains" if low > 0 else "No gain:"
    figure.suptitle(f"{told} {gain:+.3f} [{low:+.3f}, {high:+.3f}] in r over the ridge", fontsize=12)
    return figure


def _draw_scores(axes: Axes, one: Evaluation) -> None:
    names = list(one.scores)
    place = np.arange(len(names))
    r, low, high = np.array([score[:3] for score in one.scores.values()], float).T
    axes.axvspan(2 * one.null_mean - one.null_95, one.null_95, color="0.88", label="null: refits of the ridge (90 %)")
    axes.hlines(place, low, high, color=[_colour(name) for name in names], linewidth=2)
    axes.scatter(r, place, c=[_colour(name) for name in names], s=30, zorder=3)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set_yticks(place, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("r out of fold, mean over regions (95 % interval)", fontsize=9)
    axes.set_title(f"Leak probe {one.leak:+.2f}, with leaking folds {one.leak_shuffled:+.2f}", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def _colour(name: str) -> str:
    return BLUE if name.startswith("joint") else ORANGE if name.startswith("ridge") else GREY


def _draw_regions(axes: Axes, one: Evaluation) -> None:
    order = np.argsort(one.region_r)[::-1]
    place = np.arange(order.size)
    joint, ridge = (np.array(values)[order] for values in (one.region_r, one.region_ridge_r))
    axes.vlines(place, ridge, joint, color="0.8", linewidth=2)
    axes.scatter(place, ridge, c=ORANGE, s=22, label="ridge", zorder=3)
    axes.scatter(place, joint, c=BLUE, s=22, label="joint", zorder=3)
    axes.axhline(one.threshold_fwe, color=GREY, linewidth=1, linestyle="--", label="family-wise p = .05")
    axes.axhline(0, color="0.6", linewidth=0.8)
    if order.size <= 40:
        axes.set_xticks(place, np.array(one.regions)[order], rotation=90, fontsize=7)
    axes.set_ylabel("r out of fold", fontsize=9)
    found = int((np.array(one.region_p_fwe) <= 0.05).sum())
    axes.set_title(f"{found} of {order.size} regions pass, {one.null_members} members of the null", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def _draw_moments(axes: Axes, one: Evaluation, out: xr.Dataset) -> None:
    own = out["run"].values == out["run"].values[0]
    apart = int(np.ceil(_APART_S / float(out.attrs["repetition_time"])))
    chosen = np.flatnonzero(own & np.isfinite(out["embedding"].values[:, 0, 0]) & (out["volume"].values % apart == 0))
    eeg, bold = (out["embedding"].sel(modality=name).values[chosen] for name in ("eeg", "bold"))
    image = axes.imshow(eeg @ bold.T, cmap="magma", vmin=-1, vmax=1, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.8).set_label("cosine", fontsize=9)
    axes.set_xlabel(f"moment of BOLD (each {_APART_S:g} s of {out['run'].values[0]})", fontsize=9)
    axes.set_ylabel("moment of EEG", fontsize=9)
    axes.set_title(
        f"Moments found: embedding {one.retrieval:.2f}, ridge patterns {one.retrieval_ridge:.2f}, "
        f"chance {one.retrieval_chance:.2f}",
        fontsize=10,
    )


def _draw_lags(axes: Axes, out: xr.Dataset) -> None:
    for colour, (head, weight) in zip((BLUE, ORANGE, GREY), out["lag_weight"].groupby("head"), strict=False):
        values = weight.squeeze("head").transpose("lag", "fold").values
        axes.plot(out["lag"].values, values, color=colour, linewidth=1, alpha=0.6)
        axes.plot([], [], color=colour, label=f"head that starts at {head}")
    axes.set_xlabel("EEG before the volume (s)", fontsize=9)
    axes.set_ylabel("weight of the lag", fontsize=9)
    axes.set_title("Lag profile, one line per fold", fontsize=10)
    axes.legend(fontsize=8)
