"""How the EEG clock maps to the scanner clock, from the scanner's markers in the EEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from multimap_kernel.schema import (
    CONCENTRATION,
    LEAST_MARKERS,
    RIVALS,
    Alignment,
    InputError,
    SchemaError,
    may_mark_volumes,
    mean_phase,
    require,
    sampling,
)

Floats = NDArray[np.float64]
Interval = tuple[float, float, float, float]

_UNEXPLAINED = 0.05
"""Largest share of volumes without marker, and of markers without volume, that is still repaired."""
_DUMMIES = 10
"""More markers than that before the first volume are no dummies but another, unknown fault."""
_TOLERANCE_S = 0.002
"""A marker this near the model belongs to its volume, also when all others are nearer."""


@dataclass(frozen=True)
class _Train:
    """Markers of one label on the volume grid: volume ``index`` (0: first marker on the grid) of marker ``row``."""

    label: str
    onset: Floats
    row: NDArray[np.int64]
    index: NDArray[np.int64]
    start: float
    period: float

    @property
    def extra(self) -> tuple[int, ...]:
        return tuple(int(row) for row in np.setdiff1d(np.arange(len(self.onset)), self.row))

    @property
    def span(self) -> int:
        return int(self.index[-1]) + 1


def estimate_alignment(
    eeg: xr.Dataset, bold: xr.Dataset, *, marker: str = "", first_volume: int | None = None
) -> Alignment:
    """Match volume markers to volumes, and fit offset and drift of the EEG clock.

    The volume of each marker follows from its phase at the repetition time, so lost, doubled and foreign markers are
    told apart. The line is fitted with Tukey weights from a Theil-Sen start. Where all markers lie within half a
    sample of one line, their jitter is nothing but rounding; then offset and drift are the mean of all lines that
    round to these very markers, which is several times more exact than least squares.

    Parameters
    ----------
    eeg
        Recording on its own clock: ``marker_onset (marker; s)``, ``marker_label (marker)``, regular ``time``.
    bold
        Volumes ``(time, ...)`` with the attribute ``repetition_time`` in s; no value is read.
    marker
        Label of the volume markers; empty: the label that is periodic at the repetition time.
    first_volume
        Volume that the first marker belongs to; negative: so many dummies come first. Not given: found from the
        numbers of markers and volumes and the ends of the recording.

    Returns
    -------
    Offset (s), drift (ppm), residual of each volume (s), what was missing or superfluous, and a verdict. The interval
    of the offset includes half a sample on each side, since markers do not tell whether they were rounded up, down
    or to the nearest sample.

    Raises
    ------
    SchemaError
        If a Dataset lacks what is read here, or the EEG is not on its own clock.
    InputError
        If no label or more than one fits, more than 5 % of the markers or volumes stay unexplained, or it cannot be
        known which volume the first marker belongs to.

    References
    ----------
    Theil (1950), Proc. R. Neth. Acad. Sci. 53; Beaton & Tukey (1974), Technometrics 16, 147-185.
    """
    require(eeg, "marker_onset", "marker_label", where="estimate_alignment", clock="eeg")
    repetition_time, volumes = _volumes(bold)
    axis = sampling(eeg)
    quantum = 1.0 / axis.frequency
    duration = axis.start + axis.samples * quantum
    train = _choose(eeg, repetition_time, volumes, quantum, marker)
    shift, reasons = _first_volume(train, volumes, duration, first_volume)
    start, period, low, high = _fit(train, quantum)
    kept = (train.index + shift >= 0) & (train.index + shift < volumes)
    residual = np.full(volumes, np.nan)
    residual[train.index[kept] + shift] = (train.onset[train.row] - start - period * train.index)[kept]
    offset = start - shift * period
    edges = offset + period * np.arange(volumes + 1)
    covered = (edges[:-1] >= axis.start - quantum / 2) & (edges[1:] <= duration + quantum / 2)
    missing = np.flatnonzero(covered & np.isnan(residual))
    after = tuple(int(row) for row in train.row[train.index + shift >= volumes])
    extra = tuple(sorted(train.extra + after))
    _refuse_unexplained(train, len(missing), len(extra), volumes)
    alignment = Alignment(
        offset_s=float(offset),
        offset_interval_s=(float(low - shift * period - quantum / 2), float(high - shift * period + quantum / 2)),
        drift_ppm=float((period / repetition_time - 1.0) * 1e6),
        residual_s=tuple(None if np.isnan(value) else float(value) for value in residual),
        repetition_time=repetition_time,
        marker=train.label,
        matched=int(np.isfinite(residual).sum()),
        missing=tuple(int(volume) for volume in missing),
        extra=extra,
        dummy=int((train.index + shift < 0).sum()),
        covered=tuple(bool(flag) for flag in covered),
    )
    return _judge(alignment, quantum, reasons)


def _volumes(bold: xr.Dataset) -> tuple[float, int]:
    faults = []
    repetition_time = float(bold.attrs.get("repetition_time", 0.0))
    if not 0.0 < repetition_time < 100.0:
        found = bold.attrs.get("repetition_time", "none")
        faults.append(f"bold must have the attribute repetition_time in seconds, found {found}; see its sidecar")
    if bold.sizes.get("time", 0) < 2:
        faults.append(f"bold must have at least 2 volumes along time, found {bold.sizes.get('time', 0)}")
    if faults:
        raise SchemaError("estimate_alignment", faults)
    return repetition_time, bold.sizes["time"]


def _choose(eeg: xr.Dataset, repetition_time: float, volumes: int, quantum: float, marker: str) -> _Train:
    """The one label whose markers lie on the volume grid."""
    onset = np.asarray(eeg["marker_onset"].values, np.float64)
    label = np.array([str(text).strip() for text in eeg["marker_label"].values])
    known = {name: int((label == name).sum()) for name in dict.fromkeys(label.tolist())}
    if marker:
        names = [name for name in known if name == marker.strip()]
    else:
        names = [name for name in known if may_mark_volumes(name)]
    found = [
        _on_grid(name, np.sort(onset[label == name]), repetition_time, quantum)
        for name in names
        if known[name] >= LEAST_MARKERS
    ]
    trains = [train for train in found if train and (marker or len(train.row) > 0.8 * train.span)]
    if not trains:
        steps = {name: float(np.median(np.diff(np.sort(onset[label == name])))) for name in known if known[name] > 1}
        wanted = f"the label {marker!r}" if marker else "one label"
        listed = [f"{name!r} ({count}, every {steps.get(name, 0.0):.4g} s)" for name, count in known.items()]
        raise InputError(
            f"{wanted} must come once per volume, {volumes} times, every {repetition_time:g} s; found "
            f"{'; '.join(listed[:12]) or 'no marker at all'}. Name the volume marker as align.marker, check "
            "RepetitionTime, or add the scanner's markers to the recording"
        )
    best = max(trains, key=lambda train: len(train.row))
    rivals = [train for train in trains if len(train.row) >= RIVALS * len(best.row)]
    if np.ptp([train.start for train in rivals]) > quantum:
        several = ", ".join(f"{train.label!r} ({len(train.row)})" for train in rivals)
        raise InputError(
            f"one label must mark the volumes, found several that fit: {several}; name one as align.marker"
        )
    return best


def _on_grid(name: str, onset: Floats, repetition_time: float, quantum: float) -> _Train | None:
    """Give each marker the volume that its phase tells; None where the label has another period."""
    phase = mean_phase(onset, repetition_time)
    if abs(phase) < CONCENTRATION:
        return None
    origin = float(np.angle(phase)) / (2 * np.pi) * repetition_time
    index = np.rint((onset - origin) / repetition_time).astype(np.int64)
    index -= index[0]
    # The grid is wide open at first, since an unknown drift moves the phase, and then as narrow as the markers allow.
    keep = np.ones(len(onset), bool)
    for _ in range(3):
        if len(np.unique(index[keep])) < 2:
            return None
        start, period = _line(index[keep].astype(np.float64), onset[keep])
        index = np.rint((onset - start) / period).astype(np.int64)
        residual = np.abs(onset - start - period * index)
        spread = 6 * 1.4826 * float(np.median(residual))
        keep = residual <= min(max(_TOLERANCE_S, 1.5 * quantum, spread), 0.1 * period)
    order = np.lexsort((residual, index))
    order = order[keep[order]]
    row = np.sort(order[np.unique(index[order], return_index=True)[1]])
    first = int(index[row[0]])
    return _Train(name, onset, row, index[row] - first, float(start + first * period), float(period))


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Start and slope by Tukey weights, from medians of slopes over half the range (Theil-Sen)."""
    half = len(x) // 2
    apart = x[half:] - x[: len(x) - half]
    slope = float(np.median((y[half:] - y[: len(y) - half])[apart > 0] / apart[apart > 0]))
    start = float(np.median(y - slope * x))
    for _ in range(20):
        residual = y - start - slope * x
        scale = 4.685 * max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
        weight = np.clip(1 - (residual / scale) ** 2, 0, None) ** 2
        centre = (weight @ x) / weight.sum()
        lever = weight * (x - centre)
        if lever @ (x - centre) <= 0:
            break
        slope = float(lever @ y / (lever @ (x - centre)))
        start = float((weight @ y) / weight.sum() - slope * centre)
    return start, slope


