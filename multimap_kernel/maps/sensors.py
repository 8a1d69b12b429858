"""Sensor maps: how the power of each channel and band changes with each condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from nilearn.glm.first_level import make_first_level_design_matrix

from multimap_kernel.maps.blocks import array, as_text, call, is_lazy
from multimap_kernel.maps.design import EVENTS, Contrasts, Design, Trials, check_events, contrast_labels
from multimap_kernel.maps.inference import describe_null, judge, student
from multimap_kernel.maps.moved import METHODS, Way, choose_way, move
from multimap_kernel.maps.power import good_channels, log_power
from multimap_kernel.maps.shifts import basis, distinct_shifts, scaled, shifted, strongest, unit_residuals
from multimap_kernel.schema import require

_METHOD = "largest |t| over channels and bands; "
_QUANTITIES = (("statistic", "1"), ("effect", "percent"), ("p_fwe", "1"), ("q_fdr", "1"))


def sensor_map(ds: xr.Dataset, *, contrasts: Contrasts, high_pass_hz: float = 0.01, seed: int = 0) -> xr.Dataset:
    """Map where band power at the scalp changes with a condition.

    A linear model of the 10 Hz log power on the conditions as they were (neural activity has no haemodynamic delay),
    with drifts. Power in bins of 0.1 s is strongly autocorrelated, so that only a null that moves the condition against
    the power gives p values: circular shifts by whole volumes, since finer ones would be copies of the same thing, or
    labels dealt out anew to the blocks of a design that repeats itself, which would meet itself again when shifted.

    Parameters
    ----------
    ds
        ``band_power_fine (bin, channel, band; V2)`` with ``bin`` (s, scanner clock), ``channel_type (channel)``,
        ``event_onset, event_duration (event; s)``, ``event_condition (event)``; if there: ``good (channel)``;
        attribute ``repetition_time`` (s). NumPy or Dask; of a lazy Dataset only ``event_condition`` is read, and only
        if no contrast is named.
    contrasts
        Name -> weight of each condition; empty for each condition against the rest of the time.
    high_pass_hz
        Cut-off of the cosine drifts.
    seed
        Chooses the shifts where a run has more than are used; of the labels.

    Returns
    -------
    ``statistic`` (t), ``effect`` (change of power in percent), ``p_fwe``, ``q_fdr (condition, band, channel)``
    float32, NaN for channels that are not EEG, not good or cannot be used, and for contrasts of conditions that the
    EEG does not cover; ``null_maximum (condition, permutation)``; coordinates ``statistic_kind``, ``null``,
    and ``position (channel, world; mm)`` if there. The family of a condition is channels x bands.

    Raises
    ------
    SchemaError
        If a variable is missing, has the wrong form, or time is not on the scanner clock.
    InputError
        If there are no events, an event starts after the scan, or no channel can be used.

    References
    ----------
    Pfurtscheller & Lopes da Silva (1999), Clin Neurophysiol 110:1842, for power change as the measure.
    """
    require(ds, "band_power_fine", "channel_type", *EVENTS, where="sensor_map", clock="scanner")
    labels, lazy = contrast_labels(ds, contrasts), is_lazy(ds)
    step = float(ds.attrs["repetition_time"])
    count = ds.sizes["time"] if "time" in ds.sizes else int((float(ds["bin"][-1]) + 0.05) // step)
    if not is_lazy(ds, *EVENTS):
        check_events(*(ds[name].data for name in EVENTS), end=count * step)
    members = len(distinct_shifts(count, step, seed))
    power = (ds["band_power_fine"].data, ds["bin"].data, ds["channel_type"].data, good_channels(ds))
    events = [ds[name].data for name in EVENTS]
    got = call(lazy, _test, *power, *events, contrasts, count * step, step, high_pass_hz, members, seed)
    shape = (len(labels), ds.sizes["band"], ds.sizes["channel"])
    out = xr.Dataset()
    for name, units in _QUANTITIES:
        values = array(got[name], shape, np.float32)
        out[name] = xr.DataArray(values, dims=("condition", "band", "channel"), attrs={"units": units})
    null = array(got["null_maximum"], (len(labels), members), np.float32)
    out["null_maximum"] = xr.DataArray(null, dims=("condition", "permutation"), attrs={"units": "1"})
    out = out.assign_coords(condition=list(labels), band=ds["band"], channel=ds["channel"], statistic_kind="t")
    out = out.assign_coords(null=((), as_text(got["null"])))
    return out.assign_coords(position=ds["position"]) if "position" in ds else out


def _test(
    power: np.ndarray, bins: np.ndarray, channel_type: np.ndarray, good: np.ndarray, onset: np.ndarray,
    duration: np.ndarray, condition: np.ndarray, contrasts: Contrasts, end: float, step: float, high_pass_hz: float,
    members: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    recording = log_power(power, bins, channel_type, good)
    within = recording.covered & (bins >= 0) & (bins < end)
    design = _boxcars(bins[within], check_events(onset, duration, condition, end=end), high_pass_hz)
    data = recording.values[within].reshape(int(within.sum()), -1)
    shape = (power.shape[2], power.shape[1])
    weights = design.weights(contrasts)
    chosen = choose_way("auto", design, weights, np.ones(len(data), bool), recording.width)
    way: Way = "block" if chosen == "block" else "shift"
    names = [*(name for name, _ in _QUANTITIES), "null_maximum"]
    got: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for weight, rows in zip(weights, _moved(design, weights, way, step, recording.width, members, seed), strict=True):
        target, others = design.split(weight)
        nuisance = basis(others)
        own = target - nuisance @ (nuisance.T @ target)
        if not design.estimable(target, own):
            for name, _ in _QUANTITIES:
                got[name].append(np.full(shape, np.nan))
            got["null_maximum"].append(np.full(members, np.nan))
            continue
        found = strongest(scaled(rows[None], nuisance), unit_residuals(data, nuisance))
        degrees = len(target) - nuisance.shape[1] - 1
        change = 100 * np.expm1(own @ data / max(float(own @ own), np.finfo(np.float64).tiny))
        maximum = np.full(members, np.nan, np.float32)
        maximum[: len(rows) - 1] = found.maximum[:members]
        judged = judge(found.best[None], maximum[None], found.counts[None])
        got["statistic"].append(_by_band(student(found.best, degrees), shape))
        got["effect"].append(_by_band(np.where(np.isnan(found.best), np.nan, change), shape))
        got["p_fwe"].append(_by_band(judged["p_fwe"], shape))
        got["q_fdr"].append(_by_band(judged["q_fdr"], shape))
        got["null_maximum"].append(student(maximum, degrees))
    count = max(int(np.isfinite(one).sum()) for one in got["null_maximum"])
    text = describe_null(_METHOD + METHODS[way], count, seed)
    return {name: np.array(parts) for name, parts in got.items()} | {"null": text}


def _moved(
    design: Design, weights: np.ndarray, way: Way, step: float, width: float, members: int, seed: int
) -> list[np.ndarray]:
    """Each contrast's regressor and its null (1 + member, bin)."""
    every = np.ones(len(design.task), bool)
    if way == "block":
        dealt = move(design, weights, every, way, step=width, permutations=members, seed=seed)
        return [one.rows for one in dealt]
    volumes = distinct_shifts(int(len(every) * width / step + 1e-6), step, seed)
    shifts = np.round(volumes * step / width).astype(int)
    return [shifted(design.split(weight)[0][:, None], shifts)[0] for weight in weights]


def _boxcars(bins: np.ndarray, events: Any, high_pass_hz: float) -> Design:
    """Each condition as 0 or 1 in every bin, at least one bin long."""
    names = tuple(sorted(set(events["trial_type"])))
    half = float(np.median(np.diff(bins))) / 2
    task = np.zeros((len(bins), len(names)))
    for row in events.itertuples():
        inside = (bins >= row.onset - half) & (bins < row.onset + max(row.duration - half, half))
        task[inside, names.index(row.trial_type)] = 1.0
    drift = make_first_level_design_matrix(
        bins, hrf_model=None, drift_model="cosine", high_pass=high_pass_hz
    ).to_numpy()
    number = np.array([names.index(name) for name in events["trial_type"]], int)
    trials = Trials(events["onset"].to_numpy(), events["duration"].to_numpy(), number, bins, None)
    return Design(names, task, basis(drift), np.ones(len(bins), bool), trials)


def _by_band(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(channel x band) -> (band, channel)."""
    return values.reshape(shape[::-1]).T
