"""A whole study on one page: what was measured about the quality of each session, and what people decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from multimap_kernel.io.decisions import decided, effective, history
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline.results import open_session, sessions_of
from multimap_kernel.schema import Alignment, Fit, InputError

MOVED_MM = 0.5
"""A volume that moved more than this against the one before counts as moved."""


def study_quality(root: str, study: str, recipe: str = "default") -> pd.DataFrame:
    """Tell the quality of all sessions of a study.

    Parameters
    ----------
    root, study
        The store and the study's name in it.
    recipe
        Name of the recipe that the sessions were run with.

    Returns
    -------
    One row per session (index ``session``), those that were decided about and never ran with NaN. Columns:
    ``decision`` (accept, exclude, hold or empty) and ``reason``; ``corrections`` in force, such as ``shift 0.004``;
    ``verdict`` of the alignment, ``drift_ppm``,
    ``residual_ms`` (root mean square), ``missing_markers``, ``uncovered_volumes`` (without EEG);
    ``displacement_mm`` (mean framewise displacement) and ``moved_volumes`` (over 0.5 mm); ``tsnr`` (median over voxels
    of mean by standard deviation); ``gradient_residual`` (power at the multiples of the volume frequency by that
    beside them, after cleaning, median over channels; 1 means that none is left), ``bad_channels``,
    ``beats_per_minute``; ``score`` of the prediction of BOLD from EEG, out of fold, with ``null_upper``, the 95 % point
    of its null.

    Raises
    ------
    InputError
        If no session was run with that recipe and none was decided about.
    """
    store = Store(root, study)
    ran = {session for session, name in sessions_of(store) if name == recipe}
    labels = sorted(ran | set(decided(store)))
    if not labels:
        raise InputError(f"study {study!r} in {root} must have a session run with recipe {recipe!r}, found none")
    rows = [dict(_row(store, label, recipe if label in ran else "")) for label in labels]
    return pd.DataFrame(rows).set_index("session")


def _row(store: Store, session: str, recipe: str) -> Iterator[tuple[str, Any]]:
    yield "session", session
    holds = effective(history(store, session))
    fate = [item for item in holds if item.action in {"accept", "exclude", "hold"}]
    yield "decision", fate[-1].action if fate else ""
    yield "reason", fate[-1].reason if fate else ""
    yield "corrections", ", ".join(f"{item.action} {item.value}".replace("_", " ") for item in holds if item.value)
    if recipe:
        tree = open_session(store.root, store.study, session, recipe)
        yield from _clocks(Alignment.from_json(tree["align"].attrs["alignment"]))
        yield from _volumes(tree["normalise/confounds"].to_dataset(), tree["features"].to_dataset())
        yield from _recording(tree["clean_eeg"].to_dataset())
        fit = Fit.from_json(tree["fuse"].attrs["fit"])
        yield "score", fit.score
        yield "null_upper", fit.null_score[1]


def _clocks(alignment: Alignment) -> Iterator[tuple[str, Any]]:
    residual = np.array([one for one in alignment.residual_s if one is not None])
    yield "verdict", alignment.verdict
    yield "drift_ppm", alignment.drift_ppm
    yield "residual_ms", float(np.sqrt(np.mean(residual**2)) * 1e3) if residual.size else np.nan
    yield "missing_markers", len(alignment.missing)
    yield "uncovered_volumes", len(alignment.covered) - sum(alignment.covered)


def _volumes(confounds: xr.Dataset, features: xr.Dataset) -> Iterator[tuple[str, Any]]:
    displacement = confounds["framewise_displacement"].values
    yield "displacement_mm", float(np.nanmean(displacement))
    yield "moved_volumes", int((displacement > MOVED_MM).sum())
    series = features["series"].sel(time=features["steady_state"])
    mean, deviation = series.mean("time").values, series.std("time").values
    yield "tsnr", float(np.median(mean[deviation > 0] / deviation[deviation > 0]))


def _recording(clean: xr.Dataset) -> Iterator[tuple[str, Any]]:
    brain = clean["channel_type"].values == "eeg"
    residual = clean["quality"].sel(metric="gradient_residual").values[brain]
    yield "gradient_residual", float(np.nanmedian(residual)) if np.isfinite(residual).any() else np.nan
    yield "bad_channels", int((~clean["good"].values[brain]).sum())
    beats = clean["r_peak"].values if "r_peak" in clean else np.empty(0)
    beats = beats[np.isfinite(beats)]
    yield "beats_per_minute", float(60 / np.median(np.diff(beats))) if beats.size > 1 else np.nan
