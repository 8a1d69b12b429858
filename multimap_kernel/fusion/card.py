"""The model card: what was learned from what, how it was judged, and what must not be concluded."""

from __future__ import annotations

import math

from multimap_kernel.schema import Evaluation, JointFit

_LEAK = 0.05
"""Nearest neighbours find this much only where there is something to find, and then less than the ridge does."""


def card(fit: JointFit, evaluation: Evaluation) -> str:
    """Write the model card.

    Parameters
    ----------
    fit
        What was learned.
    evaluation
        How it was judged.

    Returns
    -------
    Markdown: headline, data and split, scores with intervals, nulls, lags, gates, what must not be concluded.
    """
    parts = [
        _headline(evaluation),
        _data(fit),
        _scores(evaluation),
        _nulls(evaluation),
        _lags(fit),
        _regions(fit, evaluation),
    ]
    return "\n\n".join([*parts, _limits(fit, evaluation)]) + "\n"


def _headline(one: Evaluation) -> str:
    low, high = one.gain_interval
    text = f"{one.gain:+.3f} [{low:+.3f}, {high:+.3f}]"
    if low > 0:
        verdict = f"the network gains {text} in correlation over the ridge"
    else:
        verdict = f"no gain over the ridge: {text} in correlation, and the interval holds 0 or less"
    return (
        f"# Joint model of EEG and BOLD\n\n**In short:** {verdict} (mean over {len(one.regions)} regions, out of fold)."
    )


def _data(fit: JointFit) -> str:
    split = fit.manifest
    segments = [part for fold in split["folds"] for part in fold["test"]]
    names = sorted({str(part[0]) for part in segments})
    volumes = sum(last - first + 1 for _, first, last in segments)
    lags = split["lags_s"]
    return "\n".join(
        [
            "## Data and split",
            "",
            f"- {len(names)} runs, {volumes} volumes of {split['repetition_time']:g} s: {', '.join(names)}",
            f"- EEG {min(lags):g} to {max(lags):g} s before the volume, {len(lags)} lags",
            f"- split by {split['kind']} into {len(split['folds'])} folds, gap {split['gap_s']:g} s",
            "- each volume is predicted once, by a model that saw none of its EEG window",
            f"- size {fit.size}, reads {fit.tokens}, {fit.latent} latents, seed {fit.seed}",
            f"- sha256 of split {split['sha256'][:16]}, data {fit.data_sha256[:16]}, weights {fit.weights_sha256[:16]}",
        ]
    )


def _scores(one: Evaluation) -> str:
    lines = ["## Scores", "", "| model | r | 95 % interval | explained variance |", "|---|---|---|---|"]
    for name, (r, low, high, r2) in one.scores.items():
        lines.append(f"| {name} | {_number(r)} | {_number(low)} to {_number(high)} | {_number(r2)} |")
    found = (
        f"Retrieval: the embedding finds {one.retrieval:.2f} of moments, patterns of the ridge over the same windows "
        f"{one.retrieval_ridge:.2f}, chance {one.retrieval_chance:.2f}."
    )
    return "\n".join([*lines, "", found])


def _nulls(one: Evaluation) -> str:
    refits = ", ".join(_number(r) for r in one.refit_null)
    other = "not known, there is one run" if _unknown(one.other_run) else _number(one.other_run)
    return "\n".join(
        [
            "## Nulls",
            "",
            f"- ridge refitted to BOLD in random phases, {one.null_members} members: mean r {_number(one.null_mean)}",
            f"- of these, 95 % have r below {_number(one.null_95)}",
            f"- a region is significant from r = {_number(one.threshold_fwe)} at family-wise p .05",
            f"- the smallest p that so many members allow is {one.smallest_p:.3g}",
            f"- ridge refitted on shifted EEG: {refits}",
            f"- EEG of another run: {other}",
            f"- leak probe (nearest neighbours): {_number(one.leak)} under this split",
            f"- the same under folds drawn at random, which leak: {_number(one.leak_shuffled)}",
        ]
    )


def _lags(fit: JointFit) -> str:
    """Weight of each lag, and a word where a head leans on the end of the axis: the response may reach beyond."""
    lags = fit.manifest["lags_s"]
    lines = ["## Lags", "", "| EEG before the volume (s) | " + " | ".join(f"{lag:g}" for lag in lags) + " |"]
    lines.append("|---" * (len(lags) + 1) + "|")
    for number, row in enumerate(fit.lag_weight, 1):
        lines.append(f"| head {number} | " + " | ".join(f"{weight:.2f}" for weight in row) + " |")
    peak = lags[max(range(len(lags)), key=fit.lag_weight[0].__getitem__)]
    lines += ["", f"The first head, which starts at the peak of the response, weighs {peak:g} s most."]
    if peak in (min(lags), max(lags)):
        lines.append("That is the end of the axis: check the alignment, or widen fuse.lags_s.")
    return "\n".join(lines)


def _regions(fit: JointFit, one: Evaluation) -> str:
    gates = [sum(column) / len(column) for column in zip(*fit.gate, strict=True)]
    rows = sorted(zip(one.regions, one.region_r, one.region_ridge_r, one.region_p_fwe, gates, strict=True), key=_by_r)
    lines = ["## Regions", "", "| region | joint r | ridge r | p (family-wise) | gate |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {_number(r)} | {_number(plain)} | {p:.3f} | {gate:.2f} |" for name, r, plain, p, gate in rows
    ]
    return "\n".join(lines)


def _by_r(row: tuple[str, float, float, float, float]) -> float:
    return -row[1]


def _limits(fit: JointFit, one: Evaluation) -> str:
    kind = fit.manifest["kind"]
    unseen = {"block": "another run", "run": "another session", "session": "another subject"}.get(kind, "another study")
    lines = [
        "## What must not be concluded",
        "",
        f"- Nothing is known of {unseen}: the split is by {kind}.",
        "- A correlation is no path: a common cause (arousal, task, movement) predicts as well as a direct one.",
        '- The task is such a cause: the rows "design out" tell what is left when it is taken out of both sides.',
        "- Gates and embedding are no maps; attention and lag weights are no delays of the brain.",
    ]
    if one.gain_interval[0] <= 0 or _unknown(one.gain_interval[0]):
        lines.append("- The network must not be called better than the ridge on these data.")
    if one.leak >= max(_LEAK, one.scores["ridge"].r):
        lines.append(
            f"- The leak probe finds r = {one.leak:+.2f}, no less than the ridge: the split may leak, and all scores "
            "may be too high."
        )
    return "\n".join(lines)


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _number(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.3f}"
