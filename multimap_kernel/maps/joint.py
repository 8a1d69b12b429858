"""What BOLD predicted from EEG explains beyond the design, and the null of that gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, Shape, array, as_text, call, per_block
from multimap_kernel.maps.design import Design
from multimap_kernel.maps.inference import describe_null, judge
from multimap_kernel.maps.moved import Null
from multimap_kernel.maps.shifts import (
    BINS,
    basis,
    circulant,
    distinct_shifts,
    random_phases,
    reduce_strongest,
    unit_residuals,
)
from multimap_kernel.schema import InputError

_TOGETHER = 1024  # voxels in one product
_METHODS = {
    "phase": "largest gain over the voxels of the mask; phase-randomised surrogates of the prediction",
    "shift": "largest gain over the voxels of the mask; circular shifts of the prediction",
    "phase, refitted": "largest gain over the voxels of the mask; refits to phase-randomised surrogates of the BOLD",
    "shift, refitted": "largest gain over the voxels of the mask; refits to circular shifts of the BOLD",
}


@dataclass(frozen=True)
class _Plan:
    """Volumes that are used, the phases of the null, what stands without the prediction (orthonormal), what makes it.

    Without ``hat`` the prediction was learned from other data.
    """

    kept: np.ndarray
    phases: np.ndarray
    explained: np.ndarray
    nuisance: np.ndarray
    hat: np.ndarray | None
    way: str
    seed: int


def gain_over_design(
    ds: xr.Dataset, design: Any, *, null: Null, permutations: int, seed: int, lazy: bool
) -> dict[str, Array]:
    """Test at each voxel whether the prediction explains more than the design does.

    The statistic is delta R2: the share of the variance left by the nuisance that the prediction of this voxel explains
    beyond the design, with the sign of its partial correlation. A prediction was made out of fold, so that it may be
    worse than nothing, and only a positive gain counts: the test is one-sided.

    With ``hat``, the null gives random phases to what the design leaves of BOLD, all voxels alike, and predicts each
    such BOLD anew: for shifts, that is the ridge refitted on shifted EEG. The refit is needed: folds learn from each
    other, so that a chance agreement between two of them is counted in both (of 120 synthetic runs whose halves
    predict each other from noise, 5 had p_fwe < .05 by refits and 24 when predictions were moved instead). Without
    ``hat`` the prediction is taken as learned from other data, and its phases are turned against BOLD and design.

    Parameters
    ----------
    ds
        ``series``, ``prediction (time, voxel)``; if there: ``hat (time, trained)``.
    design
        The `Design`, or the task that makes it.
    null
        ``shift`` for circular shifts; all else means phases.
    permutations, seed
        As for `activation_map`.
    lazy
        Whether ``design`` and the data are lazy.

    Returns
    -------
    ``statistic``, ``p_fwe``, ``q_fdr``, ``effect`` (percent of the variance) and ``effect_variance`` (unknown: NaN)
    (1, voxel), ``null_maximum (1, permutation)`` and ``null``.

    References
    ----------
    Prichard & Theiler (1994), Phys Rev Lett 73:951. Nichols & Holmes (2002), Hum Brain Mapp 15:1.
    """
    covered = np.isfinite(ds["prediction"].data).any(axis=1)
    way, step = "shift" if null == "shift" else "phase", float(ds.attrs["repetition_time"])
    hat = ds["hat"].data if "hat" in ds else None
    plan = call(lazy, _plan, design, covered, hat, way, step, permutations, seed)
    both = _beside(ds["series"].data, ds["prediction"].data, lazy)
    gives: dict[str, Shape] = {
        "r": ((1,), np.float32),
        "maximum_block": ((1, permutations), np.float32),
        "counts_block": ((1, BINS), np.int64),
    }
    got = per_block(lazy, _gain_block, both, plan, permutations, gives=gives)
    maximum, counts = got["maximum_block"].max(axis=-1), got["counts_block"].sum(axis=-1)
    judged = call(lazy, _judge, got["r"], maximum, counts)
    shapes = dict.fromkeys(("statistic", "p_fwe", "q_fdr", "effect", "effect_variance"), (1, ds.sizes["voxel"]))
    shapes["null_maximum"] = (1, permutations)
    maps = {name: array(judged[name], shape, np.float32) for name, shape in shapes.items()}
    return maps | {"null": as_text(call(lazy, _describe, maximum, plan))}


def _beside(series: Array, prediction: Array, lazy: bool) -> Array:
    """BOLD and its prediction as (2, time, voxel), so that both come in the same blocks."""
    if lazy:
        return da.stack([da.asarray(series).astype(np.float32), da.asarray(prediction).astype(np.float32)])
    return np.stack([series.astype(np.float32), prediction.astype(np.float32)])


def _plan(
    design: Design, covered: np.ndarray, hat: np.ndarray | None, way: str, step: float, permutations: int, seed: int
) -> _Plan:
    count = int(covered.sum())
    if way == "phase":
        phases = random_phases(count, permutations, seed)
    else:
        shifts = np.r_[0, distinct_shifts(count, step, seed, permutations)]
        phases = -2 * np.pi * shifts[:, None] * np.arange(count // 2 + 1)[None] / count
    nuisance = basis(design.nuisance[covered])
    explained = basis(np.column_stack([design.task[covered], nuisance]))
    if count - explained.shape[1] < 4:
        raise InputError(
            f"a gain needs at least 4 predicted volumes more than regressors, found {count} and {explained.shape[1]}; "
            "use a smaller confound model"
        )
    own = None if hat is None else np.asarray(hat, np.float32)[np.ix_(covered, covered)]
    return _Plan(covered, phases, explained, nuisance, own, way if hat is None else f"{way}, refitted", seed)


def _gain_block(both: np.ndarray, plan: _Plan, members: int) -> dict[str, np.ndarray]:
    """Signed root of the gain (voxel,), 0 where it is negative under the null, and the null's largest."""
    voxels = both.shape[2]
    best, chosen = np.full(voxels, np.nan, np.float32), np.full(voxels, -1, np.int16)
    maximum, counts = np.zeros(len(plan.phases) - 1, np.float32), np.zeros(BINS, np.int64)
    turns = np.concatenate([np.cos(plan.phases), -np.sin(plan.phases)], axis=1).astype(np.float32)
    gain = np.full(voxels, np.nan, np.float32)
    refits = None if plan.hat is None else _refits(both[0], plan.hat, plan)
    for first in range(0, voxels, _TOGETHER):
        part = slice(first, first + _TOGETHER)
        series, prediction = both[0][plan.kept, part], both[1][plan.kept, part]
        r = _gains(series, prediction, plan, turns if refits is None else turns[:1])
        if refits is not None:
            r = np.concatenate([r, refits[:, part]])
        gain[part] = r[0]
        reduce_strongest(np.maximum(r, 0)[None], best[part], chosen[part], maximum, counts)
    padded = np.full((1, members, 1), np.nan, np.float32)
    padded[0, : maximum.size, 0] = maximum
    return {"r": gain[None], "maximum_block": padded, "counts_block": counts[None, :, None]}


