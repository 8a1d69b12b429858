"""The design of a run: conditions convolved with the haemodynamic response, and everything that is nuisance."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from nilearn.glm.first_level import make_first_level_design_matrix

from multimap_kernel.maps.blocks import call, is_lazy
from multimap_kernel.maps.shifts import basis
from multimap_kernel.schema import InputError, require

Contrasts = Mapping[str, Mapping[str, float]]
EVENTS = ("event_onset", "event_duration", "event_condition")
NEXT_TO_NOTHING = 1e-6
"""Share of a regressor's power below which what is left of it is rounding, not signal."""


@dataclass(frozen=True)
class Trials:
    """Events and the response that makes regressors of them.

    Parameters
    ----------
    onset, duration : (event,)
        s.
    label : (event,)
        Position of the event's condition among the names.
    frame_times : (time,)
        When the volumes were sampled, s.
    hrf
        Haemodynamic response of the main regressors; None for neural activity as it was.
    """

    onset: np.ndarray
    duration: np.ndarray
    label: np.ndarray
    frame_times: np.ndarray
    hrf: str | None


@dataclass(frozen=True)
class Design:
    """Regressors of a run on the volume grid.

    Parameters
    ----------
    conditions
        Names, sorted; empty at rest.
    task : (time, condition)
        Each condition convolved with the haemodynamic response.
    nuisance : (time, rank)
        Orthonormal basis of constant, drifts, confounds and one spike for each volume before the steady state: a
        spike takes the volume out of the fit as if it were missing, and the time axis stays whole.
    steady : (time,)
        Volumes in the steady state.
    trials
        What each condition was made of; None where nothing was convolved.
    """

    conditions: tuple[str, ...]
    task: np.ndarray
    nuisance: np.ndarray
    steady: np.ndarray
    trials: Trials | None = None

    def weights(self, contrasts: Contrasts) -> np.ndarray:
        """Weight of each condition in each contrast (contrast, condition); one contrast a condition if none is given.

        Raises
        ------
        InputError
            If a contrast names a condition that the run does not have, or has no weight but 0.
        """
        if not contrasts:
            return np.eye(len(self.conditions))
        table = np.zeros((len(contrasts), len(self.conditions)))
        for row, (label, parts) in zip(table, contrasts.items(), strict=True):
            for name, weight in parts.items():
                if name not in self.conditions:
                    near = difflib.get_close_matches(name, self.conditions, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self.conditions)}"
                    raise InputError(f"contrast {label!r} must name conditions of the run, found {name!r}; {hint}")
                row[self.conditions.index(name)] = weight
            if not row.any():
                raise InputError(f"contrast {label!r} must have a weight other than 0, found {dict(parts)}")
        return table

    def split(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewrite the model so that one column's coefficient is the contrast.

        Returns
        -------
        The column (time,) and all others (time, column), nuisance included; together they span the same model.

        References
        ----------
        Winkler et al. (2014), NeuroImage 92:381, section "Model partitioning".
        """
        _, _, rows = np.linalg.svd(weights[None, :])
        target = self.task @ weights / (weights @ weights)
        return target, np.column_stack([self.task @ rows[1:].T, self.nuisance])

    @staticmethod
    def estimable(target: np.ndarray, own: np.ndarray) -> bool:
        """Whether a contrast can be told from the rest of the model.

        Parameters
        ----------
        target : (time,)
            The contrast's column from `split`.
        own : (time,)
            What is left of it once all other columns are taken out; next to nothing where a condition of the contrast
            lies outside the volumes that are used.
        """
        return float(own @ own) > NEXT_TO_NOTHING * float(target @ target)


def contrast_labels(ds: xr.Dataset, contrasts: Contrasts) -> tuple[str, ...]:
    """Names of the contrasts; without any, the run's conditions (a lazy event table is read for that).

    Raises
    ------
    InputError
        If the run has no events.
    """
    if contrasts:
        return tuple(contrasts)
    names = tuple(sorted({str(name) for name in ds["event_condition"].values}))
    if not names:
        raise InputError("a map per condition needs events, found none; give events.tsv, or leave this map out")
    return names


def make_design(ds: xr.Dataset, *, hrf: str, high_pass_hz: float, lazy: bool) -> Any:
    """Make the `Design` of a run, or the task that will make it.

    Parameters
    ----------
    ds
        ``time``, ``steady_state``; if there: ``event_onset, event_duration (event; s)``, ``event_condition (event)``,
        ``confound (time, regressor)``. Attribute ``repetition_time`` (s); ``sampled_at`` says at which fraction of
        it a volume was sampled (middle if not given).
    hrf
        ``"spm"`` or ``"glover"``; with ``" + derivative + dispersion"``, these become nuisance.
    high_pass_hz
        Cut-off of the cosine drifts.
    lazy
        Whether to make a task.

    Raises
    ------
    InputError
        If an event starts after the end of the scan or has no onset or condition; on a lazy event table, when it
        is computed.
    """
    table: tuple[Any, ...] = ((), (), ())
    repetition_time = float(ds.attrs["repetition_time"])
    if "event_onset" in ds:
        require(ds, *EVENTS, where="design")
        table = tuple(ds[name].data for name in EVENTS)
        if not is_lazy(ds, *EVENTS):
            check_events(*table, end=ds.sizes["time"] * repetition_time)
    confound = ds["confound"].data if "confound" in ds else np.zeros((ds.sizes["time"], 0))
    return call(
        lazy, _design, *table, confound, ds["steady_state"].data, repetition_time,
        float(ds.attrs.get("sampled_at", 0.5)), hrf, high_pass_hz,
    )  # fmt: skip


def check_events(onset: np.ndarray, duration: np.ndarray, condition: np.ndarray, *, end: float) -> pd.DataFrame:
    """Make an event table of (event,) arrays; a missing duration is 0, an impulse.

    Raises
    ------
    InputError
        Lists the events without onset or condition, and those that start after ``end`` (s).
    """
    table = pd.DataFrame({"onset": np.asarray(onset, np.float64), "duration": np.asarray(duration, np.float64)})
    table["trial_type"] = [str(name) for name in np.asarray(condition)]
    unknown = table.index[~np.isfinite(table["onset"]) | table["trial_type"].isin(["", "nan", "n/a"])]
    late = table.index[table["onset"] >= end]
    if len(unknown):
        raise InputError(
            f"every event must have an onset and a condition, rows {list(unknown[:10])} have not; fix them"
        )
    if len(late):
        found = ", ".join(f"row {row} at {table['onset'][row]:g} s" for row in late[:10])
        raise InputError(
            f"events must start before the scan ends at {end:g} s, found {len(late)} later ones ({found}); remove them "
            "or check that onsets are in s from the first volume"
        )
    return table.assign(duration=table["duration"].fillna(0.0).clip(lower=0.0))


def _design(
    onset: np.ndarray, duration: np.ndarray, condition: np.ndarray, confound: np.ndarray, steady: np.ndarray,
    repetition_time: float, sampled_at: float, hrf: str, high_pass_hz: float,
) -> Design:  # fmt: skip
    count = len(steady)
    events = check_events(onset, duration, condition, end=count * repetition_time)
    names = tuple(sorted(set(events["trial_type"])))
    frame_times = (np.arange(count) + sampled_at) * repetition_time
    # codes instead of names: nilearn renames conditions that are no Python identifiers
    codes = [f"condition{names.index(name):04d}" for name in events["trial_type"]]
    # many times repeated rows of one condition are one event to nilearn, with a warning; they are one here already
    coded = events.assign(trial_type=codes).drop_duplicates().sort_values("onset", kind="stable")
    # nilearn warns of impulses, and makes them nearly 0 high; a tenth of a second is an impulse to a volume
    coded["duration"] = coded["duration"].clip(lower=0.1)
    with warnings.catch_warnings():
        # who needs the conditions apart checks it, and names them
        warnings.filterwarnings("ignore", message="Matrix is singular")
        matrix = make_first_level_design_matrix(
            frame_times, coded if names else None, hrf_model=hrf, drift_model="cosine", high_pass=high_pass_hz
        )
    main = [f"condition{number:04d}" for number in range(len(names))]
    task, others = matrix[main].to_numpy(np.float64), matrix.drop(columns=main).to_numpy(np.float64)
    spikes = np.eye(count)[:, ~np.asarray(steady, bool)]
    number = np.array([names.index(name) for name in events["trial_type"]], int)
    trials = Trials(
        events["onset"].to_numpy(), events["duration"].to_numpy(), number, frame_times, hrf.partition(" ")[0]
    )
    nuisance = basis(np.column_stack([others, centred_confounds(confound), spikes]))
    return Design(names, task, nuisance, np.asarray(steady, bool), trials)


def centred_confounds(confound: np.ndarray) -> np.ndarray:
    """Confounds (time, regressor) less their mean, at which an unknown value stands: derivatives have no first."""
    known = np.isfinite(confound)
    mean = np.where(known, confound, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, confound - mean, 0.0)
