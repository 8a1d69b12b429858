"""What is true about a simulated session, written beside it; and whether a session is there already."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multimap_kernel.simulate import bids, head
from multimap_kernel.simulate.bold import Scan
from multimap_kernel.simulate.clocks import Clocks
from multimap_kernel.simulate.eeg import CLEAN_HZ, CleanEeg, Signal
from multimap_kernel.simulate.latents import Array, Body, Events, Rhythms
from multimap_kernel.simulate.sizes import EFFECTS, SimulationError, Size

FORMAT = 1  # raise it when the same parameters would give other files


@dataclass(frozen=True)
class Truth:
    """All that the writer of the truth needs to know about a session."""

    parameters: dict[str, Any]
    size: Size
    clocks: Clocks
    in_scanner: Body
    under_cap: Body
    rhythms: Rhythms
    events: Events
    clean: CleanEeg
    pulse: Signal
    scan: Scan
    to_mni: Array
    responses: Array


def path(study: Path, label: str) -> Path:
    """The JSON that makes a session whole."""
    return study / "sourcedata" / "truth" / f"{label}_truth.json"


def exists(study: Path, label: str, parameters: dict[str, Any]) -> bool:
    """Whether this very session has been written; another one with its labels is an error."""
    file = path(study, label)
    if not file.exists():
        return False
    stored = json.loads(file.read_text(encoding="utf-8"))
    known = {"format": FORMAT, **parameters}
    found = {"format": stored.get("format"), **stored.get("parameters", {})}
    different = [
        f"{name}={found.get(name)!r} (asked for {value!r})" for name, value in known.items() if found.get(name) != value
    ]
    if different:
        raise SimulationError(
            f"{study} already holds a simulated session {label} with {', '.join(different)}; "
            "choose another study folder, subject or run, or delete the study"
        )
    return True


def write(study: Path, label: str, what: Truth) -> None:
    """Arrays, label images and, last, the JSON."""
    stem = study / "sourcedata" / "truth" / label
    stem.parent.mkdir(parents=True, exist_ok=True)
    np.savez(Path(f"{stem}_truth.npz"), **_arrays(what))  # zip entries of NumPy carry no time stamp
    mni = head.load_head(2)
    labels = head.region_labels(head.grid_points(mni.brain.shape, mni.affine), mni.brain, head.REGIONS)
    bids.write_image(Path(f"{stem}_space-MNI152NLin2009aSym_res-2_dseg.nii.gz"), labels.transpose(2, 1, 0), mni.affine)
    bids.write_image(Path(f"{stem}_space-native_dseg.nii.gz"), what.scan.labels, what.scan.affine)
    bids.write_json(path(study, label), _facts(label, what))


def _arrays(what: Truth) -> dict[str, Any]:
    size, clocks = what.size, what.clocks
    kept = clocks.volume_time[clocks.dummies :]
    return {
        "clean_eeg": what.clean.signal,
        "pulse_artifact": what.pulse,
        "channel": np.array(size.channels),
        "envelope_time": what.rhythms.time,
        "alpha_envelope": what.rhythms.alpha,
        "theta_envelope": what.rhythms.theta,
        "beta_envelope": what.rhythms.beta,
        "interaction": what.rhythms.interaction,
        "arousal_eeg": what.under_cap.arousal,
        "arousal_bold": what.in_scanner.arousal,
        "r_peak": what.under_cap.r_peaks,
        "r_peak_eeg_time": clocks.to_eeg(what.under_cap.r_peaks),
        "volume_time": kept,
        "volume_eeg_time": clocks.to_eeg(kept),
        "marker_sample": clocks.marker_sample,
        "motion": what.in_scanner.motion,
        "motion_eeg": what.under_cap.motion,
        "event_onset": what.events.onset,
        "event_duration": what.events.duration,
        "event_condition": np.array(what.events.condition),
        "response": what.scan.response,
        "response_fine": what.responses,
        "region": np.array([region.name for region in head.REGIONS]),
        "epi_affine": what.scan.affine,
        "epi_to_mni": what.to_mni,
    }


def _facts(label: str, what: Truth) -> dict[str, Any]:
    clocks, size = what.clocks, what.size
    driven = {region.name: bool(row.any()) for region, row in zip(head.REGIONS, what.responses, strict=True)}
    return {
        "format": FORMAT,
        "label": label,
        "parameters": what.parameters,
        "effects": EFFECTS.as_dict(),
        "size": asdict(size),
        "clock": {
            "offset_s": clocks.offset_s,
            "drift_ppm": clocks.drift_ppm,
            "sampling_hz": clocks.sampling_hz,
            "samples": clocks.samples,
            "dummies": clocks.dummies,
            "meaning": "eeg_time = offset_s + (1 + drift_ppm * 1e-6) * scanner_time",
        },
        "planted": clocks.planted,
        "clean_eeg": {"sampling_hz": CLEAN_HZ, "start_s": what.clean.start_s, "clock": "scanner", "units": "V"},
        "motion": {
            "parameter": ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"],
            "centre": [float(c) for c in what.scan.centre],
            "meaning": "T(centre + trans) Rz Ry Rx T(-centre): head in volume 0 to head in the volume; mm, rad",
        },
        "regions": [
            {**asdict(region), "label": number, "driven": driven[region.name]}
            for number, region in enumerate(head.REGIONS, start=1)
        ],
        "epi_to_mni": what.to_mni.tolist(),
    }