def _fit(train: _Train, quantum: float) -> Interval:
    """Start, period and 95 % interval of the start."""
    x, y = train.index.astype(np.float64), train.onset[train.row]
    start, period = _line(x, y)
    rounded = _rounded_line(x, y, start, period, quantum)
    if rounded is not None:
        return rounded
    residual = y - start - period * x
    spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    centred = x - x.mean()
    error = spread * np.sqrt(1 / len(x) + x.mean() ** 2 / (centred @ centred))
    # Where jitter does not spread the markers over several samples, rounding shifts all of them alike.
    half = 1.96 * float(error) + quantum / 2
    return start, period, start - half, start + half


def _rounded_line(x: Floats, y: Floats, start: float, period: float, quantum: float) -> Interval | None:
    """Mean over all lines that pass each marker within half a sample; None if there is no such line.

    For each slope the starts that fit form an interval; its length is the weight of the slope.
    """
    centre = x.mean()
    reach = 2.5 * quantum / max(float(np.ptp(x)), 1.0)
    for _ in range(3):  # look closer, since the slopes that fit may be a small part of those tried
        slopes = period + np.linspace(-reach, reach, 801)
        remainder = (y - start)[None] - slopes[:, None] * (x - centre)[None]
        low, high = remainder.max(1) - 0.5001 * quantum, remainder.min(1) + 0.5001 * quantum
        weight = np.clip(high - low, 0, None)
        if not weight.any():
            return None
        fits = slopes[weight > 0]
        period, reach = float((fits[0] + fits[-1]) / 2), max(float(np.ptp(fits)) * 0.55, reach / 400)
    weight /= weight.sum()
    slope = float(weight @ slopes)
    middle = start + (low + high) / 2 - slopes * centre
    mean = float(weight @ middle)
    half = 1.96 * float(np.sqrt(weight @ ((middle - mean) ** 2 + (high - low) ** 2 / 12)))
    return mean, slope, mean - half, mean + half


