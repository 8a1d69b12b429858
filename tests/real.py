"""Real recordings laid out as BIDS: real EEG at 5 kHz with volume markers, beside real BOLD of somebody else."""

import json
import shutil
from pathlib import Path

import mne
import numpy as np
from scipy.signal import resample_poly

REPETITION_TIME = 2.5
VOLUMES = 121
OFFSET_S, DRIFT_PPM, JITTER_S = 1.2345, 8.0, 20e-6
SAMPLING = 5_000.0
CATEGORIES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")


def real_eeg(shared_data: Path) -> tuple[np.ndarray, list[str]]:
    """20 EEG channels and an ECG, (channel, time) in V, brought from 500 Hz to 5 kHz; 182 s."""
    raw = mne.io.read_raw_edf(shared_data / "physionet_eeg" / "Subject00_1.edf", verbose="error")
    names = [name.removeprefix("EEG ").removesuffix("-REF").replace("ECG ECG", "ECG").strip() for name in raw.ch_names]
    return resample_poly(raw.get_data().astype(np.float32), 10, 1, axis=1), names


def write_brainvision(folder: Path, stem: str, values: np.ndarray, names: list[str], markers: np.ndarray) -> None:
    """Write int16 counts of 0.1 µV, multiplexed, with R128 markers at these samples."""
    counts = np.clip(np.round(values.T * 1e7), -32_768, 32_767).astype("<i2")
    counts.tofile(folder / f"{stem}.eeg")
    write_header(folder, stem, names, markers)


def write_header(folder: Path, stem: str, names: list[str], markers: np.ndarray) -> None:
    """Write header and marker file of a recording of int16 counts of 0.1 µV."""
    channels = "\n".join(f"Ch{i + 1}={name},,0.1,µV" for i, name in enumerate(names))
    (folder / f"{stem}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / SAMPLING:g}\n\n[Binary Infos]\n"
        f"BinaryFormat=INT_16\n\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    lines = "\n".join(f"Mk{i + 2}=Response,R128,{sample + 1},1,0" for i, sample in enumerate(markers))
    (folder / f"{stem}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20260101120000000000\n{lines}\n",
        encoding="utf-8",
    )


def lay_out(shared_data: Path, study: Path, image: str, runs: tuple[int, ...]) -> Path:
    """A BIDS study of Haxby's runs (``1slice`` or ``25mm``), each beside the same real EEG."""
    values, names = real_eeg(shared_data)
    grid = np.arange(VOLUMES) * REPETITION_TIME * (1 + DRIFT_PPM * 1e-6) + OFFSET_S
    jitter = np.random.default_rng(0).normal(0.0, JITTER_S, VOLUMES)
    markers = np.round((grid + jitter) * SAMPLING).astype(int)
    markers = markers[markers < values.shape[1]]
    eeg, func = study / "sub-01" / "eeg", study / "sub-01" / "func"
    eeg.mkdir(parents=True)
    func.mkdir(parents=True)
    description = {"Name": "real EEG and real BOLD of two people", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (study / "dataset_description.json").write_text(json.dumps(description))
    (study / "task-objects_bold.json").write_text(
        json.dumps({"TaskName": "objects", "RepetitionTime": REPETITION_TIME})
    )
    for run in runs:
        stem = f"sub-01_task-objects_run-{run:02d}"
        source = shared_data / "haxby_pymvpa" / "haxby2001" / "sub001" / "BOLD" / f"task001_run{run:03d}"
        shutil.copyfile(source / f"bold_{image}.nii.gz", func / f"{stem}_bold.nii.gz")
        shutil.copyfile(source / "bold_events.tsv", func / f"{stem}_events.tsv")
        write_brainvision(eeg, f"{stem}_eeg", values, names, markers)
        about = {"TaskName": "objects", "SamplingFrequency": SAMPLING, "EEGReference": "unknown"}
        about |= {"PowerLineFrequency": 50, "SoftwareFilters": "n/a"}
        (eeg / f"{stem}_eeg.json").write_text(json.dumps(about))
    return study
