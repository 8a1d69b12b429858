"""What the EEG looks like when the BOLD that it predicts goes up: patterns, never weights, of the linear model."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.fusion.regions import regions
from multimap_kernel.maps.blocks import array, as_text, call, is_lazy
from multimap_kernel.maps.design import centred_confounds
from multimap_kernel.maps.inference import describe_null, judge
from multimap_kernel.maps.power import good_channels, log_power
from multimap_kernel.maps.shifts import BINS, SURROGATES, basis, scaled, strongest, surrogates, unit_residuals
from multimap_kernel.schema import Fit, InputError, require

_METHOD = "largest |r| over regions, channels, bands and lags; phase-randomised surrogates of the measured BOLD"
_LEAST = 8  # volumes of a block
_DIMS = ("channel", "band", "lag", "region")


def pattern_map(ds: xr.Dataset, fit: Fit, *, edge_mm: float, seed: int = 0) -> xr.Dataset:
    """Map how channels, bands and lags go with the BOLD of each region that was predicted from them.

    The weights of a linear model do not show where a signal is: a weight may stand there only to cancel the noise of
    another channel. What the features do when the prediction goes up shows it: their covariance with the prediction,
    over its variance, here for a prediction of deviation 1, so that regions compare. Both sides are taken within the
    blocks that the model did not see, with trend and confounds partialled out.

    The prediction is made of the features and goes with them also where there is nothing. The test is therefore that of
    the features with the measured BOLD of the region.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``prediction (time, voxel; 1)`` out of fold, NaN where there is none, ``mask (z, y,
        x)``, ``affine (world, index; mm)``, ``band_power_fine (bin, channel, band; V2)`` with ``bin`` (s, scanner
        clock), ``channel_type (channel)``; if there: ``good (channel)``, ``confound (time, regressor)``. NumPy or
        Dask, lazy on Dask.
    fit
        The fit that made the prediction: its lags and blocks.
    edge_mm
        Edge of the cubes that are regions (`regions`), mm.
    seed
        Of the phases.

    Returns
    -------
    ``pattern``: change of the logarithm of power when the prediction rises by one deviation; ``statistic``: r with the
    measured BOLD; its ``p_fwe`` and ``q_fdr``, all ``(channel, band, lag, region)`` float32, NaN for channels that are
    not EEG, not good or cannot be used and regions that do not vary; ``null_maximum (permutation)``; coordinates
    ``statistic_kind``, ``null``, and ``position (channel, world; mm)`` if there. All of it is one family.

    Raises
    ------
    SchemaError
        If a variable is missing, has the wrong form, or time is not on the scanner clock.
    InputError
        If the edge is not positive, or no block holds enough predicted volumes; the last on Dask when computed.

    References
    ----------
    Haufe et al. (2014), NeuroImage 87:96. Prichard & Theiler (1994), Phys Rev Lett 73:951.
    """
    names = ("series", "prediction", "band_power_fine", "channel_type")
    require(ds, *names, "mask", where="pattern_map", clock="scanner")
    lazy, step = is_lazy(ds, *names, "good"), float(ds.attrs["repetition_time"])
    measured = regions(ds, edge_mm=edge_mm)["region_series"]
    predicted = regions(ds.assign(series=ds["prediction"]), edge_mm=edge_mm)["region_series"]
    confound = ds["confound"].data if "confound" in ds else np.zeros((ds.sizes["time"], 0))
    starts = ds["time"].values + (float(ds.attrs.get("sampled_at", 0.5)) - 0.5) * step
    got = call(
        lazy, _test, measured.data, predicted.data, ds["band_power_fine"].data, ds["bin"].data,
        ds["channel_type"].data, good_channels(ds), confound, starts, step, fit, seed,
    )  # fmt: skip
    shape = (ds.sizes["channel"], ds.sizes["band"], len(fit.lags_s), measured.sizes["region"])
    out = xr.Dataset()
    for name in ("pattern", "statistic", "p_fwe", "q_fdr"):
        out[name] = xr.DataArray(array(got[name], shape, np.float32), dims=_DIMS, attrs={"units": "1"})
    null = array(got["null_maximum"], (SURROGATES,), np.float32)
    out["null_maximum"] = xr.DataArray(null, dims="permutation", attrs={"units": "1"})
    out = out.assign_coords(
        channel=ds["channel"], band=ds["band"], lag=("lag", list(fit.lags_s), {"units": "s"}),
        region=measured["region"], statistic_kind="r", null=((), as_text(got["null"])),
    )  # fmt: skip
    return out.assign_coords(position=ds["position"]) if "position" in ds else out


def strongest_region(ds: xr.Dataset) -> str:
    """Name of the region whose measured BOLD goes most with any feature, of what `pattern_map` gave."""
    largest = np.nan_to_num(np.abs(ds["statistic"].transpose("region", ...).values)).reshape(ds.sizes["region"], -1)
    return str(ds["region"].values[largest.max(axis=1).argmax()])


def _test(
    measured: np.ndarray, predicted: np.ndarray, power: np.ndarray, bins: np.ndarray, channel_type: np.ndarray,
    good: np.ndarray, confound: np.ndarray, starts: np.ndarray, step: float, fit: Fit, seed: int,
) -> dict[str, Any]:  # fmt: skip
    recording = log_power(power, bins, channel_type, good)
    usable = np.isfinite(recording.values).all(axis=(0, 2))
    windows = np.stack([recording.window_mean(starts - lag, step)[:, usable] for lag in fit.lags_s], axis=-1)
    known = np.isfinite(predicted).any(axis=1) & np.isfinite(windows).all(axis=(1, 2, 3))
    own = np.full(len(starts), -1)
    for number, (first, last) in enumerate(fit.split):
        rows = np.flatnonzero(known[first : last + 1]) + first
        own[rows] = number if len(rows) >= _LEAST else -1
    kept = np.flatnonzero(own >= 0)
    if not kept.size:
        raise InputError(
            f"at least one block must hold {_LEAST} predicted volumes, found {int(known.sum())} in {len(fit.split)} "
            "blocks; give the fit that made the prediction"
        )
    nuisance = _nuisance(own[kept], confound[kept])
    data = windows[kept].reshape(len(kept), -1)
    rest = data - data[0]
    rest -= nuisance @ (nuisance.T @ rest)
    pattern = rest.T @ unit_residuals(predicted[kept], nuisance) / np.sqrt(len(kept))
    found = _correlate(measured[kept], data, nuisance, seed)
    placed: dict[str, Any] = {
        "null_maximum": found.pop("null_maximum"),
        "null": describe_null(_METHOD, SURROGATES, seed),
    }
    for name, values in (found | {"pattern": pattern}).items():
        placed[name] = np.full((len(usable), *windows.shape[2:], measured.shape[1]), np.nan, np.float32)
        placed[name][usable] = values.reshape(-1, *windows.shape[2:], measured.shape[1])
    return placed


def _correlate(measured: np.ndarray, data: np.ndarray, nuisance: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Correlation of features (time, feature) with regions (time, region), judged as one family (feature, region)."""
    columns = unit_residuals(data, nuisance)
    r = np.empty((data.shape[1], measured.shape[1]), np.float32)
    maximum, counts = np.zeros(SURROGATES, np.float32), np.zeros(BINS, np.int64)
    for region, course in enumerate(measured.T):  # the same phases for all
        centred = (course - course.mean(dtype=np.float64))[:, None]
        found = strongest(scaled(surrogates(centred, SURROGATES, seed), nuisance), columns)
        r[:, region], counts = found.best, counts + found.counts
        maximum = np.maximum(maximum, found.maximum)
    judged = judge(r.reshape(1, -1), maximum[None], counts[None])
    return {name: values.reshape(r.shape) for name, values in judged.items()} | {
        "statistic": r,
        "null_maximum": maximum,
    }


def _nuisance(block: np.ndarray, confound: np.ndarray) -> np.ndarray:
    """Basis of level and trend of each block, and the strongest confounds: all would leave a short run empty."""
    each = (block[:, None] == np.unique(block)).astype(np.float64)
    table = centred_confounds(confound)
    deviation = table.std(axis=0)
    strong = np.linalg.svd(table[:, deviation > 0] / deviation[deviation > 0], full_matrices=False)[0]
    trend = each * np.linspace(-1, 1, len(block))[:, None]
    return basis(np.column_stack([each, trend, strong[:, : len(block) // 4]]))
