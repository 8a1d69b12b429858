"""The experiment's events, as a Dataset in seconds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from multimap_kernel.io.files import name, numbered_rows
from multimap_kernel.schema import InputError, annotate


def read_events(path: str, *, scan_s: float | None = None) -> xr.Dataset:
    """Read the experiment's events.

    Parameters
    ----------
    path
        Path or URL of a BIDS ``events.tsv`` that belongs to the BOLD run: onsets count from the first volume.
    scan_s
        Length of the run, s; events that begin after it are left out and listed in ``warnings``.

    Returns
    -------
    ``event_onset`` and ``event_duration (event; s)`` and ``event_condition``, by onset. The condition is
    ``trial_type``; where that is n/a, ``value``; rows without either are left out and counted in ``warnings``. A
    duration that is n/a is 0.

    Raises
    ------
    InputError
        If a column is missing, an onset is no finite number, a duration is none or negative, or no row names a
        condition.
    """
    numbered = numbered_rows(path, "onset", "duration")
    rows = [row for _, row in numbered]
    onsets = np.array([_onset(row["onset"], path, line) for line, row in numbered])
    durations = np.array([_duration(row["duration"], path, line) for line, row in numbered])
    named = [next((row[key] for key in ("trial_type", "value") if row.get(key, "n/a") != "n/a"), "") for row in rows]
    conditions = np.array(named, dtype=str)
    if rows and not any(named):
        raise InputError(f"{path} must name a condition in trial_type or value, found n/a in all {len(rows)} rows")
    told, keep = [], conditions != ""
    if not keep.all():
        told.append(f"{name(path)}: {np.count_nonzero(~keep)} events without a condition are left out")
    if scan_s is not None and (late := keep & (onsets >= scan_s)).any():
        listed = ", ".join(f"{c} at {t:g} s" for c, t in zip(conditions[late], onsets[late], strict=True))
        told.append(f"{name(path)}: events after the end of the run at {scan_s:g} s are left out: {listed}")
        keep &= ~late
    if not keep.any():
        told.append(f"{name(path)} gives no event of this run: it is taken as one without events")
    order = np.flatnonzero(keep)[np.argsort(onsets[keep], kind="stable")]
    ds = xr.Dataset(
        {
            "event_onset": ("event", onsets[order]),
            "event_duration": ("event", durations[order]),
            "event_condition": ("event", conditions[order]),
        },
    )
    return ds.map(annotate).assign_attrs(warnings=told)


def _onset(text: str, path: str, line: int) -> float:
    value = _number(text)
    if not np.isfinite(value):
        raise InputError(
            f"{path} must have a finite number of seconds as onset in line {line}, found {text!r}; correct it, or "
            "delete the line"
        )
    return value


def _duration(text: str, path: str, line: int) -> float:
    value = 0.0 if text == "n/a" else _number(text)
    if not (np.isfinite(value) and value >= 0):
        raise InputError(
            f"{path} must have a finite number of seconds, 0 or more, as duration in line {line}, found {text!r}; "
            "correct it, or write n/a for an event without one"
        )
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