def _first_volume(train: _Train, volumes: int, duration: float, given: int | None) -> tuple[int, list[str]]:
    """Volume of the first marker on the grid, and what had to be assumed."""
    if given is not None:
        return given, [f"volume of the first marker given as {given}"]
    surplus = train.span - volumes
    ends_early = train.onset[train.row[-1]] + train.period > duration - _TOLERANCE_S
    starts_late = train.start < train.period
    if surplus == 0:
        # A recording cut to the scan is cut at both ends; one that only ends with it may have been stopped early.
        told = "the recording ends within the last volume marked; decide first_volume -N if N dummies were marked"
        return 0, [f"assumed: no dummies; {told}"] if ends_early and not starts_late else []
    if surplus > _DUMMIES:
        raise InputError(
            f"at most {_DUMMIES} markers may come before the first of {volumes} volumes, found {train.span} places for "
            f"volumes between the first and the last marker {train.label!r}; cut the recording to the run, or give "
            "first_volume"
        )
    if surplus > 0:
        return -surplus, [f"assumed: the first {surplus} of {train.span} markers are dummies, not in the BOLD file"]
    lost = -surplus
    if ends_early:
        told = f"the last {lost} volumes have no marker; decide first_volume {lost} if it is the first that have none"
        return 0, [f"assumed: the recording ends before the scan; {told}"]
    if starts_late:
        return lost, [f"assumed: the recording starts after the scan; the first {lost} volumes have no marker"]
    raise InputError(
        f"{volumes} volumes must have as many markers, found places for {train.span} from the first to the last "
        f"{train.label!r}, and the recording covers both ends, so it cannot be known which end lacks {lost}; give "
        f"first_volume: 0 if the last markers are lost, {lost} if the first are"
    )


def _refuse_unexplained(train: _Train, missing: int, extra: int, volumes: int) -> None:
    if max(missing, extra) > max(1.0, _UNEXPLAINED * volumes):
        raise InputError(
            f"at most {_UNEXPLAINED:.0%} of {volumes} volumes and of the markers {train.label!r} may stay without a "
            f"partner, found {missing} volumes without marker and {extra} markers without volume; check that EEG and "
            "BOLD are of the same run"
        )


def _judge(alignment: Alignment, quantum: float, reasons: list[str]) -> Alignment:
    """Add the verdict: suspect if something was assumed or is unusual, bad if the model does not hold."""
    residual = np.array([value for value in alignment.residual_s if value is not None])
    largest = float(np.abs(residual).max()) if residual.size else 0.0
    uncovered = alignment.covered.count(False)
    suspect = any(reason.startswith("assumed") for reason in reasons)
    for places, text in ((alignment.missing, "volumes without marker"), (alignment.extra, "markers without volume")):
        if places:
            listed = ", ".join(map(str, places[:8])) + (", ..." if len(places) > 8 else "")
            reasons.append(f"{len(places)} {text}: {listed}")
            suspect |= len(places) > 0.01 * len(alignment.residual_s)
    if uncovered:
        reasons.append(f"the EEG does not cover {uncovered} of {len(alignment.covered)} volumes whole")
        suspect |= uncovered > _UNEXPLAINED * len(alignment.covered)
    if abs(alignment.drift_ppm) > 100:
        reasons.append(f"drift of {alignment.drift_ppm:.0f} ppm is more than two clocks usually differ")
        suspect = True
    if largest > max(_TOLERANCE_S, 1.5 * quantum):
        reasons.append(f"markers stray by up to {largest * 1e3:.2f} ms from a steady clock")
        suspect = True
    bad = abs(alignment.drift_ppm) > 1000 or largest > max(0.02, 2 * quantum)
    verdict = "bad" if bad else "suspect" if suspect else "good"
    stored = alignment.to_json() | {"verdict": verdict, "reasons": reasons}
    return Alignment.from_json(stored)
