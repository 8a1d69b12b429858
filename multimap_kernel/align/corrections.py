"""The alignment as people decided it: corrected markers first, the estimate on them, a shift last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from multimap_kernel.align.estimate import estimate_alignment
from multimap_kernel.schema import Alignment, Decision, InputError, require, sampling

_TOLD = {
    "marker": "volume marker {value!r} chosen",
    "first_volume": "first marker set to volume {value}",
    "repetition_time": "repetition time set to {value} s",
    "drop_marker": "marker at {value} s deleted",
    "add_marker": "marker at {value} s inserted",
    "shift": "offset shifted by {value} s",
}


def correct_alignment(
    eeg: xr.Dataset, bold: xr.Dataset, decisions: Sequence[Decision] = (), *, marker: str = ""
) -> Alignment:
    """Estimate the alignment under the decisions of people; without any it is `estimate_alignment`.

    Parameters
    ----------
    eeg, bold
        As in `estimate_alignment`.
    decisions
        Those that hold. ``marker`` (a label), ``first_volume`` (volume of the first marker), ``repetition_time`` (s),
        ``drop_marker`` and ``add_marker`` (s on the EEG clock), ``shift`` (s added to the offset); others are passed
        over.
    marker
        Label of the volume marker, unless a decision names one.

    Returns
    -------
    The estimate; residuals are against the shifted model, the verdict is that of the estimate before the shift, and
    ``reasons`` end with each correction, who made it and why.

    Raises
    ------
    SchemaError
        If a Dataset lacks what is read here.
    InputError
        If no alignment is found, or a marker to delete is not there.

    Notes
    -----
    An inserted marker gets the label of the volume marker; where none is named, the commonest label.
    """
    require(eeg, "marker_onset", "marker_label", where="correct_alignment", clock="eeg")
    told: dict[str, list[str]] = {}
    for decision in decisions:
        told.setdefault(decision.action, []).append(decision.value)
    marker = told.get("marker", [marker])[-1]
    first = told.get("first_volume")
    if "repetition_time" in told:
        bold = bold.assign_attrs(repetition_time=float(told["repetition_time"][-1]))
    alignment = estimate_alignment(
        correct_markers(eeg, decisions, marker=marker),
        bold,
        marker=marker,
        first_volume=int(first[-1]) if first else None,
    )
    alignment = _shifted(alignment, float(told.get("shift", ["0"])[-1]))
    corrections = tuple(_sentence(decision) for decision in decisions if decision.action in _TOLD)
    return replace(alignment, reasons=(*alignment.reasons, *corrections))


def correct_markers(eeg: xr.Dataset, decisions: Sequence[Decision], *, marker: str = "") -> xr.Dataset:
    """Delete and insert markers as people decided; all else of the recording stays.

    Parameters
    ----------
    eeg
        ``marker_onset (marker; s)``, ``marker_label (marker)`` on the EEG clock, regular ``time``.
    decisions
        ``drop_marker`` takes all markers within half a sample of its time, ``add_marker`` puts one there.
    marker
        Label of inserted markers; empty: the commonest one.

    Raises
    ------
    InputError
        If a marker to delete is not there, or no label is known for one to insert.
    """
    dropped = [decision.value for decision in decisions if decision.action == "drop_marker"]
    added = [decision.value for decision in decisions if decision.action == "add_marker"]
    if not dropped and not added:
        return eeg
    onset = np.asarray(eeg["marker_onset"].values, np.float64)
    labels = np.array([str(text).strip() for text in eeg["marker_label"].values], dtype=object)
    keep = np.ones(onset.size, bool)
    for value in dropped:
        hit = np.abs(onset - float(value)) <= 0.5 / sampling(eeg).frequency
        if not hit.any():
            nearest = f"{onset[np.abs(onset - float(value)).argmin()]:.6f} s" if onset.size else "none at all"
            raise InputError(f"a marker at {value} s must be there to be deleted, found the nearest at {nearest}")
        keep &= ~hit
    if added and not marker and not onset.size:
        raise InputError("a recording without any marker must be told the label of those to insert; decide on marker")
    name = marker or (Counter(labels.tolist()).most_common(1)[0][0] if onset.size else "")
    onset = np.concatenate([onset[keep], [float(value) for value in added]])
    labels = np.concatenate([labels[keep], np.array([name] * len(added), dtype=object)]).astype(str)
    order = np.argsort(onset, kind="stable")
    markers = {"marker_onset": ("marker", onset[order]), "marker_label": ("marker", labels[order])}
    return eeg.drop_dims("marker").assign(markers)


def _shifted(alignment: Alignment, shift: float) -> Alignment:
    if not shift:
        return alignment
    low, high = alignment.offset_interval_s
    return replace(
        alignment,
        offset_s=alignment.offset_s + shift,
        offset_interval_s=(low + shift, high + shift),
        residual_s=tuple(None if value is None else value - shift for value in alignment.residual_s),
    )


def _sentence(decision: Decision) -> str:
    done = _TOLD[decision.action].format(value=decision.value)
    return f"{done} by {decision.user}" + (f": {decision.reason}" if decision.reason else "")
