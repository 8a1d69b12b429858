"""Activation over several runs of one subject: one fixed effect, judged by a null that moves each run for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, Shape, call, is_lazy, per_block
from multimap_kernel.maps.design import Contrasts, Design, contrast_labels, make_design
from multimap_kernel.maps.glm import judged_maps, map_dataset, refused_without_level
from multimap_kernel.maps.inference import normal_score
from multimap_kernel.maps.members import check_same_grid
from multimap_kernel.maps.moved import Null, Together, choose_way, make_plan, put_together
from multimap_kernel.maps.prewhitening import fit_ar1, score
from multimap_kernel.maps.shifts import BINS, reduce_strongest
from multimap_kernel.schema import InputError, affine_matrix, require


def subject_map(
    runs: Mapping[str, xr.Dataset],
    *,
    contrasts: Contrasts,
    hrf: Literal["spm", "glover"] = "spm",
    noise: Literal["ar1", "ols"] = "ar1",
    high_pass_hz: float = 0.01,
    null: Null = "auto",
    permutations: int = 199,
    seed: int = 0,
) -> xr.Dataset:
    """Map a contrast over all runs of one subject, with one family-wise p.

    The effect is that of `fixed_effects`: the mean of the runs, each weighted by its precision. It says what holds for
    these runs of this subject, not for others. The null moves the design of each run for itself, as `activation_map`
    does for one, and adds up scores and information of all runs: every voxel is judged by the largest ``|t|`` of all.
    Runs that are short by themselves have many members together (two runs of 60 volumes: 31 x 31 circular shifts).

    Parameters
    ----------
    runs
        Name of each run and its Dataset, as for `activation_map`, all on one grid; ``prediction`` is tested if all have
        it. NumPy or Dask; of lazy Datasets masks, affines and conditions are read.
    contrasts
        Name -> weight of each condition, which all runs must have; empty for each condition against the rest.
    hrf, noise, high_pass_hz
        As for `activation_map`.
    null
        As for `activation_map`; ``auto`` is ``block`` where the design of every run repeats itself, else ``phase``.
    permutations
        Largest number of members of the null.
    seed
        Of phases and labels, and of which members of the runs go together.

    Returns
    -------
    As from `activation_map`, for modalities ``bold`` and ``eeg``: ``statistic`` (z and t), ``effect``,
    ``effect_variance``, ``p_fwe``, ``q_fdr (condition, modality, z, y, x)`` float32, NaN where a run has no voxel;
    ``null_maximum (condition, modality, permutation)``; ``mask``: voxels that all runs have; attribute ``runs``.

    Raises
    ------
    SchemaError
        If a variable is missing or has the wrong form.
    InputError
        If there are no runs, they differ in grid or conditions, or a run cannot be mapped by itself.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1. Winkler et al. (2014), NeuroImage 92:381, for the exchangeability of blocks.
    """
    labels, masks = _check(runs, contrasts, permutations)
    mask = np.logical_and.reduce(masks)
    first, lazy = next(iter(runs.values())), any(is_lazy(ds) for ds in runs.values())
    both = all("prediction" in ds for ds in runs.values())
    kept = {
        name: [ds[name].data[:, mask[own]] for ds, own in zip(runs.values(), masks, strict=True)]
        for name in ("series", *(["prediction"] if both else []))
    }
    designs = [make_design(ds, hrf=hrf, high_pass_hz=high_pass_hz, lazy=lazy) for ds in runs.values()]
    weights = [call(lazy, Design.weights, design, contrasts) for design in designs]
    steps = [float(ds.attrs["repetition_time"]) for ds in runs.values()]
    everywhere = [np.ones(ds.sizes["time"], bool) for ds in runs.values()]
    options = (steps, null, permutations, seed)
    plan = call(lazy, _plan, designs, weights, everywhere, *options)
    ds = xr.Dataset({"mask": first["mask"].copy(data=mask)}, {"affine": first["affine"]}, first.attrs)
    ds = ds.assign_coords(voxel=np.arange(int(mask.sum())))
    count, ends = len(labels), np.cumsum([len(one) for one in everywhere])[:-1]
    bold, mean = _bold(ds, kept["series"], ends, designs, weights, plan, noise, (count, permutations), lazy)
    maps = [bold]
    if both:
        covered = [np.isfinite(one).any(axis=1) for one in kept["prediction"]]
        plan = call(lazy, _plan, designs, weights, covered, *options)
        percent = [one * (100 / mean[number]) for number, one in enumerate(kept["prediction"])]
        maps.append(_eeg(ds, percent, ends, plan, (count, permutations), lazy))
    return map_dataset(ds, maps, labels, ("bold", "eeg")[: len(maps)], lazy).assign_attrs(runs=list(map(str, runs)))


def _check(
    runs: Mapping[str, xr.Dataset], contrasts: Contrasts, permutations: int
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names of the contrasts, and the voxels of each run (z, y, x)."""
    if not runs or permutations < 1:
        raise InputError(f"runs must hold a run and permutations be 1 or more, found {list(runs)} and {permutations}")
    tables = ("event_onset", "event_duration", "event_condition")
    for name, ds in runs.items():
        inputs = ("prediction",) if "prediction" in ds else ()
        require(ds, "series", "mask", *tables, *inputs, where=f"subject_map, {name}")
    labels = {name: contrast_labels(ds, contrasts) for name, ds in runs.items()}
    if len(set(labels.values())) > 1:
        raise InputError(f"runs must have the same conditions, found {labels}; name contrasts of those that all have")
    first, *others = ((name, ds, affine_matrix(ds)) for name, ds in runs.items())
    for other in others:
        check_same_grid(first, other)
    masks = [np.asarray(ds["mask"].values, bool) for ds in runs.values()]
    if not np.logical_and.reduce(masks).any():
        raise InputError(f"the runs {list(runs)} must share a voxel, found none; check their masks")
    return next(iter(labels.values())), masks


