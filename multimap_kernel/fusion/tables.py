"""Runs as one table: lagged EEG power, BOLD and design of all volumes that can be used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from dask.base import compute

from multimap_kernel.fusion.patches import no_patches, read_patches
from multimap_kernel.fusion.windows import lagged_power
from multimap_kernel.maps.design import centred_confounds, make_design
from multimap_kernel.maps.power import good_channels
from multimap_kernel.maps.shifts import basis
from multimap_kernel.schema import InputError, require


class Reading(NamedTuple):
    """What a network reads, scaled by the rows that train.

    Parameters
    ----------
    power : (row, lag, channel, band)
        Log band power in deviations, float32.
    patch : (window, channel, sample)
        Raw EEG in deviations, float32; no sample where the network reads power alone.
    window : (row, lag)
        Position in ``patch`` of the window of each lag.
    """

    power: np.ndarray
    patch: np.ndarray
    window: np.ndarray


@dataclass(frozen=True)
class Table:
    """All usable volumes of all runs, run after run.

    Parameters
    ----------
    names
        Name of each run.
    run, volume : (row,)
        Position in ``names``, and volume in that run.
    power : (row, lag, channel, band)
        Log band power, float32; its centre and scale are left to each fold.
    target : (row, region)
        BOLD without trend and confounds, mean 0 and deviation 1 within the run, float32.
    patch : (window, channel, sample)
        Raw EEG of every volume of every run, V, float32; no sample without patches.
    window : (row, lag)
        Position in ``patch`` of the window of each lag.
    design : (row, condition)
        Events convolved with an HRF, float32; no column without events.
    lags_s
        EEG this long before the volume, s.
    step_s
        Repetition time, s.
    patch_hz
        Samples of a patch in a second.
    channels, bands, regions, conditions
        What the columns are.
    """

    names: tuple[str, ...]
    run: np.ndarray
    volume: np.ndarray
    power: np.ndarray
    target: np.ndarray
    patch: np.ndarray
    window: np.ndarray
    design: np.ndarray
    lags_s: tuple[float, ...]
    step_s: float
    channels: tuple[str, ...]
    bands: tuple[str, ...]
    regions: tuple[str, ...]
    conditions: tuple[str, ...]
    patch_hz: float = 0.0

    def condition(self) -> np.ndarray:
        """Name of the condition (row,) whose response is at least half its largest, else ``rest``."""
        names = np.array([*self.conditions, "rest"])
        if not self.conditions:
            return names[np.zeros(len(self.run), int)]
        share = self.design / np.maximum(self.design.max(axis=0), 1e-12)
        return names[np.where(share.max(axis=1) >= 0.5, share.argmax(axis=1), len(self.conditions))]

    def digest(self) -> str:
        """sha256 of everything that a model reads."""
        total = hashlib.sha256(repr((self.names, self.lags_s, self.step_s, self.channels, self.bands)).encode())
        for values in (self.run, self.volume, self.power, self.target, self.design, self.patch):
            total.update(np.ascontiguousarray(values).tobytes())
        return total.hexdigest()

    def scaled(self, train: np.ndarray) -> np.ndarray:
        """Power (row, lag, channel, band) with centre and scale of the rows that train.

        A run that trains is centred on its training rows. A run that does not is centred on itself, by its EEG alone:
        the level of log power is the electrodes' impedance, which no other run knows.
        """
        centred = np.empty_like(self.power)
        for rows, own in self._judges(train):
            centred[rows] = self.power[rows] - self.power[own].mean(axis=(0, 1), dtype=np.float64)
        deviation = centred[train].std(axis=(0, 1), dtype=np.float64)
        return np.asarray(centred / np.where(deviation > 0, deviation, np.inf), np.float32)

    def reading(self, train: np.ndarray) -> Reading:
        """What a network reads; patches in deviations of each channel in the same rows that centre a run's power."""
        patch = np.array(self.patch)
        for rows, own in self._judges(train) if patch.size else ():
            deviation = self.patch[np.unique(self.window[own])].std(axis=(0, 2), dtype=np.float64)
            whole = np.unique(self.window[rows])
            patch[whole] /= np.where(deviation > 0, deviation, np.inf)[:, None]
        return Reading(self.scaled(train), patch, self.window)

    def _judges(self, train: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows of each run, and those of them that set its centre and scale: those that train, or all."""
        known = np.zeros(len(self.run), bool)
        known[train] = True
        parts = [self.run == number for number in range(len(self.names))]
        return [(rows, rows & known if (rows & known).any() else rows) for rows in parts]


def read_table(
    runs: Mapping[str, xr.Dataset], lags_s: tuple[float, ...], hrf: str = "spm", *, patches: bool = False
) -> Table:
    """Put runs into one table.

    Parameters
    ----------
    runs
        Name of each run and its ``region_series (time, region; 1)``, ``band_power_fine (bin, channel, band; V2)``,
        ``channel_type (channel)``, ``steady_state (time)``; if there: ``good (channel)``, ``confound (time,
        regressor)``, events.
    lags_s
        EEG this long before the volume, s.
    hrf
        ``spm`` or ``glover``, for the design.
    patches
        Read raw EEG too: ``eeg_patch (time, channel, sample; V)`` with attribute ``patch_hz``, see
        `fusion.patches.add_patches`.

    Raises
    ------
    SchemaError
        If a run lacks a variable or is not on the scanner clock.
    InputError
        If runs differ in regions, bands, repetition time or samples of a patch, share no EEG channel, or a run has no
        usable volume; if a lag is not a whole number of volumes where patches are read.
    """
    if not runs:
        raise InputError("a model needs at least one run, found none")
    for name, ds in runs.items():
        names = ("region_series", "band_power_fine", "channel_type", *(["eeg_patch"] if patches else []))
        require(ds, *names, where=name, clock="scanner")
    first = next(iter(runs.values()))
    for what in ("region", "band"):
        different = [name for name, ds in runs.items() if list(ds[what].values) != list(first[what].values)]
        if different:
            raise InputError(f"all runs must have the same {what}s as {next(iter(runs))}, found others in {different}")
    steps = {float(ds.attrs["repetition_time"]) for ds in runs.values()}
    if len(steps) > 1:
        raise InputError(f"all runs must have one repetition time, found {sorted(steps)} s; train them apart")
    channels = _shared_channels(runs)
    raw = read_patches(runs, channels, lags_s) if patches else no_patches(runs, lags_s)
    parts = [
        _read(ds, name, channels, lags_s, known) for (name, ds), known in zip(runs.items(), raw.known, strict=True)
    ]
    run = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(parts)])
    volume, power, target = (np.concatenate(column) for column in zip(*parts, strict=True))
    design, conditions = _designs(runs, hrf, [part[0] for part in parts])
    return Table(
        names=tuple(runs),
        run=run,
        volume=volume,
        power=power,
        target=target,
        patch=raw.values,
        window=np.concatenate([place[part[0]] for place, part in zip(raw.place, parts, strict=True)]),
        design=design,
        lags_s=tuple(float(lag) for lag in lags_s),
        step_s=steps.pop(),
        channels=channels,
        bands=tuple(map(str, first["band"].values)),
        regions=tuple(map(str, first["region"].values)),
        conditions=conditions,
        patch_hz=raw.hz,
    )


def _designs(runs: Mapping[str, xr.Dataset], hrf: str, rows: list[np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convolved events (row, condition) of all runs, 0 where a run does not have the condition; and their names."""
    designs = [make_design(ds.compute(), hrf=hrf, high_pass_hz=1e-4, lazy=False) for ds in map(_tables, runs.values())]
    names = sorted({name for design in designs for name in design.conditions})
    parts = []
    for design, own in zip(designs, rows, strict=True):
        part = np.zeros((own.size, len(names)), np.float32)
        part[:, [names.index(name) for name in design.conditions]] = design.task[own]
        parts.append(part)
    return np.concatenate(parts), tuple(names)


def _tables(ds: xr.Dataset) -> xr.Dataset:
    names = ("event_onset", "event_duration", "event_condition", "steady_state")
    return ds[[name for name in names if name in ds.variables]]


def _shared_channels(runs: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """EEG channels that every run has measured and none calls bad, in the order of the first run."""
    usable = []
    for ds in runs.values():
        power, kinds, good = compute(ds["band_power_fine"].data, ds["channel_type"].data, good_channels(ds))
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(np.log(power)).any(axis=0).all(axis=1) & (np.asarray(kinds).astype(str) == "eeg") & good
        usable.append([str(name) for name in ds["channel"].values[known]])
    shared = tuple(name for name in usable[0] if all(name in other for other in usable))
    if not shared:
        raise InputError(f"the runs {list(runs)} must share an EEG channel, found none; train them apart")
    return shared


def _read(
    ds: xr.Dataset, name: str, channels: tuple[str, ...], lags_s: tuple[float, ...], known: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Volume, power and target of the usable rows of one run."""
    part = ds.sel(channel=list(channels))
    names = ["band_power_fine", "channel_type", "region_series", "steady_state"]
    power, kinds, series, steady = compute(*(part[one].data for one in names))
    step = float(ds.attrs["repetition_time"])
    shift = (float(ds.attrs.get("sampled_at", 0.5)) - 0.5) * step  # the window lies around the sampling time
    starts = ds["time"].values + shift
    features = lagged_power(power, ds["bin"].values, kinds, starts=starts, repetition_time=step, lags_s=lags_s)
    if features.shape[1] != len(lags_s) * len(channels) * ds.sizes["band"]:
        raise InputError(f"{name}: a channel of {list(channels)} is not measured whole; mark it as misc in all runs")
    rows = np.flatnonzero(np.isfinite(features).all(axis=1) & np.asarray(steady, bool) & known)
    if not rows.size:
        raise InputError(f"{name} must have a volume whose EEG is known at all lags, found none; check its alignment")
    table = ds["confound"].values[rows] if "confound" in ds else np.zeros((rows.size, 0))
    shape = (rows.size, len(lags_s), len(channels), ds.sizes["band"])
    return rows, features[rows].reshape(shape).astype(np.float32), _partial(series[rows], table)


def _partial(series: np.ndarray, confound: np.ndarray) -> np.ndarray:
    """Take constant, trend and confounds out of each region and scale the rest to deviation 1; 0 where none is left.

    Confounds know nothing of the EEG, so that they may be estimated on the whole run. They may take a quarter of the
    rows: of more, the strongest principal components are taken.
    """
    centred = centred_confounds(confound)
    size = centred.std(axis=0)
    left, _, _ = np.linalg.svd(centred[:, size > 0] / size[size > 0], full_matrices=False)
    trend = np.linspace(-1, 1, len(series))
    nuisance = basis(np.column_stack([np.ones(len(series)), trend, left[:, : len(series) // 4]]))
    rest = np.asarray(series, np.float64) - nuisance @ (nuisance.T @ series)
    deviation = rest.std(axis=0)
    floor = 1e-6 * np.abs(series).max(initial=0.0)
    return np.asarray(np.where(deviation > floor, rest / np.where(deviation > floor, deviation, 1.0), 0.0), np.float32)
