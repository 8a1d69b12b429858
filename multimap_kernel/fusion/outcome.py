"""What a training run gives: predictions and embeddings, the folds put together, and the value that describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from multimap_kernel.fusion.lessons import window_starts
from multimap_kernel.fusion.linear import correlations
from multimap_kernel.fusion.model import PEAKS_S, WINDOW, Embedding, ResidualModel
from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.tables import Reading, Table
from multimap_kernel.schema import JointFit, annotate


@dataclass(frozen=True)
class Learned:
    """What one fold gives: (row of its test part, ...) and what was chosen in its training part."""

    penalty: float
    gate: np.ndarray
    ridge: np.ndarray
    joint: np.ndarray
    embedding: np.ndarray
    lag_weight: np.ndarray


def apply(model: ResidualModel, reading: Reading, rows: np.ndarray) -> np.ndarray:
    """What the network says of the residual (row, region) in some rows."""
    return _in_parts(model, model, reading, rows)


def lagged_courses(model: ResidualModel, reading: Reading, rows: np.ndarray) -> np.ndarray:
    """What the network's filters make of the EEG (row, course), mean over lags as its first head weighs them."""
    weight = model.lag_weight()[0].detach()  # (l,)
    return _in_parts(model, lambda *read: torch.einsum("l,bld->bd", weight, model.tokens(*read)), reading, rows)


def _in_parts(
    model: ResidualModel, function: Callable[..., torch.Tensor], reading: Reading, rows: np.ndarray
) -> np.ndarray:
    """Apply a function of power (b, l, c, f - g) and patches (b, l, c, s) to rows, some at a time."""
    device, most = model.lag.device, 256 if reading.patch.size else 4096
    found = []
    with torch.no_grad():
        for part in np.split(rows, range(most, rows.size, most)):
            read = [reading.power[part]] + ([reading.patch[reading.window[part]]] if reading.patch.size else [])
            found.append(function(*(torch.from_numpy(values).to(device) for values in read)))
    return np.asarray(torch.cat(found).cpu().numpy())


def embed(table: Table, rows: np.ndarray, space: Embedding, predicted: np.ndarray, courses: np.ndarray) -> np.ndarray:
    """Embedding (row, modality, latent) of the windows around each row; NaN where a window is not whole."""
    starts = window_starts(table, rows, WINDOW)
    whole = rows[starts[:, None] + np.arange(WINDOW)]
    found = np.full((rows.size, 2, space.eeg_axes.out_features), np.nan, np.float32)
    device = next(space.parameters()).device
    eeg, own, bold = (torch.from_numpy(values[whole]).to(device) for values in (predicted, courses, table.target))
    with torch.no_grad():
        found[starts + WINDOW // 2, 0] = space.of_eeg(eeg, own.mean(dim=1)).cpu().numpy()
        found[starts + WINDOW // 2, 1] = space.of_bold(bold).cpu().numpy()
    return found


def assemble(table: Table, folds: tuple[Fold, ...], learned: list[Learned]) -> xr.Dataset:
    """One Dataset of all rows."""
    count, regions = table.target.shape
    latent = learned[0].embedding.shape[2]
    arrays = {name: np.full((count, regions), np.nan, np.float32) for name in ("ridge", "joint")}
    embedding, number = np.full((count, 2, latent), np.nan, np.float32), np.full(count, -1)
    for place, (fold, one) in enumerate(zip(folds, learned, strict=True)):
        arrays["ridge"][fold.test], arrays["joint"][fold.test] = one.ridge, one.joint
        embedding[fold.test], number[fold.test] = one.embedding, place
    ds = xr.Dataset(
        {
            "region_prediction": (("time", "region"), arrays["joint"]),
            "region_ridge": (("time", "region"), arrays["ridge"]),
            "region_measured": (("time", "region"), table.target),
            "embedding": (("time", "modality", "latent"), embedding),
            "gate": (("fold", "region"), np.stack([one.gate for one in learned])),
            "lag_weight": (("fold", "head", "lag"), np.stack([one.lag_weight for one in learned])),
        },
        {
            "time": table.volume * table.step_s,
            "run": ("time", np.asarray(table.names)[table.run]),
            "volume": ("time", table.volume),
            "fold_of": ("time", number),
            "region": list(table.regions),
            "modality": ["eeg", "bold"],
            "head": [f"{peak:g} s" for peak in PEAKS_S],
            "lag": list(table.lags_s),
        },
        {"clock": "scanner", "repetition_time": table.step_s},
    )
    return ds.assign({name: annotate(ds[name]) for name in ds.data_vars})


def describe(
    out: xr.Dataset,
    learned: list[Learned],
    split: dict[str, Any],
    hashes: dict[str, str],
    options: dict[str, Any],
    weights: str,
) -> JointFit:
    """Scores, choices and hashes of a run, as a value."""
    measured = out["region_measured"].values
    scores = {}
    for name in ("region_prediction", "region_ridge"):
        parts = [out["fold_of"].values == fold for fold in range(len(learned))]
        scores[name] = float(np.mean([correlations(out[name].values[p], measured[p]).mean() for p in parts]))
    return JointFit(
        score=scores["region_prediction"],
        ridge_score=scores["region_ridge"],
        gate=tuple(tuple(float(g) for g in one.gate) for one in learned),
        penalties=tuple(one.penalty for one in learned),
        lag_weight=tuple(tuple(map(float, row)) for row in out["lag_weight"].mean("fold").values),
        manifest=split,
        data_sha256=hashes["data"],
        weights_sha256=weights,
        **options,
    )
