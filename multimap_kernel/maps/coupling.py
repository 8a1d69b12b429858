"""Coupling maps: EEG band power, convolved and lagged, against every voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from nilearn.glm.first_level import glover_hrf, spm_hrf
from scipy.signal import fftconvolve

from multimap_kernel.maps.blocks import Array, Shape, array, as_text, call, is_lazy, on_grid, per_block
from multimap_kernel.maps.design import Design, make_design
from multimap_kernel.maps.inference import describe_null, false_discovery_rate, family_wise_p, pooled_p
from multimap_kernel.maps.power import good_channels, log_power
from multimap_kernel.maps.shifts import (
    BINS,
    SURROGATES,
    basis,
    distinct_shifts,
    scaled,
    shifted,
    strongest,
    surrogates,
    unit_residuals,
)
from multimap_kernel.schema import InputError, require

_METHODS = {
    "phase": "largest |r| over voxels, channels, bands and lags; phase-randomised surrogates of the EEG",
    "shift": "largest |r| over voxels, channels, bands and lags; circular shifts of the EEG",
}


def coupling_map(
    ds: xr.Dataset,
    *,
    lags_s: tuple[float, ...],
    hrf: Literal["spm", "glover"] = "spm",
    high_pass_hz: float = 0.01,
    null: Literal["phase", "shift"] = "phase",
    seed: int = 0,
) -> xr.Dataset:
    """Map where BOLD follows EEG band power, beyond what the design and the confounds explain.

    The 10 Hz log power of each channel and band is standardised, convolved with the haemodynamic response and
    sampled at the volumes, each lag earlier; before the recording it counts as its mean. Design (with derivatives in
    time and width), drifts and confounds are partialled out of it and of BOLD. The statistic of a band, lag and voxel
    is the signed r of the channel with the largest ``|r|``.

    The null gives all regressors the same random phases, then partials; it keeps the autocorrelation of both sides
    and all correlation between voxels, channels, bands and lags, so that BOLD needs no prewhitening. Every circular
    shift outside +-30 s, the obvious null, can be asked for, but these are too few and too far: the real alignment
    stands alone while each shift stands among neighbours like itself, and is the largest too often (synthetic null
    sessions with p_fwe < .05, 60 volumes: 57 of 600 by shifts, 32 by phases; 120 volumes: 39 of 600 by shifts, 20 of
    400 by phases).

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``mask (z, y, x)``, ``affine (world, index; mm)``, ``steady_state (time)``,
        ``band_power_fine (bin, channel, band; V2)`` with ``bin`` (s, scanner clock), ``channel_type (channel)``; if
        there: ``good (channel)``, events and ``confound (time, regressor)``. NumPy or Dask; a lazy Dataset is not
        computed. Channels that are not good and volumes that the EEG does not cover are left out.
    lags_s
        Positive: BOLD follows that much later than the haemodynamic response alone says, s.
    hrf
        Haemodynamic response.
    high_pass_hz
        Cut-off of the cosine drifts.
    null
        ``phase`` or ``shift``; one of these for all regressors and voxels.
    seed
        Of the phases, or of the choice among shifts where a run has more than 299.

    Returns
    -------
    ``statistic`` (r), ``p_fwe``, ``q_fdr (band, lag, z, y, x)`` float32, NaN outside the mask; ``best_channel (band,
    lag, z, y, x)`` position along ``channel``, -1 where there is none; ``best_lag (band, z, y, x; s)``: the lag of the
    largest ``|r|``, refined by a parabola where it is not the first or the last; ``null_maximum (permutation)``;
    ``mask``; coordinates ``statistic_kind``, ``null``, ``affine``. The family is voxels x channels x bands x lags.

    Raises
    ------
    SchemaError
        If a variable is missing, has the wrong form, or time is not on the scanner clock.
    InputError
        If the EEG covers too few volumes, or no channel can be used; on Dask when computed.

    References
    ----------
    Laufs et al. (2003), NeuroImage 19:1463. Prichard & Theiler (1994), Phys Rev Lett 73:951. Nichols & Holmes (2002),
    Hum Brain Mapp 15:1.
    """
    require(ds, "series", "mask", "band_power_fine", "channel_type", where="coupling_map", clock="scanner")
    if not lags_s or list(lags_s) != sorted(set(lags_s)):
        raise InputError(f"lags_s must be ascending and different, found {tuple(lags_s)}; sort them")
    lazy = is_lazy(ds)
    step, bands, lags = float(ds.attrs["repetition_time"]), ds.sizes["band"], len(lags_s)
    # a response that is a little early or wide must not be left over: EEG power follows the task as well
    flexible = f"{hrf} + derivative + dispersion"
    design = make_design(ds, hrf=flexible, high_pass_hz=high_pass_hz, lazy=lazy)
    power = (ds["band_power_fine"].data, ds["bin"].data, ds["channel_type"].data, good_channels(ds))
    sampled_at = float(ds.attrs.get("sampled_at", 0.5))
    members = SURROGATES if null == "phase" else len(distinct_shifts(ds.sizes["time"], step, seed))
    plan = call(lazy, _plan, *power, ds["time"].values, step, sampled_at, tuple(lags_s), hrf, design, null, seed)
    gives: dict[str, Shape] = {
        "r": ((bands, lags), np.float32),
        "channel": ((bands, lags), np.int16),
        "maximum_block": ((members,), np.float32),
        "counts_block": ((bands, lags, BINS), np.int64),
    }
    got = per_block(lazy, _correlate, ds["series"].data, plan, members, gives=gives)
    maximum, counts = got["maximum_block"].max(axis=-1), got["counts_block"].sum(axis=-1)
    shape = (bands, lags, ds.sizes["voxel"])
    maps = {
        "statistic": got["r"],
        "p_fwe": array(call(lazy, family_wise_p, got["r"], maximum), shape, np.float32),
        "q_fdr": array(call(lazy, _rate, got["r"], counts), shape, np.float32),
    }
    best_lag = array(call(lazy, peak_lag, got["r"], np.array(lags_s, float)), (bands, shape[-1]), np.float32)
    told = as_text(call(lazy, _describe, maximum, null, seed))
    return _dataset(ds, maps, got["channel"], best_lag, lags_s, maximum, told, lazy)


@dataclass(frozen=True)
class _Plan:
    """EEG regressors (time, channel) of each band and lag, how they are moved, and the nuisance: of ``kept``."""

    kept: np.ndarray
    regressors: dict[tuple[int, int], np.ndarray]
    seed: int
    shifts: np.ndarray | None
    nuisance: np.ndarray


def _plan(
    power: np.ndarray, bins: np.ndarray, channel_type: np.ndarray, good: np.ndarray, time: np.ndarray, step: float,
    sampled_at: float, lags_s: tuple[float, ...], hrf: str, design: Design, null: str, seed: int,
) -> _Plan:  # fmt: skip
    recording = log_power(power, bins, channel_type, good)
    _, _, covered = recording.edges(time, step)
    if covered.sum() < 10:
        raise InputError(
            f"the EEG must cover at least 10 whole volumes, found {int(covered.sum())} of {len(covered)}; "
            "check the alignment"
        )
    inside = np.flatnonzero(covered)
    kept = np.arange(inside[0], inside[-1] + 1)
    holes = np.eye(len(kept))[:, ~covered[kept]]  # interpolated power stands there; a spike takes the volume out
    nuisance = basis(np.column_stack([design.task[kept], design.nuisance[kept], holes]))
    if len(kept) - nuisance.shape[1] < 3:
        raise InputError(
            f"coupling needs at least 3 covered volumes more than nuisance regressors, found {len(kept)} and "
            f"{nuisance.shape[1]}; use a smaller confound model"
        )
    response = {"spm": spm_hrf, "glover": glover_hrf}[hrf](recording.width, oversampling=1)
    z = recording.standardised()
    convolved = fftconvolve(z, response[:, None, None], axes=0)[: len(z)]
    at = (time[kept] + sampled_at * step - recording.first) / recording.width - 0.5
    regressors = {}
    for lag, seconds in enumerate(lags_s):
        sampled = _sample(convolved, at - seconds / recording.width)
        regressors.update({(band, lag): sampled[:, :, band] for band in range(z.shape[2])})
    shifts = distinct_shifts(len(kept), step, seed) if null == "shift" else None
    return _Plan(kept, regressors, seed, shifts, nuisance)


def _sample(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of (bin, ...) at fractional bins; 0, the mean, before the first, the last value after."""
    low = np.floor(at).astype(int)
    part = (at - low)[:, None, None]
    padded = np.concatenate([np.zeros((1, *values.shape[1:])), values, values[-1:]])
    first, second = (np.clip(low + step, 0, len(padded) - 1) for step in (1, 2))
    return np.asarray(padded[first] * (1 - part) + padded[second] * part)


