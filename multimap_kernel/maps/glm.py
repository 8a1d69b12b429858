"""Activation maps: one contrast on measured BOLD, and the same on BOLD predicted from EEG alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, Shape, array, as_text, call, is_lazy, on_grid, per_block
from multimap_kernel.maps.design import Contrasts, Design, contrast_labels, make_design
from multimap_kernel.maps.inference import describe_null, false_discovery_rate, family_wise_p, pooled_p
from multimap_kernel.maps.prewhitening import fit_ar1
from multimap_kernel.maps.shifts import BINS, basis, distinct_shifts, shifted_rows, strongest, unit_residuals
from multimap_kernel.schema import annotate, require

_PARAMETRIC = "Bonferroni over the voxels of the mask, AR(1) t with unbiased autocorrelation"
_SHIFTS = "largest |t| over the voxels of the mask, circular shifts of the design against the prediction"


def activation_map(
    ds: xr.Dataset,
    *,
    contrasts: Contrasts,
    hrf: Literal["spm", "glover"] = "spm",
    noise: Literal["ar1", "ols"] = "ar1",
    high_pass_hz: float = 0.01,
    seed: int = 0,
) -> xr.Dataset:
    """Map where a contrast of conditions shows in measured BOLD and in BOLD predicted from EEG.

    Modality ``bold`` is a GLM with AR(1) noise; its t becomes z. Family-wise p are Bonferroni over the mask, with the
    bias of the noise estimate removed (`prewhitening.fit_ar1` has the numbers); in short runs with slow shared noise
    they are still too small. Shifts are no null here: a block design that repeats itself meets itself again.

    Modality ``eeg`` tests ``prediction`` for the same contrast. Predictions are smooth mixtures of few EEG time
    courses, so that parametric p values of them are wrong by an order of magnitude. The null is made of circular
    shifts instead, with the largest ``|t|`` over voxels: the contrast's regressor is shifted against the prediction,
    then the nuisance and the other conditions, which stay in place, are partialled out of both. With a design that
    repeats itself these p values are too large, never too small.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``mask (z, y, x)``, ``affine (world, index; mm)``, ``steady_state (time)``,
        ``event_onset, event_duration (event; s)``, ``event_condition (event)``; if there: ``confound (time,
        regressor)`` and ``prediction (time, voxel; 1)``, NaN in volumes without EEG. NumPy or Dask; of a lazy Dataset
        only ``event_condition`` is read, and only if no contrast is named.
    contrasts
        Name -> weight of each condition; empty for each condition against the rest of the time.
    hrf
        Haemodynamic response.
    noise
        Noise model of ``bold``; ``"ols"`` takes volumes as independent.
    high_pass_hz
        Cut-off of the cosine drifts.
    seed
        Chooses the shifts where a run has more than are used.

    Returns
    -------
    ``statistic``, ``effect`` (percent of the voxel's mean), ``p_fwe``, ``q_fdr (condition, modality, z, y, x)``,
    float32, NaN outside the mask; ``null_maximum (condition, modality, permutation)``: the largest ``|t|`` of each
    member, NaN where there is none; ``mask``; coordinates ``statistic_kind``, ``null (modality)`` and ``affine``. One
    map (condition, modality) is one family.

    Raises
    ------
    SchemaError
        If a variable is missing or has the wrong form.
    InputError
        If there are no events, an event starts after the scan, or a contrast cannot be estimated.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1. Nichols & Holmes (2002), Hum Brain Mapp 15:1.
    """
    modalities = ("bold", "eeg") if "prediction" in ds else ("bold",)
    inputs = ("prediction",) if "prediction" in ds else ()
    require(ds, "series", "mask", "event_onset", "event_duration", "event_condition", *inputs, where="activation_map")
    labels, lazy = contrast_labels(ds, contrasts), is_lazy(ds)
    design = make_design(ds, hrf=hrf, high_pass_hz=high_pass_hz, lazy=lazy)
    weights = call(lazy, Design.weights, design, contrasts)
    bold, mean = _bold(ds, design, weights, noise, len(labels), lazy)
    maps = [bold]
    if "prediction" in ds:
        maps.append(_eeg(ds, design, weights, mean, len(labels), seed, lazy))
    return _dataset(ds, maps, labels, modalities, lazy)


def _bold(
    ds: xr.Dataset, design: Any, weights: Any, noise: str, count: int, lazy: bool
) -> tuple[dict[str, Array], Array]:
    gives: dict[str, Shape] = dict.fromkeys(("z", "p", "effect"), ((count,), np.float64))
    gives["mean"] = ((1,), np.float64)
    got = per_block(lazy, fit_ar1, ds["series"].data, design, weights, noise, gives=gives)
    rate = call(lazy, _rate_of_each, got["p"])
    maps = {
        "statistic": got["z"],
        "effect": got["effect"],
        "p_fwe": (got["p"] * ds.sizes["voxel"]).clip(None, 1.0),
        "q_fdr": array(rate, (count, ds.sizes["voxel"]), np.float32),
        "null_maximum": np.full((count, _members(ds)), np.nan, np.float32),
        "null": as_text(describe_null(_PARAMETRIC)),
    }
    return maps, got["mean"]


@dataclass(frozen=True)
class _Plan:
    """For each contrast: its shifted regressor, what is partialled out, and the direction that gives the effect."""

    covered: np.ndarray
    rows: list[np.ndarray]
    nuisance: list[np.ndarray]
    direction: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """Degrees of freedom of each contrast's t (contrast, 1)."""
        return np.array([[len(basis_) - basis_.shape[1] - 1] for basis_ in self.nuisance])


def _eeg(ds: xr.Dataset, design: Any, weights: Any, mean: Array, count: int, seed: int, lazy: bool) -> dict[str, Array]:
    covered = np.isfinite(ds["prediction"].data).any(axis=1)
    plan = call(lazy, _plan, design, weights, covered, float(ds.attrs["repetition_time"]), seed)
    members = _members(ds)
    gives: dict[str, Shape] = {
        "r": ((count,), np.float32),
        "estimate": ((count,), np.float32),
        "maximum_block": ((count, members), np.float32),
        "counts_block": ((count, BINS), np.int64),
    }
    got = per_block(lazy, _shift_test, ds["prediction"].data, plan, members, gives=gives)
    maximum, counts = got["maximum_block"].max(axis=-1), got["counts_block"].sum(axis=-1)
    judged = call(lazy, _judge, got["r"], maximum, counts, plan)
    voxels, one = (count, ds.sizes["voxel"]), (count, members)
    shapes = {"statistic": voxels, "p_fwe": voxels, "q_fdr": voxels, "null_maximum": one}
    maps = {name: array(judged[name], shape, np.float32) for name, shape in shapes.items()}
    return maps | {"effect": 100 * got["estimate"] / mean, "null": as_text(call(lazy, _describe, maximum, seed))}


def _members(ds: xr.Dataset) -> int:
    return len(distinct_shifts(ds.sizes["time"], float(ds.attrs["repetition_time"]), 0))


def _plan(design: Design, weights: np.ndarray, covered: np.ndarray, step: float, seed: int) -> _Plan:
    """Shift within the covered volumes, put together where a hole was."""
    shifts = distinct_shifts(int(covered.sum()), step, seed)
    rows, nuisance, direction = [], [], []
    for weight in weights:
        target, others = design.split(weight)
        stays = basis(others[covered])
        own = target[covered] - stays @ (stays.T @ target[covered])
        nuisance.append(stays)
        if design.estimable(target[covered], own):
            rows.append(shifted_rows(target[covered, None], shifts, stays))
            direction.append(own / float(own @ own))
        else:
            rows.append(np.full((1, 1 + shifts.size, own.size), np.nan, np.float32))
            direction.append(np.full(own.size, np.nan))
    return _Plan(covered, rows, nuisance, np.array(direction, np.float32))


def _shift_test(prediction: np.ndarray, plan: _Plan, members: int) -> dict[str, np.ndarray]:
    """Correlation, estimate (contrast, voxel), largest |r| of each shift and pooled counts of one block."""
    data = prediction[plan.covered]
    maximum = np.full((len(plan.rows), members, 1), np.nan, np.float32)
    r, counts = [], []
    for contrast, (rows, nuisance) in enumerate(zip(plan.rows, plan.nuisance, strict=True)):
        found = strongest(rows, unit_residuals(data, nuisance))
        r.append(found.best)
        counts.append(found.counts)
        maximum[contrast, : rows.shape[1] - 1, 0] = found.maximum
    centred = data - data.mean(axis=0)
    return {
        "r": np.array(r),
        "estimate": plan.direction @ centred,
        "maximum_block": maximum,
        "counts_block": np.array(counts)[..., None],
    }


def _judge(r: np.ndarray, maximum: np.ndarray, counts: np.ndarray, plan: _Plan) -> dict[str, np.ndarray]:
    """Family-wise p and false discovery rate of each contrast; r becomes t, of the same order at equal freedom."""
    p = [family_wise_p(*pair) for pair in zip(r, maximum, strict=True)]
    rate = _rate_of_each(pooled_p(r, counts))
    return {
        "statistic": _t(r, plan.degrees),
        "null_maximum": _t(maximum, plan.degrees),
        "p_fwe": np.array(p),
        "q_fdr": rate,
    }


def _t(r: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    return np.asarray(r * np.sqrt(np.maximum(degrees, 1) / np.maximum(1 - r.astype(np.float64) ** 2, 1e-12)))


def _rate_of_each(p: np.ndarray) -> np.ndarray:
    return np.array([false_discovery_rate(one) for one in p])


def _describe(maximum: np.ndarray, seed: int) -> str:
    return describe_null(_SHIFTS, int(np.isfinite(maximum[0]).sum()), seed)


def _dataset(
    ds: xr.Dataset, maps: list[dict[str, Array]], labels: tuple[str, ...], modalities: tuple[str, ...], lazy: bool
) -> xr.Dataset:
    together = da.stack if lazy else np.stack
    grid = ("condition", "modality", "z", "y", "x")
    out = xr.Dataset({"mask": ds["mask"]}, attrs={"space": ds.attrs.get("space", "native")})
    for name in ("statistic", "effect", "p_fwe", "q_fdr"):
        values = together([one[name].astype(np.float32) for one in maps], axis=1)
        out[name] = annotate(xr.DataArray(on_grid(lazy, values, ds["mask"]), dims=grid), name)
    null = together([one["null_maximum"] for one in maps], axis=1)
    out["null_maximum"] = xr.DataArray(null, dims=("condition", "modality", "permutation"), attrs={"units": "1"})
    return out.assign_coords(
        condition=list(labels),
        modality=list(modalities),
        statistic_kind=("modality", ["z", "t"][: len(modalities)]),
        null=("modality", together([one["null"] for one in maps])),
        affine=ds["affine"],
    )
