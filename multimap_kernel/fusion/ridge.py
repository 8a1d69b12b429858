"""The reference model: BOLD of every voxel as a ridge regression on lagged EEG band power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from dask.base import compute

from multimap_kernel.fusion.split import Fold
from multimap_kernel.fusion.windows import lagged_power
from multimap_kernel.maps.blocks import Shape, call, is_lazy, per_block
from multimap_kernel.maps.design import centred_confounds
from multimap_kernel.maps.power import good_channels
from multimap_kernel.maps.shifts import SURROGATES, basis, circulant, random_phases, unit_residuals
from multimap_kernel.schema import Fit, InputError, annotate, require

PENALTIES = 10.0 ** np.arange(-2, 4.5, 0.5)
"""Candidates, times the number of features: the features are standardised, so that this is the mean eigenvalue."""
_INNER = 4  # blocks of the inner cross-validation
_LEAST = 8  # volumes that may train an inner fold; twice as many an outer one
_TOGETHER = 1024  # voxels at a time, so that a surrogate stays in the cache


def fit(ds: xr.Dataset, *, lags_s: tuple[float, ...], folds: int, gap_s: float, seed: int) -> tuple[Fit, xr.Dataset]:
    """Learn BOLD from EEG in all but one block of the run and predict that block, for each block in turn.

    The run is cut into contiguous blocks. A block is predicted by a model that saw neither it nor ``gap_s`` on both
    sides of it. Everything that is estimated is estimated in the training part: centre and scale of the features,
    confounds (partialled out of features and BOLD), and the penalty, by a cross-validation of the same form inside
    it. One penalty serves all voxels of a fold: the one with the highest mean correlation. A penalty per voxel would
    be chosen by noise at the voxels that hold no effect, and there are more of those; a criterion of squared error
    would be ruled by them. All voxels then share one matrix per fold, from BOLD in training to the prediction.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)``, ``band_power_fine (bin, channel, band; V2)`` with ``bin`` (s, scanner clock),
        ``channel_type (channel)``, ``steady_state (time)``; if there: ``good (channel)``, ``confound (time,
        regressor)``. NumPy or Dask. The Fit is a value, so that a Dask series is read here in blocks of voxels; the
        prediction is lazy.
    lags_s
        EEG this long before the volume, s.
    folds
        Number of blocks.
    gap_s
        Time left out on each side of a test block, s; at least the longest lag and one volume, so that no EEG window
        serves on both sides. The lags span the haemodynamic response, and with them the gap does.
    seed
        Of the null's phases.

    Returns
    -------
    Fit
        Its ``score`` is the mean over voxels of the correlation between out-of-fold prediction and BOLD, within blocks
        and with confounds partialled out; ``null_score`` is mean and 95th percentile of the same for BOLD in random
        phases, all voxels alike, predicted anew; ``penalties`` are absolute, for standardised features.
    Dataset
        ``prediction (time, voxel; 1)``: deviation from the training mean that the EEG explains, in units of the
        series; NaN in volumes whose windows the EEG does not cover, and before the steady state. ``hat (time,
        trained; 1)``: the matrix that makes it from BOLD, 0 from a volume to itself and to those near it.

    Raises
    ------
    SchemaError
        If a variable is missing, has the wrong form, or time is not on the scanner clock.
    InputError
        If the gap is too short, or the covered run too short for these folds and gaps.

    References
    ----------
    Hoerl & Kennard (1970), Technometrics 12:55. Varoquaux et al. (2017), NeuroImage 145:166, for blocked and nested
    cross-validation.
    """
    require(ds, "series", "band_power_fine", "channel_type", where="fusion.fit", clock="scanner")
    step = float(ds.attrs["repetition_time"])
    least = max(*lags_s, 0.0) - min(*lags_s, 0.0) + step
    if gap_s < least:
        raise InputError(
            f"gap_s must be at least the span of the lags and one volume, {least:g} s, or EEG windows of the training "
            f"part reach into the test block; found {gap_s:g} s; raise fuse.split.gap_s or shorten fuse.lags_s"
        )
    run = _read(ds, tuple(lags_s))
    folds_ = _cut(run.rows, folds, int(np.ceil(gap_s / step - 1e-9)))
    _check_length(folds_, run.rows, ds.sizes["time"])
    lazy = is_lazy(ds, "series")
    penalties = _choose(ds, run, folds_, int(np.ceil(gap_s / step - 1e-9)), lazy)
    hat = _hat(run, folds_, penalties)
    gives: dict[str, Shape] = {"prediction": ((ds.sizes["time"],), np.float32)}
    predicted = per_block(lazy, _predict, ds["series"].data, run.rows, hat, gives=gives)["prediction"]
    score, null_score = _score(ds, run, folds_, hat, seed, lazy)
    value = Fit(
        model="ridge",
        score=score,
        null_score=null_score,
        penalties=tuple(penalty * run.features.shape[1] for penalty in penalties),
        lags_s=tuple(float(lag) for lag in lags_s),
        split=tuple((int(fold.test[0]), int(fold.test[-1])) for fold in folds_),
        gap_s=float(gap_s),
        seed=seed,
    )
    coordinates = {name: ds[name] for name in ("time", "volume", "steady_state")}
    prediction = annotate(xr.DataArray(predicted, dims=("time", "voxel"), name="prediction"))
    whole = np.zeros((ds.sizes["time"],) * 2, np.float32)
    whole[np.ix_(run.rows, run.rows)] = hat
    made = {"prediction": prediction, "hat": annotate(xr.DataArray(whole, dims=("time", "trained"), name="hat"))}
    return value, xr.Dataset(made, coordinates, attrs=dict(ds.attrs))


@dataclass(frozen=True)
class _Run:
    """The small tables of a run: features and confounds of all volumes, and the volumes (rows) that can be used."""

    features: np.ndarray
    confound: np.ndarray
    rows: np.ndarray


def _read(ds: xr.Dataset, lags_s: tuple[float, ...]) -> _Run:
    names = ["band_power_fine", "channel_type", "steady_state", *(["confound"] if "confound" in ds else [])]
    good, power, channel_type, steady, *confound = compute(good_channels(ds), *(ds[name].data for name in names))
    step = float(ds.attrs["repetition_time"])
    shift = (float(ds.attrs.get("sampled_at", 0.5)) - 0.5) * step  # the window lies around the sampling time
    time = ds["time"].values
    features = lagged_power(
        power, ds["bin"].values, channel_type, good, starts=time + shift, repetition_time=step, lags_s=lags_s
    )
    known = np.isfinite(features).all(axis=1) & np.asarray(steady, bool)
    table = np.column_stack([np.linspace(-1, 1, len(time)), *map(centred_confounds, confound)])
    return _Run(features, table, np.flatnonzero(known))


def _cut(rows: np.ndarray, folds: int, gap: int) -> list[Fold]:
    """Contiguous test parts; what lies at most ``gap`` volumes from a test part does not train."""
    parts = [part for part in np.array_split(rows, folds) if part.size]
    return [Fold(part, rows[(rows < part[0] - gap) | (rows > part[-1] + gap)]) for part in parts]


def _check_length(folds: list[Fold], rows: np.ndarray, count: int) -> None:
    least = min((fold.train.size for fold in folds), default=0)
    if least < 2 * _LEAST:
        raise InputError(
            f"each fold must leave at least {2 * _LEAST} volumes for training, found {least} ({rows.size} of {count} "
            "volumes are covered by the EEG at all lags); use a longer run, fewer lags or a shorter gap_s"
        )


def _nuisance(run: _Run, rows: np.ndarray, *extra: np.ndarray) -> np.ndarray:
    """Basis (row, rank) of constant, trend, confounds and extra columns.

    Confounds may take a quarter of the rows: of more, the strongest principal components are taken, since a small
    training part would have nothing left.
    """
    table = run.confound[rows] - run.confound[rows].mean(axis=0)
    deviation = table.std(axis=0)
    left, size, _ = np.linalg.svd(table[:, deviation > 0] / deviation[deviation > 0], full_matrices=False)
    leading = left[:, size > 1e-6 * size.max(initial=0.0)][:, : len(rows) // 4]
    return basis(np.column_stack([np.ones(len(rows)), leading, *extra]))


@dataclass(frozen=True)
class _Predictor:
    """What takes BOLD in training to its prediction, for any penalty.

    Dual form: there are more features than volumes. With the nuisance partialled out of the training features X, and
    the kernel XX' = U diag(s) U', the prediction of features x is x X' U diag(1 / (s + penalty)) U'. It is kept in
    factors, since one matrix per penalty and inner fold would fill a worker in a run of an hour.
    """

    fold: Fold
    reach: np.ndarray
    size: np.ndarray
    U: np.ndarray
    features: int

    def weights(self, penalty: float) -> np.ndarray:
        """Matrix (test, component), float32; the penalty is per feature."""
        return np.asarray(self.reach / (self.size + penalty * self.features), np.float32)


def _predictor(run: _Run, fold: Fold) -> _Predictor:
    train = run.features[fold.train]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 0, deviation, np.inf)
    nuisance = _nuisance(run, fold.train)
    X = (train - mean) / scale
    X -= nuisance @ (nuisance.T @ X)
    size, U = np.linalg.eigh(X @ X.T)
    reach = ((run.features[fold.test] - mean) / scale) @ X.T @ U
    slim = reach.astype(np.float32), np.maximum(size, 0), U.astype(np.float32)
    return _Predictor(fold, *slim, X.shape[1])


def _choose(ds: xr.Dataset, run: _Run, folds: list[Fold], gap: int, lazy: bool) -> tuple[float, ...]:
    """Penalty of each fold, per feature, by cross-validation inside its training part."""
    plans = call(lazy, _plans, run, folds, gap)
    gives: dict[str, Shape] = {"score_block": ((len(folds), len(PENALTIES)), np.float64)}
    got = per_block(lazy, _inner_scores, ds["series"].data, plans, gives=gives)["score_block"].sum(axis=-1)
    (scores,) = compute(got)
    return tuple(float(PENALTIES[row.argmax()]) for row in scores)


def _plans(run: _Run, folds: list[Fold], gap: int) -> list[list[_Predictor]]:
    """Predictors of the inner folds of each fold."""
    inner = [[part for part in _cut(fold.train, _INNER, gap) if part.train.size >= _LEAST] for fold in folds]
    return [[_predictor(run, part) for part in parts] for parts in inner]


def _inner_scores(series: np.ndarray, plans: list[list[_Predictor]]) -> dict[str, np.ndarray]:
    """Correlations summed over voxels and inner folds (fold, penalty, 1)."""
    scores = np.zeros((len(plans), len(PENALTIES), 1))
    for place, plan in enumerate(plans):
        for predictor in plan:
            measured = _centred(series[predictor.fold.test])
            components = predictor.U.T @ _centred(series[predictor.fold.train])
            for position, penalty in enumerate(PENALTIES):
                predicted = _centred(predictor.weights(penalty) @ components)
                scores[place, position] += np.nansum(_cosine(predicted, measured))
    return {"score_block": scores}


def _centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=0, dtype=np.float64), np.float32)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each column of a with the same of b; NaN where one is 0."""
    product, *powers = (np.einsum("ij,ij->j", *pair) for pair in ((a, b), (a, a), (b, b)))
    size = np.sqrt(powers[0] * powers[1])
    return np.asarray(product / np.where(size > 0, size, np.nan))