def _correlate(series: np.ndarray, plan: _Plan, members: int) -> dict[str, np.ndarray]:
    """All bands and lags against one block of voxels; the rows of one group at a time bound the memory."""
    data = unit_residuals(series[plan.kept], plan.nuisance)
    bands, lags = (1 + max(place) for place in zip(*plan.regressors, strict=True))
    r = np.empty((bands, lags, series.shape[1]), np.float32)
    channel = np.empty(r.shape, np.int16)
    counts = np.empty((bands, lags, BINS, 1), np.int64)
    maximum = np.full((members, 1), np.nan, np.float32)
    for group, columns in plan.regressors.items():
        moved = surrogates(columns, members, plan.seed) if plan.shifts is None else shifted(columns, plan.shifts)
        found = strongest(scaled(moved, plan.nuisance), data)
        r[group], channel[group], counts[group] = found.best, found.chosen, found.counts[:, None]
        own = maximum[: found.maximum.size, 0]  # a run that the EEG does not cover whole has fewer shifts
        np.fmax(own, found.maximum, out=own)
    return {"r": r, "channel": channel, "maximum_block": maximum, "counts_block": counts}


def peak_lag(r: np.ndarray, lags_s: np.ndarray) -> np.ndarray:
    """Lag of the largest ``|r|`` (band, voxel; s) of r (band, lag, voxel).

    A peak with a neighbour on both sides at equal distance is refined by the parabola through the three; a peak at
    the first or last lag stays there and says only that the true one may lie outside.
    """
    size = np.abs(r)
    place = np.nan_to_num(size, nan=-1.0).argmax(axis=1)
    inner = np.clip(place, 1, max(len(lags_s) - 2, 1))
    lag = lags_s[place]
    if len(lags_s) > 2:
        left, top, right = (np.take_along_axis(size, (inner + step)[:, None], axis=1)[:, 0] for step in (-1, 0, 1))
        before, after = lags_s[inner] - lags_s[inner - 1], lags_s[inner + 1] - lags_s[inner]
        bend = left - 2 * top + right
        refined = (inner == place) & np.isclose(before, after) & (bend < 0)
        lag = lag + np.where(refined, before * 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    return np.where(np.isnan(r).all(axis=1), np.nan, lag).astype(np.float32)


def _rate(r: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return false_discovery_rate(pooled_p(r, counts))


def _describe(maximum: np.ndarray, null: str, seed: int) -> str:
    return describe_null(_METHODS[null], int(np.isfinite(maximum).sum()), seed)


def _dataset(
    ds: xr.Dataset, maps: dict[str, Array], channel: Array, best_lag: Array, lags_s: tuple[float, ...],
    maximum: Array, null: Any, lazy: bool,
) -> xr.Dataset:  # fmt: skip
    mask, grid = ds["mask"], ("band", "lag", "z", "y", "x")
    out = xr.Dataset({"mask": mask}, attrs={"space": ds.attrs.get("space", "native")})
    for name, values in maps.items():
        out[name] = xr.DataArray(on_grid(lazy, values, mask), dims=grid, attrs={"units": "1"})
    out["best_channel"] = xr.DataArray(on_grid(lazy, channel, mask, -1), dims=grid)
    out["best_lag"] = xr.DataArray(on_grid(lazy, best_lag, mask), dims=("band", *grid[2:]), attrs={"units": "s"})
    out["null_maximum"] = xr.DataArray(maximum, dims="permutation", attrs={"units": "1"})
    return out.assign_coords(
        band=ds["band"], channel=ds["channel"], lag=("lag", list(lags_s), {"units": "s"}),
        statistic_kind="r", null=((), null), affine=ds["affine"],
    )  # fmt: skip
