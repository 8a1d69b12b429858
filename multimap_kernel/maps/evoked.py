"""Evoked responses: what the EEG of each channel does after the events of a condition, with its null."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.eeg.spans import overlaps
from multimap_kernel.maps.blocks import Array, array, as_text, call, is_lazy
from multimap_kernel.maps.design import EVENTS, Contrasts, Design, contrast_labels
from multimap_kernel.maps.flips import count_flips, sign_flips
from multimap_kernel.maps.inference import describe_null, judge, student
from multimap_kernel.maps.power import good_channels
from multimap_kernel.maps.shifts import BINS, basis, reduce_strongest
from multimap_kernel.schema import InputError, require, sampling

_METHOD = "largest |t| over channels and latencies; sign flips of the trials"
_TOGETHER = 1024  # channel-latencies in one product: 1 000 flips x 1 024 floats are 4 MB
_LEAST = 3  # trials of each condition
_QUANTITIES = (("statistic", "1"), ("effect", "V"), ("p_fwe", "1"), ("q_fdr", "1"))


def evoked_map(
    ds: xr.Dataset,
    *,
    contrasts: Contrasts,
    window_s: tuple[float, float] = (-0.2, 0.8),
    permutations: int = 999,
    seed: int = 0,
) -> xr.Dataset:
    """Map when and in which channel the EEG answers the events of a condition.

    Trials are cut around the onsets and lose their mean before it. The statistic is the t of a contrast of the
    conditions' means over the trials. The null flips the signs of whole trials, after what other contrasts explain is
    taken out of them: it keeps all correlation between channels and latencies, and asks of the trials only that their
    noise is symmetrical and that one does not follow from the other.

    Parameters
    ----------
    ds
        ``eeg (channel, time; V)``, clean and on the scanner clock, ``channel_type (channel)``, ``event_onset (event;
        s)``, ``event_duration``, ``event_condition (event)``; if there: ``good (channel)`` and ``bad_span
        (span, end; s)``. NumPy or Dask; of a lazy Dataset the event table is read. Trials that the recording does not
        hold whole, that a bad span touches, or that hold NaN in a usable channel, are left out.
    contrasts
        Name -> weight of each condition; empty for each condition against no response.
    window_s
        First and last latency, s; what lies before 0 is the baseline.
    permutations
        Largest number of sign flips; few trials have fewer.
    seed
        Of the draw, where there are more.

    Returns
    -------
    ``statistic`` (t), ``effect`` (V), ``p_fwe``, ``q_fdr (condition, channel, latency)`` float32, NaN for channels that
    are not EEG, not good or cannot be used and for contrasts with fewer than three trials of a condition; ``trials
    (condition)``: how many were used; ``null_maximum (condition, permutation)``; coordinates ``latency (s)``,
    ``statistic_kind``, ``null``, and ``position (channel, world; mm)`` if there. The family of a condition is channels
    x latencies.

    Raises
    ------
    SchemaError
        If a variable is missing, has the wrong form, or time is not on the scanner clock.
    InputError
        If there are no events, a contrast names an unknown condition, or the window has no baseline or no response.

    References
    ----------
    Maris & Oostenveld (2007), J Neurosci Methods 164:177. Winkler et al. (2014), NeuroImage 92:381, for the nuisance.
    """
    require(ds, "eeg", "channel_type", *EVENTS, where="evoked_map", clock="scanner")
    if not window_s[0] < 0 < window_s[1] or permutations < 1:
        raise InputError(
            "window_s must begin before 0 and end after it, with at least one permutation, found "
            f"{tuple(window_s)} and {permutations}; (-0.2, 0.8) is usual"
        )
    labels, lazy = contrast_labels(ds, contrasts), is_lazy(ds, "eeg", "good")
    onset, names = (np.asarray(ds[name].values) for name in ("event_onset", "event_condition"))
    start, frequency, samples = sampling(ds)
    offsets = np.arange(int(np.ceil(window_s[0] * frequency - 1e-6)), int(window_s[1] * frequency + 1e-6) + 1)
    first = np.round((onset - start) * frequency).astype(int)
    whole = (first + offsets[0] >= 0) & (first + offsets[-1] < samples)
    whole &= ~overlaps(ds, start + (first + offsets[0]) / frequency, start + (first + offsets[-1] + 1) / frequency)
    design = _design(names, whole)
    members = _members(design, design.weights(contrasts), permutations)
    cut = ds["eeg"].data[:, (first[whole][:, None] + offsets).ravel()]
    channels = (ds["channel_type"].data, good_channels(ds))
    got = call(lazy, _test, cut, *channels, design, contrasts, offsets < 0, members, seed)
    return _dataset(ds, got, labels, offsets / frequency, members)


def _design(names: np.ndarray, whole: np.ndarray) -> Design:
    """Each condition as 0 or 1 in every trial; conditions without a whole trial keep their column."""
    known = tuple(sorted({str(name) for name in names}))
    task = (names[whole].astype(str)[:, None] == np.array(known, str)).astype(np.float64)
    return Design(known, task, np.zeros((len(task), 0)), np.ones(len(task), bool))


def _members(design: Design, weights: np.ndarray, permutations: int) -> int:
    """Most members that the null of a contrast can have."""
    trials = [int(design.task[:, weight != 0].any(axis=1).sum()) for weight in weights]
    return min(permutations, max(count_flips(max(count, 1)) for count in trials)) or 1


def _test(
    cut: np.ndarray, channel_type: np.ndarray, good: np.ndarray, design: Design, contrasts: Contrasts,
    baseline: np.ndarray, members: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """All contrasts on cut trials (channel, trial x latency)."""
    channels, trials = len(cut), len(design.task)
    epochs = cut.reshape(channels, trials, baseline.size).transpose(1, 0, 2).astype(np.float64)
    epochs = epochs - epochs[:, :, baseline].mean(axis=2, keepdims=True)
    sound = np.isfinite(epochs).all(axis=2)
    judged = (channel_type.astype(str) == "eeg") & np.asarray(good, bool)
    usable = judged & (sound.mean(axis=0) > 0.5 if trials else False)
    kept = sound[:, usable].all(axis=1)
    got: dict[str, list[Any]] = {name: [] for name, _ in _QUANTITIES} | {"null_maximum": [], "trials": []}
    for weight in design.weights(contrasts):
        own = kept & design.task[:, weight != 0].any(axis=1)
        enough = usable.any() and (design.task[own][:, weight != 0].sum(axis=0) >= _LEAST).all()
        found = _contrast(epochs[own][:, usable], design.task[own], weight, members, seed) if enough else {}
        for name, _ in _QUANTITIES:
            values = np.full((channels, baseline.size), np.nan, np.float32)
            if enough:
                values[usable] = found[name].reshape(-1, baseline.size)
            got[name].append(values)
        got["null_maximum"].append(found.get("null_maximum", np.full(members, np.nan)))
        got["trials"].append(int(own.sum()) if usable.any() else 0)
    count = max(int(np.isfinite(one).sum()) for one in got["null_maximum"])
    return {name: np.array(parts) for name, parts in got.items()} | {"null": describe_null(_METHOD, count, seed)}


def _contrast(
    epochs: np.ndarray, task: np.ndarray, weight: np.ndarray, members: int, seed: int
) -> dict[str, np.ndarray]:
    """One contrast of trials (trial, channel, latency), all of them of its conditions."""
    tested = weight != 0
    sub = Design((), task[:, tested], np.zeros((len(task), 0)), np.ones(len(task), bool))
    target, others = sub.split(weight[tested])
    nuisance = basis(others)
    own = target - nuisance @ (nuisance.T @ target)
    data = epochs.reshape(len(epochs), -1)
    rest = data - nuisance @ (nuisance.T @ data)
    signs = sign_flips(len(task), members, seed)
    best, chosen = np.full(rest.shape[1], np.nan, np.float32), np.full(rest.shape[1], -1, np.int16)
    maximum, counts = np.zeros(len(signs) - 1, np.float32), np.zeros(BINS, np.int64)
    for first in range(0, rest.shape[1], _TOGETHER):
        part = slice(first, first + _TOGETHER)
        r = _flipped(rest[:, part], own, nuisance, signs)
        reduce_strongest(r[None], best[part], chosen[part], maximum, counts)
    degrees = len(task) - nuisance.shape[1] - 1
    padded = np.full(members, np.nan, np.float32)
    padded[: maximum.size] = maximum
    judged = {name: one[0] for name, one in judge(best[None], padded[None], counts[None]).items()}
    effect = own @ data / float(own @ own)
    return judged | {
        "statistic": student(best, degrees),
        "effect": np.where(np.isnan(best), np.nan, effect),
        "null_maximum": student(padded, degrees),
    }


def _flipped(rest: np.ndarray, own: np.ndarray, nuisance: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Correlations (1 + member, column) of the contrast with trials of flipped signs, the nuisance taken out again."""
    length = np.sqrt(np.einsum("ij,ij->j", rest, rest))
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = (rest / np.where(length > 0, length, np.nan)).astype(np.float32)
        left = np.ones((len(signs), rest.shape[1]), np.float32)
        for column in nuisance.T.astype(np.float32):
            left -= ((signs * column) @ unit) ** 2
        product = (signs * (own / np.linalg.norm(own)).astype(np.float32)) @ unit
        return np.asarray(np.clip(product / np.sqrt(np.where(left > 1e-6, left, np.nan)), -1, 1), np.float32)


def _dataset(ds: xr.Dataset, got: Any, labels: tuple[str, ...], latency: np.ndarray, members: int) -> xr.Dataset:
    dims, out = ("condition", "channel", "latency"), xr.Dataset()
    shape = (len(labels), ds.sizes["channel"], latency.size)
    for name, units in _QUANTITIES:
        out[name] = xr.DataArray(array(got[name], shape, np.float32), dims=dims, attrs={"units": units})
    null: Array = array(got["null_maximum"], (len(labels), members), np.float32)
    out["null_maximum"] = xr.DataArray(null, dims=("condition", "permutation"), attrs={"units": "1"})
    out["trials"] = xr.DataArray(array(got["trials"], (len(labels),), np.int64), dims="condition", attrs={"units": "1"})
    out = out.assign_coords(
        condition=list(labels), channel=ds["channel"], latency=("latency", latency, {"units": "s"}),
        statistic_kind="t", null=((), as_text(got["null"])),
    )  # fmt: skip
    return out.assign_coords(position=ds["position"]) if "position" in ds else out