def _gains(series: np.ndarray, prediction: np.ndarray, plan: _Plan, turns: np.ndarray) -> np.ndarray:
    """Partial correlation times the root of what the design leaves (1 + member, voxel), of one slab of voxels."""
    data = unit_residuals(series, plan.explained)
    with np.errstate(invalid="ignore"):
        centred = (series - series.mean(axis=0)).astype(np.float64)
        before = centred - plan.nuisance @ (plan.nuisance.T @ centred)
        after = before - plan.explained @ (plan.explained.T @ before)
        left = np.sqrt(np.einsum("ij,ij->j", after, after) / np.einsum("ij,ij->j", before, before))
        moving = prediction - prediction.mean(axis=0)
        power = np.einsum("ij,ij->j", moving, moving)
        spectrum = np.fft.rfft(moving, axis=0)
        length = np.repeat(power[None], len(turns), axis=0)
        for column in plan.explained.T:
            length -= _turned(column[:, None], spectrum, turns) ** 2
        length = np.where(length > 1e-6 * power, length, np.nan)
        return np.asarray(_turned(data, spectrum, turns) / np.sqrt(length) * left, np.float32)


def _refits(series: np.ndarray, hat: np.ndarray, plan: _Plan) -> np.ndarray:
    """The gain of each member (member, voxel): what the design leaves of BOLD is turned, predicted, and turned back.

    Turned back, it meets the BOLD and the design that stay. (Turned BOLD from which the design is taken out once more
    has lost slow variance twice: of 40 null runs, 8 were significant.)
    """
    slabs = [slice(first, first + _TOGETHER) for first in range(0, series.shape[1], _TOGETHER)]
    rest, size = np.empty((int(plan.kept.sum()), series.shape[1]), np.float32), np.empty(series.shape[1])
    for part in slabs:
        own = series[plan.kept, part]
        centred = (own - own.mean(axis=0)).astype(np.float64)
        before = _without(centred, plan.nuisance)
        size[part] = np.sqrt(np.einsum("ij,ij->j", before, before))
        rest[:, part] = _without(centred, plan.explained)
    slim = plan.explained.astype(np.float32)
    out = np.empty((len(plan.phases) - 1, series.shape[1]), np.float32)
    for place, phase in enumerate(plan.phases[1:]):
        turn = circulant(phase, len(rest))
        again = _without(turn.T @ hat @ turn, slim)
        for part in slabs:
            predicted = again @ rest[:, part]
            product, power = (np.einsum("ij,ij->j", one, predicted) for one in (rest[:, part], predicted))
            with np.errstate(invalid="ignore", divide="ignore"):
                out[place, part] = product / (np.sqrt(power) * size[part])
    return out


def _without(columns: np.ndarray, explained: np.ndarray) -> np.ndarray:
    return np.asarray(columns - explained @ (explained.T @ columns))


def _turned(columns: np.ndarray, spectrum: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Products (1 + member, voxel) of columns (time, voxel) with a series of this spectrum in other phases."""
    count = len(columns)
    cross = np.fft.rfft(columns, axis=0).conj() * spectrum / count
    cross[1 : (count + 1) // 2] *= 2  # all but the mean and the fastest frequency of an even count stand for two
    return np.asarray(turns @ np.concatenate([cross.real, cross.imag]).astype(np.float32))


def _judge(r: np.ndarray, maximum: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    gain = r * np.abs(r)
    judged = judge(np.maximum(r, 0), maximum, counts)
    return judged | {
        "statistic": gain,
        "effect": 100 * gain,
        "effect_variance": np.full_like(gain, np.nan),
        "null_maximum": maximum**2,
    }


def _describe(maximum: np.ndarray, plan: _Plan) -> str:
    return describe_null(_METHODS[plan.way], int(np.isfinite(maximum[0]).sum()), plan.seed)