def _hat(run: _Run, folds: list[Fold], penalties: tuple[float, ...]) -> np.ndarray:
    """One matrix (row, row) from BOLD to its prediction out of fold; 0 from a test part and its gaps to itself."""
    hat = np.zeros((run.rows.size, run.rows.size), np.float32)
    for fold, penalty in zip(folds, penalties, strict=True):
        place = np.ix_(np.searchsorted(run.rows, fold.test), np.searchsorted(run.rows, fold.train))
        predictor = _predictor(run, fold)
        hat[place] = predictor.weights(penalty) @ predictor.U.T
    return hat


def _predict(series: np.ndarray, rows: np.ndarray, hat: np.ndarray) -> dict[str, np.ndarray]:
    """Prediction (time, voxel). The matrix takes a constant to 0, so that centring is for float32 alone."""
    prediction = np.full(series.shape, np.nan, np.float32)
    prediction[rows] = hat @ _centred(series[rows])
    return {"prediction": prediction}


def _score(
    ds: xr.Dataset, run: _Run, folds: list[Fold], hat: np.ndarray, seed: int, lazy: bool
) -> tuple[float, tuple[float, float]]:
    """Mean correlation over voxels, and mean and 95th percentile of the same over BOLD in random phases."""
    phases = random_phases(run.rows.size, SURROGATES, seed)
    block = np.stack([np.isin(run.rows, fold.test) for fold in folds], axis=1).astype(np.float64)
    nuisance, slim = _nuisance(run, run.rows, block), basis(block).astype(np.float32)
    shape: dict[str, Shape] = {"score_block": ((len(phases) + 1,), np.float64)}
    got = per_block(lazy, _scores, ds["series"].data, run.rows, hat, nuisance, slim, phases, gives=shape)
    (total,) = compute(got["score_block"].sum(axis=-1))
    scores = total[:-1] / max(total[-1], 1)
    return float(scores[0]), (float(scores[1:].mean()), float(np.quantile(scores[1:], 0.95)))


def _scores(
    series: np.ndarray, rows: np.ndarray, hat: np.ndarray, nuisance: np.ndarray, block: np.ndarray, phases: np.ndarray
) -> dict[str, np.ndarray]:
    """Correlations summed over voxels for BOLD and for each of its surrogates, and the number of voxels at the end.

    A surrogate is predicted and then turned back to the BOLD that stays, as in `maps.joint`.
    """
    measured, slim = unit_residuals(series[rows], nuisance), nuisance.astype(np.float32)
    total = np.zeros((len(phases) + 1, 1))
    predicted = hat @ _centred(series[rows])
    total[0] = np.nansum(_cosine(predicted - slim @ (slim.T @ predicted), measured))
    for place, phase in enumerate(phases[1:], 1):
        turn = circulant(phase, rows.size)
        again = hat @ turn
        again = turn.T @ (again - block @ (block.T @ again))  # the blocks' means go where the blocks are
        again -= slim @ (slim.T @ again)
        for first in range(0, series.shape[1], _TOGETHER):
            part = measured[:, first : first + _TOGETHER]
            total[place] += np.nansum(_cosine(again @ part, part))
    total[-1] = np.isfinite(measured[0]).sum()
    return {"score_block": total}
