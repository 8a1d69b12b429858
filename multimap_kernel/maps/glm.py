"""Activation maps: one contrast on measured BOLD, and the same on BOLD predicted from EEG alone."""

from __future__ import annotations

from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, Shape, array, as_text, call, is_lazy, on_grid, per_block
from multimap_kernel.maps.clusters import cluster_p as largest_cluster_p
from multimap_kernel.maps.clusters import height_of
from multimap_kernel.maps.design import Contrasts, Design, contrast_labels, make_design
from multimap_kernel.maps.inference import describe_null, judge, normal_score, student
from multimap_kernel.maps.joint import gain_over_design
from multimap_kernel.maps.moved import Null, Plan, Together, make_plan
from multimap_kernel.maps.prewhitening import fit_ar1, in_percent, permute
from multimap_kernel.maps.shifts import BINS
from multimap_kernel.schema import InputError, annotate, require


def activation_map(
    ds: xr.Dataset,
    *,
    contrasts: Contrasts,
    hrf: Literal["spm", "glover"] = "spm",
    noise: Literal["ar1", "ols"] = "ar1",
    high_pass_hz: float = 0.01,
    null: Null = "auto",
    permutations: int = 199,
    cluster_p: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Map where a contrast of conditions shows in BOLD, in BOLD predicted from EEG, and what EEG adds to the design.

    Modality ``bold`` is a GLM with AR(1) noise; its t becomes z. Modality ``eeg`` tests ``prediction`` for the same
    contrast. Modality ``joint`` is the gain of the prediction over the design (`joint.gain_over_design`), the same in
    every condition.

    The null moves the design against the data: every voxel is judged by the largest ``|t|`` of all, on prewhitened
    data for ``bold``. ``phase`` gives the regressor random phases, ``shift`` takes every distinct circular shift
    outside +-30 s once, ``block`` deals the labels of equal blocks (rest among them) out anew. ``auto`` is ``block``
    for a design that repeats itself, which would meet itself again in both others, and else ``phase``. Of 200
    synthetic null sessions of 60 volumes with slow shared noise, 9 had p_fwe < .05 by phases, 13 by shifts and 8 by
    blocks; Bonferroni on the AR(1) t had .30.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``mask (z, y, x)``, ``affine (world, index; mm)``, ``steady_state (time)``,
        ``event_onset, event_duration (event; s)``, ``event_condition (event)``; if there: ``confound (time,
        regressor)``, ``prediction (time, voxel; 1)``, NaN in volumes without EEG, and ``hat (time, trained; 1)``, the
        matrix that made it from ``series``; left out, the prediction counts as learned from other data. NumPy or Dask;
        of a lazy Dataset only ``event_condition`` is read, and only if no contrast is named.
    contrasts
        Name -> weight of each condition; empty for each condition against the rest of the time.
    hrf
        Haemodynamic response.
    noise
        Noise model of ``bold``; ``"ols"`` takes volumes as independent.
    high_pass_hz
        Cut-off of the cosine drifts.
    null
        How the null is made.
    permutations
        Largest number of its members; a run has fewer shifts if it is short.
    cluster_p
        Uncorrected p beyond which voxels that touch are a cluster, such as .001; adds ``p_cluster``. Holds (1 + member,
        voxel) signs of each map, one byte each.
    seed
        Of phases and labels, and of the choice among shifts.

    Returns
    -------
    ``statistic``, ``effect`` (percent of the voxel's mean; of the variance for ``joint``), ``effect_variance`` (its
    squared standard error; NaN but for ``bold``), ``p_fwe``, ``q_fdr (condition, modality, z, y, x)``, float32, NaN
    outside the mask; if asked for, ``p_cluster`` of the same form: p of the cluster that the voxel belongs to, by the
    largest of each member, 1 where it belongs to none, NaN for ``joint``; ``null_maximum (condition, modality,
    permutation)``: the largest ``|t|`` of each member, NaN where there is none; ``mask``; coordinates
    ``statistic_kind``, ``null (modality)`` and ``affine``. One map (condition, modality) is one family.

    Raises
    ------
    SchemaError
        If a variable is missing or has the wrong form.
    InputError
        If there are no events, an event starts after the scan, a contrast cannot be estimated, blocks cannot be
        permuted, or BOLD was demeaned, so that no effect is in percent of it; the last three on Dask when computed.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1. Nichols & Holmes (2002), Hum Brain Mapp 15:1. Prichard & Theiler (1994),
    Phys Rev Lett 73:951.
    """
    modalities = ("bold", "eeg", "joint") if "prediction" in ds else ("bold",)
    inputs = ("prediction",) if "prediction" in ds else ()
    require(ds, "series", "mask", "event_onset", "event_duration", "event_condition", *inputs, where="activation_map")
    if permutations < 1:
        raise InputError(f"permutations must be 1 or more, found {permutations}; 199 give p down to .005")
    labels, lazy = contrast_labels(ds, contrasts), is_lazy(ds)
    design = make_design(ds, hrf=hrf, high_pass_hz=high_pass_hz, lazy=lazy)
    weights = call(lazy, Design.weights, design, contrasts)
    options = (float(ds.attrs["repetition_time"]), null, permutations, seed, cluster_p)
    count = len(labels)
    plan = call(lazy, make_plan, design, weights, np.ones(ds.sizes["time"], bool), *options)
    bold, mean = _bold(ds, design, weights, plan, noise, count, permutations, cluster_p is not None, lazy)
    maps = [bold]
    if "prediction" in ds:
        covered = np.isfinite(ds["prediction"].data).any(axis=1)
        plan = call(lazy, make_plan, design, weights, covered, *options)
        maps.append(_eeg(ds, plan, mean, count, permutations, cluster_p is not None, lazy))
        gain = gain_over_design(ds, design, null=null, permutations=permutations, seed=seed, lazy=lazy)
        gain["p_cluster"] = gain["p_fwe"] * np.float32(np.nan)
        maps.append(
            {
                name: one if name == "null" else (da if lazy else np).repeat(one, count, axis=0)
                for name, one in gain.items()
            }
        )
    return map_dataset(ds, maps, labels, modalities, lazy)


def _bold(
    ds: xr.Dataset, design: Any, weights: Any, plan: Any, noise: str, count: int, members: int, clusters: bool,
    lazy: bool,
) -> tuple[dict[str, Array], Array]:  # fmt: skip
    gives: dict[str, Shape] = dict.fromkeys(("z", "effect", "effect_variance", "r"), ((count,), np.float32))
    gives |= _null_shapes(count, members, clusters) | dict.fromkeys(("mean", "deviation"), ((1,), np.float64))
    got = per_block(lazy, _bold_block, ds["series"].data, design, weights, plan, noise, members, gives=gives)
    maps = judged_maps(ds, got, plan, members, "z", lazy)
    effect, variance, mean = refused_without_level(got, lazy)
    return maps | {"effect": effect, "effect_variance": variance, "statistic": got["z"]}, mean


def refused_without_level(got: dict[str, Array], lazy: bool) -> tuple[Array, Array, Array]:
    """Effect, its variance, and the mean of BOLD; an error instead of them if BOLD has no level (`in_percent`)."""
    level = (got["mean"], got["deviation"])
    effect, variance, mean = (
        array(call(lazy, in_percent, got[name], *level), got[name].shape, got[name].dtype)
        for name in ("effect", "effect_variance", "mean")
    )
    return effect, variance, mean


def _null_shapes(count: int, members: int, clusters: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "maximum_block": ((count, members), np.float32),
        "counts_block": ((count, BINS), np.int64),
    }
    return shapes | {"signs": ((count, 1 + members), np.int8)} if clusters else shapes


def _bold_block(
    series: np.ndarray, design: Design, weights: np.ndarray, plan: Plan, noise: str, members: int
) -> dict[str, np.ndarray]:
    return fit_ar1(series, design, weights, noise) | _permuted(series, noise, plan, members)


def _permuted(data: np.ndarray, noise: str, plan: Plan, members: int) -> dict[str, np.ndarray]:
    """Each contrast's correlation and null on one block (time, voxel)."""
    count = len(plan.moved)
    r = np.full((count, data.shape[1]), np.nan, np.float32)
    maximum = np.full((count, members, 1), np.nan, np.float32)
    counts = np.zeros((count, BINS, 1), np.int64)
    signs = np.zeros((count, 1 + members if plan.cluster_p else 0, data.shape[1]), np.int8)
    for number, (one, degrees) in enumerate(zip(plan.moved, plan.degrees[:, 0], strict=True)):
        own = len(one.rows) - 1
        if not one.estimable:
            maximum[number, :own] = 0.0
            continue
        height = height_of(plan.cluster_p, degrees) if plan.cluster_p else np.inf
        found = permute(data, one.rows, one.others, noise, height)
        r[number], maximum[number, :own, 0], counts[number, :, 0] = found[:3]
        signs[number, : 1 + own] = found[3][: signs.shape[1]]
    return {"r": r, "maximum_block": maximum, "counts_block": counts, "signs": signs}


def judged_maps(
    ds: xr.Dataset, got: dict[str, Array], plan: Any, members: int, kind: Literal["z", "t"], lazy: bool
) -> dict[str, Array]:
    """p, q and null of each contrast, and the statistic as t."""
    maximum, counts = got["maximum_block"].max(axis=-1), got["counts_block"].sum(axis=-1)
    judged = call(lazy, _judge, got["r"], maximum, counts, plan, kind)
    count, voxels = len(got["r"]), ds.sizes["voxel"]
    shapes = dict.fromkeys(("statistic", "p_fwe", "q_fdr"), (count, voxels)) | {"null_maximum": (count, members)}
    maps = {name: array(judged[name], shape, np.float32) for name, shape in shapes.items()}
    if "signs" in got:
        p = call(lazy, _cluster_p, got["signs"], got["r"], ds["mask"].data, plan)
        maps["p_cluster"] = array(p, (count, voxels), np.float32)
    return maps | {"null": as_text(call(lazy, _describe, maximum, plan))}


def _cluster_p(signs: np.ndarray, r: np.ndarray, mask: np.ndarray, plan: Plan) -> np.ndarray:
    """Of each contrast (contrast, voxel), NaN where r is; a plan may have fewer members than were asked for."""
    own = [one[None, : len(moved.rows)] for one, moved in zip(signs, plan.moved, strict=True)]
    return np.where(np.isnan(r), np.nan, np.concatenate([largest_cluster_p(one, mask)[0] for one in own]))


def _judge(
    r: np.ndarray, maximum: np.ndarray, counts: np.ndarray, plan: Plan | Together, kind: Literal["z", "t"]
) -> dict[str, np.ndarray]:
    degrees = plan.degrees
    null = student(maximum, degrees)
    null = normal_score(null, degrees)[0] if kind == "z" else null
    return judge(r, maximum, counts) | {"statistic": student(r, degrees), "null_maximum": null}


def _describe(maximum: np.ndarray, plan: Plan | Together) -> str:
    method = f"largest |t| over the voxels of the mask; {plan.told}"
    return describe_null(method, int(np.isfinite(maximum[0]).sum()), plan.seed)


def _eeg(
    ds: xr.Dataset, plan: Any, mean: Array, count: int, members: int, clusters: bool, lazy: bool
) -> dict[str, Array]:
    gives: dict[str, Shape] = dict.fromkeys(("r", "estimate"), ((count,), np.float32))
    gives |= _null_shapes(count, members, clusters)
    got = per_block(lazy, _eeg_block, ds["prediction"].data, plan, members, gives=gives)
    unknown = np.full(got["r"].shape, np.nan, np.float32)
    return judged_maps(ds, got, plan, members, "t", lazy) | {
        "effect": 100 * got["estimate"] / mean,
        "effect_variance": unknown,
    }


def _eeg_block(prediction: np.ndarray, plan: Plan, members: int) -> dict[str, np.ndarray]:
    data = prediction[plan.kept]
    return _permuted(data, "ols", plan, members) | {"estimate": plan.direction @ (data - data.mean(axis=0))}


def map_dataset(
    ds: xr.Dataset, maps: list[dict[str, Array]], labels: tuple[str, ...], modalities: tuple[str, ...], lazy: bool
) -> xr.Dataset:
    """Put the maps of each modality, by name (condition, voxel), on the grid of the mask."""
    together = da.stack if lazy else np.stack
    grid = ("condition", "modality", "z", "y", "x")
    out = xr.Dataset({"mask": ds["mask"]}, attrs={"space": ds.attrs.get("space", "native")})
    names = ("statistic", "effect", "effect_variance", "p_fwe", "q_fdr", "p_cluster")
    for name in (name for name in names if name in maps[0]):
        values = together([one[name].astype(np.float32) for one in maps], axis=1)
        out[name] = annotate(xr.DataArray(on_grid(lazy, values, ds["mask"]), dims=grid), name)
    null = together([one["null_maximum"] for one in maps], axis=1)
    out["null_maximum"] = xr.DataArray(null, dims=("condition", "modality", "permutation"), attrs={"units": "1"})
    return out.assign_coords(
        condition=list(labels),
        modality=list(modalities),
        statistic_kind=("modality", ["z", "t", "delta_r2"][: len(modalities)]),
        null=("modality", together([one["null"] for one in maps])),
        affine=ds["affine"],
    )
