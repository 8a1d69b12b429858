"""Small recordings as files, written with nothing of this project."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np


def write_brainvision(
    folder: Path, stem: str, *, counts=None, frequency=5000.0, markers=(), channels=("Fp1", "O1", "ECG"), version=True
) -> Path:
    """A multiplexed INT_16 triplet of 0.5 µV per count; ``markers`` are (type, description, position from 1)."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.zeros((len(channels), 1000), "<i2") if counts is None else counts
    entries = "\n".join(f"Ch{number}={name},,0.5,µV" for number, name in enumerate(channels, 1))
    (folder / f"{stem}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(channels)}\nSamplingInterval={1e6 / frequency:g}\n"
        f"[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n{entries}\n",
        encoding="utf-8",
    )
    lines = "\n".join(f"Mk{n}={kind},{text},{at},1,0" for n, (kind, text, at) in enumerate(markers, 1))
    first = "Brain Vision Data Exchange Marker File, Version 1.0\n" if version else ""
    (folder / f"{stem}.vmrk").write_text(
        f"{first}[Common Infos]\nCodepage=UTF-8\nDataFile={stem}.eeg\n[Marker Infos]\n{lines}\n", encoding="utf-8"
    )
    counts.T.astype("<i2").tofile(folder / f"{stem}.eeg")
    return folder / f"{stem}.vhdr"


def write_image(path: Path, values: np.ndarray, affine=None, *, tr=2.0, sform=1, qform=1, **header) -> Path:
    """A NIfTI image; ``header`` sets fields of the header as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-3.0, 3.0, 4.0, 1.0]) if affine is None else affine
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    for field, value in header.items():
        image.header[field] = value
    image.to_filename(path)
    return path


def write_session(study: Path, subject="01", task="x", volumes=10, tr=2.0, **entities) -> Path:
    """A BIDS session: one marker R128 per volume, an event, a sidecar at the root of the study."""
    session, run = entities.get("session", ""), entities.get("run", "")
    folder = study / f"sub-{subject}" / (f"ses-{session}" if session else "")
    label = "_".join(
        f"{key}-{value}" for key, value in (("sub", subject), ("ses", session), ("task", task), ("run", run)) if value
    )
    step = int(tr * 5000)
    write_brainvision(
        folder / "eeg",
        f"{label}_eeg",
        counts=np.zeros((3, (volumes + 1) * step), "i2"),
        markers=[("Response", "R128", 1 + step // 2 + k * step) for k in range(volumes)],
    )
    values = np.random.default_rng(0).integers(0, 1000, (4, 5, 6, volumes)).astype("i2")
    write_image(folder / "func" / f"{label}_bold.nii.gz", values, tr=tr)
    (folder / "func" / f"{label}_events.tsv").write_text(
        "onset\tduration\ttrial_type\n4.0\t2.0\tgo\n", encoding="utf-8"
    )
    (study / f"task-{task}_bold.json").write_text(
        json.dumps({"RepetitionTime": tr, "TaskName": task}), encoding="utf-8"
    )
    return study