def _plan(
    designs: list[Design], weights: list[np.ndarray], kept: list[np.ndarray], steps: list[float], null: Null,
    permutations: int, seed: int,
) -> Together:  # fmt: skip
    """Every run is moved in the same way, by phases and labels of its own."""
    every = list(zip(designs, weights, kept, steps, strict=True))
    ways = {choose_way(null, *one) for one in every}
    way = ways.pop() if len(ways) == 1 else "phase"
    plans = [make_plan(*one, way, permutations, seed + number, None) for number, one in enumerate(every)]
    return put_together(tuple(plans), permutations, seed)


Size = tuple[int, int]
"""How many contrasts, and the largest number of members of the null."""


def _shapes(size: Size) -> dict[str, Shape]:
    count, members = size
    return {
        "r": ((count,), np.float32),
        "effect": ((count,), np.float32),
        "maximum_block": ((count, members), np.float32),
        "counts_block": ((count, BINS), np.int64),
    }


def _bold(
    ds: xr.Dataset, series: list[Array], ends: np.ndarray, designs: list[Any], weights: list[Any], plan: Any,
    noise: str, size: Size, lazy: bool,
) -> tuple[dict[str, Array], Array]:  # fmt: skip
    gives = _shapes(size) | dict.fromkeys(("z", "effect_variance"), ((size[0],), np.float32))
    gives |= dict.fromkeys(("mean", "deviation"), ((len(series),), np.float64))
    values = (da if lazy else np).concatenate(series)
    models = call(lazy, _side_by_side, designs, weights)
    got = per_block(lazy, _bold_block, values, ends, models, plan, noise, size[1], gives=gives)
    maps = judged_maps(ds, got, plan, size[1], "z", lazy)
    effect, variance, mean = refused_without_level(got, lazy)
    return maps | {"effect": effect, "effect_variance": variance, "statistic": got["z"]}, mean


def _side_by_side(designs: list[Design], weights: list[np.ndarray]) -> list[tuple[Design, np.ndarray]]:
    return list(zip(designs, weights, strict=True))


def _bold_block(
    series: np.ndarray, ends: np.ndarray, models: list[tuple[Design, np.ndarray]], plan: Together, noise: str,
    members: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Estimates combined by their precision, as `fixed_effects` does, and the scores of all runs."""
    parts = np.split(series, ends)
    fits = [fit_ar1(part, *one, noise) for part, one in zip(parts, models, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.array([1 / one["effect_variance"] for one in fits])
        total = precision.sum(axis=0)
        effect = (precision * [one["effect"] for one in fits]).sum(axis=0) / total
        percent = [part * (100 / one["mean"]) for part, one in zip(parts, fits, strict=True)]
    return _scored(percent, plan, noise, members) | {
        "z": normal_score(effect * np.sqrt(total), plan.degrees)[0],
        "effect": effect,
        "effect_variance": 1 / total,
        "mean": np.concatenate([one["mean"] for one in fits]),
        "deviation": np.concatenate([one["deviation"] for one in fits]),
    }


def _eeg(ds: xr.Dataset, percent: list[Array], ends: np.ndarray, plan: Any, size: Size, lazy: bool) -> dict[str, Array]:
    values = (da if lazy else np).concatenate(percent)
    got = per_block(lazy, _eeg_block, values, ends, plan, size[1], gives=_shapes(size))
    unknown = np.full(got["r"].shape, np.nan, np.float32)
    return judged_maps(ds, got, plan, size[1], "t", lazy) | {"effect": got["effect"], "effect_variance": unknown}


def _eeg_block(percent: np.ndarray, ends: np.ndarray, plan: Together, members: int) -> dict[str, np.ndarray]:
    parts = [part[one.kept] for part, one in zip(np.split(percent, ends), plan.plans, strict=True)]
    return _scored(parts, plan, "ols", members)


def _scored(parts: list[np.ndarray], plan: Together, noise: str, members: int) -> dict[str, np.ndarray]:
    """Estimate and correlation of each contrast over all runs, and the null of the correlation, of one block.

    The correlation is the t of the summed scores in another form, at the freedom of all runs, as within one run.
    """
    count, voxels = len(plan.degrees), parts[0].shape[1]
    got = {name: np.full((count, voxels), np.nan, np.float32) for name in ("r", "effect")}
    got["maximum_block"] = np.full((count, members, 1), np.nan, np.float32)
    got["counts_block"] = np.zeros((count, BINS, 1), np.int64)
    for number, degrees in enumerate(plan.degrees[:, 0]):
        total = np.zeros((2, 1 + len(plan.dealt), voxels), np.float32)
        for part, one, dealt in zip(parts, plan.plans, plan.dealt.T, strict=True):
            moved = one.moved[number]
            if moved.estimable:
                total += score(part, moved.rows[np.r_[0, dealt]], moved.others, noise)
        maximum, chosen = np.zeros(len(plan.dealt), np.float32), np.full(voxels, -1, np.int16)
        if degrees > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                got["effect"][number] = total[0, 0] / total[1, 0]
                r = total[0] / np.sqrt(total[1] * np.float32(degrees))
            reduce_strongest(r[None], got["r"][number], chosen, maximum, got["counts_block"][number, :, 0])
        got["maximum_block"][number, : maximum.size, 0] = maximum
    return got
