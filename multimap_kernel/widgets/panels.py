"""What the alignment widget draws, as numbers and packed arrays; every value comes from a verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.align import apply_alignment
from multimap_kernel.eeg.average import average_volume
from multimap_kernel.eeg.spectrum import spectrum
from multimap_kernel.fmri.carpet import carpet
from multimap_kernel.io.eeg import to_volts
from multimap_kernel.io.pyramid import read_window
from multimap_kernel.schema import Alignment, sampling
from multimap_kernel.widgets.review import Judgement, Review

Json = Any
Panel = dict[str, Json]

MATCHED, EXTRA, JITTERED, DUMMY = range(4)
"""What became of a marker; a jittered one is more than a sample from the model."""
CARPET_ROWS = 300
DETAIL_S, HIGHEST_HZ = 60.0, 125.0
"""Stretch that spectrum and average course are made of, and where the spectrum ends."""


def facts_of(review: Review) -> Panel:
    """What does not change while people decide."""
    channels = review.recording["channel"].values.astype(str).tolist()
    labels = [str(text).strip() for text in review.recording["marker_label"].values]
    slices = review.bold["slice_time"].values.tolist() if "slice_time" in review.bold else []
    return {
        "session": review.session,
        "study": review.store.study,
        "channels": channels,
        "kinds": review.recording["channel_type"].values.astype(str).tolist(),
        "rate": sampling(review.recording).frequency,
        "volumes": review.bold.sizes["time"],
        "excitations": len(set(slices)),
        "labels": {label: labels.count(label) for label in dict.fromkeys(labels)},
        "missing": [name for name, ds in _parts(review).items() if ds is None],
    }


def _parts(review: Review) -> Mapping[str, xr.Dataset | None]:
    return {"clean_eeg": review.clean, "normalise": review.confounds, "features": review.features}


def clocks_of(review: Review) -> Panel:
    """Everything that a decision may change, without the arrays."""
    clock = review.clock
    axis = sampling(review.recording)
    begin, end = (clock.scanner_time(axis.start + n / axis.frequency) for n in (0, axis.samples))
    low, high = clock.offset_interval_s
    bad = {item.value for item in review.held if item.action == "bad_channel"}
    fate = [item for item in review.held if item.action in {"accept", "exclude", "hold"}]
    return {
        **summary(review.judgement),
        "offset_s": clock.offset_s,
        "interval_ms": (high - low) * 500,
        "repetition_time": clock.repetition_time,
        "marker": clock.marker,
        "missing": list(clock.missing),
        "uncovered": [volume for volume, flag in enumerate(clock.covered) if not flag],
        "span": [begin, end],
        "bad_channels": sorted(bad),
        "bad_spans": [
            [clock.scanner_time(float(part)) for part in item.value.split(":")]
            for item in review.held
            if item.action == "bad_span"
        ],
        "shift_ms": next((float(item.value) * 1e3 for item in review.held if item.action == "shift"), 0.0),
        "fate": fate[-1].action if fate else "",
        "stale": list(review.stale()),
    }


def summary(judgement: Judgement) -> Panel:
    """Verdict and size of the residual: what a person compares before and after a decision."""
    alignment, residual = judgement.alignment, judgement.residual
    known = residual[np.isfinite(residual)] * 1e3
    return {
        "fault": judgement.fault,
        "verdict": alignment.verdict if alignment else "none",
        "reasons": list(alignment.reasons) if alignment else [],
        "drift_ppm": alignment.drift_ppm if alignment else 0.0,
        "matched": alignment.matched if alignment else 0,
        "lost": len(alignment.missing) if alignment else 0,
        "extra": len(alignment.extra) if alignment else 0,
        "dummy": alignment.dummy if alignment else 0,
        "rms_ms": float(np.sqrt(np.mean(known**2))) if known.size else None,
        "largest_ms": float(np.abs(known).max()) if known.size else None,
    }


def decisions_of(review: Review) -> list[Panel]:
    """All decisions, the latest first, in words."""
    held = {item.identifier for item in review.held}
    undone = {item.supersedes for item in review.decisions if item.action == "undo"}
    return [
        {
            "identifier": item.identifier,
            "who": item.user,
            "when": item.created[:16].replace("T", " "),
            "what": f"{item.action.replace('_', ' ')} {review.shown_value(item)}".strip(),
            "why": item.reason,
            "state": "held" if item.identifier in held else "undone" if item.identifier in undone else "replaced",
        }
        for item in reversed(review.decisions)
        if item.action != "undo"
    ]


def timeline_of(review: Review) -> Panel:
    """The whole run on one axis (s, scanner clock): markers, residual (ms), motion, carpet, beats."""
    clock = review.clock
    onset = np.array([clock.scanner_time(one) for one in review.markers])
    panel: Panel = {
        "marker": _packed(onset, np.float64),
        "kind": _packed(_kinds(onset, clock, review.quantum), np.uint8),
        "residual": _packed(review.judgement.residual * 1e3, np.float32),
    }
    if review.confounds is not None:
        for name in ("framewise_displacement", "dvars"):
            change = np.array(review.confounds[name].values, np.float32)
            change[:1] = np.nan  # stored as 0, but nothing comes before the first volume
            panel[name] = _packed(change, np.float32)
    if review.features is not None:
        rows = np.nan_to_num(carpet(review.features, voxels=CARPET_ROWS)["carpet"].values)
        panel["carpet"] = _packed(np.clip((rows + 2) * 63.75, 0, 255), np.uint8)
        panel["rows"] = len(rows)
    if review.clean is not None and "r_peak" in review.clean:
        peaks = review.clean["r_peak"].values
        panel["beat"] = _packed(np.sort(peaks[np.isfinite(peaks)]) + _moved(review), np.float64)
    return panel


def _moved(review: Review) -> float:
    """How far the clean EEG lies from its present place on the scanner clock, s, at the first volume."""
    return review.clock.scanner_time(review.applied.offset_s) if review.applied else 0.0


def _kinds(onset: np.ndarray, clock: Alignment, quantum: float) -> np.ndarray:
    volume = np.rint(onset / clock.repetition_time)
    kinds = np.where(np.abs(onset - volume * clock.repetition_time) > quantum, JITTERED, MATCHED)
    kinds[onset < -clock.repetition_time / 2] = DUMMY
    kinds[[place for place in clock.extra if place < onset.size]] = EXTRA
    return kinds


def window_of(review: Review, start: float, stop: float, columns: int) -> Panel:
    """All channels before and after cleaning between two scanner times, least and largest value per column.

    Values are packed as int16 with one scale (µV per count) for each recording; ``start`` and ``step`` (s) tell where
    the columns lie on the scanner clock.
    """
    clock = review.clock
    panel: Panel = {"start": start, "stop": stop}
    eeg_start, eeg_stop = (clock.offset_s + clock.pace * time for time in (start, stop))
    raw = read_window(review.recording, eeg_start, eeg_stop, columns=columns)
    panel["before"] = _traces(raw.values, clock.scanner_time(raw.start), raw.step / clock.pace)
    if review.clean is not None:
        moved = _moved(review)
        clean = read_window(review.clean, start - moved, stop - moved, columns=columns)
        panel["after"] = _traces(clean.values, clean.start + moved, clean.step)
    return panel


def _traces(values: np.ndarray, start: float, step: float) -> Panel:
    microvolts = np.nan_to_num(values * 1e6)
    microvolts -= np.median(microvolts[:, ::4].mean(2), axis=1)[:, None, None] if microvolts.size else 0
    scale = float(np.abs(microvolts).max(initial=1e-3)) / 32_000
    return {
        "start": start,
        "step": step,
        "scale": scale,
        "columns": microvolts.shape[1],
        "values": _packed(np.rint(microvolts / scale), np.int16),
    }


def detail_of(review: Review, channel: str, start: float, stop: float) -> Panel:
    """One channel around a stretch: spectrum (µV/√Hz) and the average course of a volume (µV), before and after."""
    clock, moved = review.clock, _moved(review)
    axis = sampling(review.recording)
    first, last = (clock.scanner_time(axis.start + n / axis.frequency) for n in (0, axis.samples))
    length = min(DETAIL_S, last - first)
    low = float(np.clip((start + stop - length) / 2, first, last - length))
    part = review.recording[["count", "scale", "offset"]].sel(channel=[channel])
    ends = [clock.offset_s + clock.pace * time for time in (low, low + length)]
    before = apply_alignment(to_volts(_between(part, *ends)), clock)
    panel: Panel = {"channel": channel, "start": low, "stop": low + length, "before": _detail(before, clock)}
    if review.clean is not None and channel in review.clean["channel"].values:
        clean = _between(review.clean[["eeg"]].sel(channel=[channel]), low - moved, low + length - moved)
        panel["after"] = _detail(clean, clock)
    return panel


def _between(ds: xr.Dataset, start: float, stop: float) -> xr.Dataset:
    axis = sampling(ds)
    low, high = (int(np.clip(round((t - axis.start) * axis.frequency), 0, axis.samples)) for t in (start, stop))
    return ds.isel(time=slice(low, high))


def _detail(ds: xr.Dataset, clock: Alignment) -> Panel:
    axis, repetition_time = sampling(ds), clock.repetition_time
    density = spectrum(ds)["density"].isel(channel=0).sel(frequency=slice(0, HIGHEST_HZ))
    panel: Panel = {"resolution": float(density["frequency"][1]), "rate": axis.frequency}
    panel["amplitude"] = _packed(np.sqrt(density.values) * 1e6, np.float32)
    first = max(0, int(np.ceil(axis.start / repetition_time)))
    last = min(len(clock.residual_s), int((axis.start + axis.samples / axis.frequency) / repetition_time))
    if last > first:
        average = average_volume(ds, repetition_time=repetition_time, first=first, volumes=last - first)
        panel["course"] = _packed(average["volume_average"].values[0] * 1e6, np.float32)
        panel["averaged"] = int(average.attrs["volumes"])
    return panel


def _packed(values: np.ndarray, kind: Any) -> bytes:
    return np.ascontiguousarray(values, kind).tobytes()
