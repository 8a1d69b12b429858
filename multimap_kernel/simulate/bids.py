"""One session as BIDS files. Writing the same session twice gives the same bytes."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from multimap_kernel.simulate.clocks import Clocks
from multimap_kernel.simulate.eeg import LINE_HZ, REFERENCE, Topographies
from multimap_kernel.simulate.latents import CONDITIONS, Array, Events
from multimap_kernel.simulate.sizes import HARDWARE_LOWPASS_HZ, RESOLUTION_V

VOLUME_MARKER = ("Response", "R128")
SYNC_MARKER = ("SyncStatus", "Sync On")
STIMULUS = {name: ("Stimulus", f"S{number:3d}") for number, name in enumerate(CONDITIONS, start=1)}
BOLD_SLOPE = 0.1
LEVEL = 1  # of gzip: noise does not get smaller by trying harder

README = """Simulated EEG-fMRI

Made by the simulator of multimap; no person was recorded. EEG and BOLD with the same entities were recorded at once.
What was put in (effects, regions, clean EEG, clocks, motion) is in sourcedata/truth.
"""

Row = tuple[str, Mapping[str, Any]]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with a newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Tab-separated table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def merge_table(path: Path, columns: Sequence[str], row: Sequence[Any]) -> None:
    """Add a row to a table that sessions share, or replace the row with the same first cell; sorted."""
    rows = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = {line[0]: line for line in list(csv.reader(file, delimiter="\t"))[1:]}
    rows[str(row[0])] = [str(cell) for cell in row]
    write_table(path, columns, [rows[name] for name in sorted(rows)])


def write_image(
    path: Path, values: NDArray[Any], affine: Array, *, repetition_time: float = 0.0, slope: float = 1.0
) -> None:
    """NIfTI with sform and qform; ``values`` come as (z, y, x) or (time, z, y, x) and are stored as integers."""
    stored = values if values.dtype == np.uint8 else np.clip(np.rint(values / slope), 0, 32767).astype(np.int16)
    image = nib.Nifti1Image(stored.transpose(), affine)  # (x, y, z, time) in Fortran order: no copy
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_slope_inter(slope, 0.0)
    image.header.set_xyzt_units("mm", "sec")
    if repetition_time:
        image.header.set_zooms((*image.header.get_zooms()[:3], repetition_time))
    path.parent.mkdir(parents=True, exist_ok=True)
    head = image.header.copy()
    head["magic"], head["vox_offset"] = b"n+1", 352
    with path.open("wb") as raw, gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as file:
        file.write(head.binaryblock + b"\0\0\0\0")
        file.write(np.ascontiguousarray(stored).data)


def write_brainvision(
    stem: Path, channels: Sequence[str], counts: NDArray[np.int16], clocks: Clocks, events: Events
) -> None:
    """Header, markers and multiplexed 16-bit integers; ``counts`` are (time, channel)."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    interval = 1e6 / clocks.sampling_hz
    head = ["Brain Vision Data Exchange Header File Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    head += [
        f"DataFile={stem.name}.eeg",
        f"MarkerFile={stem.name}.vmrk",
        "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED",
    ]
    head += [f"NumberOfChannels={len(channels)}", f"SamplingInterval={interval:g}", "", "[Binary Infos]"]
    head += ["BinaryFormat=INT_16", "", "[Channel Infos]"]
    for number, name in enumerate(channels, start=1):
        reference = "" if name == "ECG" else REFERENCE
        head.append(f"Ch{number}={name},{reference},{RESOLUTION_V * 1e6:g},µV")
    Path(f"{stem}.vhdr").write_text("\n".join(head) + "\n", encoding="utf-8")
    lines = ["Brain Vision Data Exchange Marker File, Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    lines += [f"DataFile={stem.name}.eeg", "", "[Marker Infos]", "Mk1=New Segment,,1,1,0,20240101120000000000"]
    for number, (sample, (kind, label)) in enumerate(markers(clocks, events), start=2):
        lines.append(f"Mk{number}={kind},{label},{sample + 1},1,0")  # BrainVision counts samples from 1
    Path(f"{stem}.vmrk").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path(f"{stem}.eeg").write_bytes(counts.astype("<i2", copy=False).tobytes())


def markers(clocks: Clocks, events: Events) -> list[tuple[int, tuple[str, str]]]:
    """Samples (from 0), kinds and labels of all markers, in order of time."""
    found = [(int(sample), VOLUME_MARKER) for sample in clocks.marker_sample]
    for at, name in zip(clocks.to_eeg(events.onset), events.condition, strict=True):
        sample = int(np.ceil(at * clocks.sampling_hz))
        if 0 <= sample < clocks.samples:
            found.append((sample, STIMULUS[name]))
    if clocks.drift_ppm == 0:  # the device reports a common clock every 2 s
        found += [(sample, SYNC_MARKER) for sample in range(0, clocks.samples, round(2 * clocks.sampling_hz))]
    return sorted(found)


def write_eeg_sidecars(
    stem: Path, root: Path, task: str, channels: Sequence[str], maps: Topographies, clocks: Clocks, events: Events
) -> None:
    """``*_eeg.json``, ``*_channels.tsv``, ``*_events.tsv``, and (stem ``root``) electrodes and coordsystem."""
    hz = clocks.sampling_hz
    content = {
        "TaskName": task,
        "SamplingFrequency": hz,
        "EEGReference": REFERENCE,
        "EEGGround": "AFz",
        "PowerLineFrequency": LINE_HZ,
        "SoftwareFilters": "n/a",
        "HardwareFilters": {"lowpass": {"cutoff (Hz)": HARDWARE_LOWPASS_HZ if hz > 1000 else 100}},
        "RecordingType": "continuous",
        "RecordingDuration": clocks.samples / hz,
        "EEGChannelCount": len(channels) - 1,
        "ECGChannelCount": 1,
        "EOGChannelCount": 0,
        "EMGChannelCount": 0,
        "MiscChannelCount": 0,
        "TriggerChannelCount": 0,
        "EEGPlacementScheme": "10-20",
        "Manufacturer": "simulated",
    }
    write_json(Path(f"{stem}_eeg.json"), content)
    kinds = [(name, "ECG" if name == "ECG" else "EEG", "µV", f"{hz:g}", "good") for name in channels]
    write_table(Path(f"{stem}_channels.tsv"), ("name", "type", "units", "sampling_frequency", "status"), kinds)
    rows = [(f"{s / hz:.6f}", 0, label, label, s) for s, (_, label) in markers(clocks, events)]
    write_table(Path(f"{stem}_events.tsv"), ("onset", "duration", "trial_type", "value", "sample"), rows)
    position = [f"{x:.2f}\t{y:.2f}\t{z:.2f}" for x, y, z in maps.position * 1000]
    electrodes = zip((*channels[:-1], "ECG"), (*position, "n/a\tn/a\tn/a"), strict=True)
    write_table(Path(f"{root}_electrodes.tsv"), ("name", "x", "y", "z"), electrodes)
    landmarks = {name: [round(float(c) * 1000, 2) for c in maps.landmark[name.lower()]] for name in ("LPA", "RPA")}
    landmarks["NAS"] = [round(float(c) * 1000, 2) for c in maps.landmark["nasion"]]
    system = {
        "EEGCoordinateSystem": "CapTrak",
        "EEGCoordinateUnits": "mm",
        "AnatomicalLandmarkCoordinates": landmarks,
        "AnatomicalLandmarkCoordinateSystem": "CapTrak",
        "AnatomicalLandmarkCoordinateUnits": "mm",
    }
    write_json(Path(f"{root}_coordsystem.json"), system)


def write_bold_sidecars(
    stem: Path, task: str, repetition_time: float, slice_time: Array, events: Events, dummies: int
) -> None:
    """``*_bold.json`` and ``*_events.tsv``."""
    content: dict[str, Any] = {
        "TaskName": task,
        "RepetitionTime": repetition_time,
        "SliceTiming": [round(float(at), 6) for at in slice_time],
        "SliceEncodingDirection": "k",
        "EchoTime": 0.03,
        "FlipAngle": 77,
        "MagneticFieldStrength": 3,
        "PhaseEncodingDirection": "j-",
        "Manufacturer": "simulated",
    }
    if dummies:
        content["NumberOfVolumesDiscardedByScanner"] = dummies
    write_json(Path(f"{stem}_bold.json"), content)
    rows = zip(events.onset, events.duration, events.condition, strict=True)
    write_table(Path(f"{stem}_events.tsv"), ("onset", "duration", "trial_type"), rows)


def write_study(study: Path, subject: str) -> None:
    """Files that a study has once; sessions that come later add their subject."""
    description = {
        "Name": "Simulated EEG-fMRI",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["multimap"],
        "GeneratedBy": [{"Name": "multimap simulate"}],
    }
    if not (study / "dataset_description.json").exists():
        write_json(study / "dataset_description.json", description)
        (study / "README").write_text(README, encoding="utf-8")
    merge_table(study / "participants.tsv", ("participant_id",), (f"sub-{subject}",))
