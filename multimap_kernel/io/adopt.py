"""Loose files become a BIDS session: copied under their new names, described, never changed."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from mne_bids import make_dataset_description
from mne_bids.copyfiles import copyfile_eeglab

from multimap_kernel.io import brainvision
from multimap_kernel.io.bids import Session
from multimap_kernel.io.eeg import read_eeg
from multimap_kernel.io.events import read_events
from multimap_kernel.io.files import localise, name, read_bytes
from multimap_kernel.io.layout import EEG_ENDINGS
from multimap_kernel.io.nifti import read_anatomy, read_bold, sidecar_beside
from multimap_kernel.schema import InputError, sampling

MAT_COMMENT = 116
"""Bytes of free text at the start of a MAT file."""


def adopt(
    eeg: str,
    bold: str,
    *,
    anatomy: str = "",
    events: str = "",
    subject: str,
    task: str,
    session: str = "",
    run: str = "",
    out: str | Path,
) -> Path:
    """Make a BIDS session from loose files.

    Parameters
    ----------
    eeg
        BrainVision header (``.vhdr``), EDF, BDF or EEGLAB file (``.set``); files that belong to it are found, also
        where a header names them wrongly.
    bold
        ``.nii`` or ``.nii.gz``; a ``.json`` of the same name beside it becomes the sidecar.
    anatomy
        T1-weighted image.
    events
        BIDS ``events.tsv`` whose onsets count from the first volume.
    subject, task, session, run
        Labels: letters and digits; the last two may be empty.
    out
        Folder of the study, on this machine; made if it is not there.

    Returns
    -------
    The study. Its ``eeg`` and ``func`` folders hold copies of the recordings, ``_eeg.json``, ``_channels.tsv``,
    ``_bold.json`` and ``_events.tsv``. The first run of a subject, or of its session, appears whole in one rename. Of
    another run the two recordings appear last. The same adoption again completes one that was killed, and changes
    nothing of a whole one; what was killed leaves a folder ``.adopt-*`` in the study, which may be deleted.

    Raises
    ------
    InputError
        If a label or a file cannot be used, or another file has one of the names. Nothing is written then.
    """
    labels = {"subject": subject, "session": session, "task": task, "run": run}
    for entity, label in labels.items():
        if not re.fullmatch(r"[0-9a-zA-Z]+" if entity in ("subject", "task") else r"[0-9a-zA-Z]*", label):
            raise InputError(f"{entity} must be letters and digits, found {label!r}; BIDS allows nothing else")
    wanted = Session(subject, session, task, run)
    recording, volumes = read_eeg(eeg), read_bold(bold)
    image = read_anatomy(anatomy) if anatomy else None
    known = read_events(events) if events else None
    study = Path(out)
    study.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=study, prefix=".adopt-") as folder:
        staging = Path(folder) / "new"  # with the rights of any folder
        staging.mkdir()
        _write_eeg(staging, wanted, eeg, recording)
        _write_bold(staging, wanted, bold, volumes)
        if known is not None:
            _copy(events, staging / "func" / f"{wanted.label}_events.tsv")
        if image is not None:
            stem = f"sub-{subject}_ses-{session}" if session else f"sub-{subject}"
            _copy(anatomy, staging / "anat" / f"{stem}_T1w{_ending(anatomy)}")
        target = study / f"sub-{subject}" / (f"ses-{session}" if session else "")
        _refuse_others(staging, target, {"T1w": anatomy, "events": events, "bold": bold, "eeg": eeg, "channels": eeg})
        _publish(staging, target)
    _describe(study, wanted)
    return study


def _write_eeg(staging: Path, session: Session, eeg: str, ds: xr.Dataset) -> None:
    stem = staging / "eeg" / f"{session.label}_eeg"
    stem.parent.mkdir()
    ending = "." + eeg.lower().rpartition(".")[2]
    if ending == ".vhdr":
        _copy_brainvision(eeg, stem)
    elif ending == ".set":
        copyfile_eeglab(str(localise(eeg)), f"{stem}.set")  # it sets the name of the .fdt anew
        if Path(f"{stem}.fdt").exists():
            _untimed(Path(f"{stem}.set"))
    else:
        _copy(eeg, Path(f"{stem}{ending}"))
    types = ds["channel_type"].values
    counted = {
        f"{kind.upper()}ChannelCount": int(np.count_nonzero(types == kind)) for kind in ("eeg", "ecg", "eog", "misc")
    }
    _, frequency, samples = sampling(ds)
    facts = {
        "TaskName": session.task,
        "SamplingFrequency": frequency,
        "EEGReference": "n/a",
        "PowerLineFrequency": "n/a",
        "SoftwareFilters": "n/a",
        "RecordingType": "continuous",
        "RecordingDuration": samples / frequency,
        **counted,
    }
    _write_json(Path(f"{stem}.json"), facts)
    rows = [f"{channel}\t{kind.upper()}\tV" for channel, kind in zip(ds["channel"].values, types, strict=True)]
    table = staging / "eeg" / f"{session.label}_channels.tsv"
    table.write_text("\n".join(["name\ttype\tunits", *rows]) + "\n", encoding="utf-8")


def _copy_brainvision(eeg: str, stem: Path) -> None:
    """Copy the triplet; only the names of the files inside the two headers change."""
    header = brainvision.read_header(eeg)
    names = {b"DataFile": f"{stem.name}.eeg", b"MarkerFile": f"{stem.name}.vmrk"}
    for url, ending in ((eeg, ".vhdr"), (header.markers, ".vmrk")):
        content = read_bytes(url)
        for key, new in names.items():
            content = re.sub(rb"(?m)^" + key + rb"\s*=[^\r\n]*", key + b"=" + new.encode(), content)
        Path(f"{stem}{ending}").write_bytes(content)
    _copy(header.data, Path(f"{stem}.eeg"))


def _untimed(written: Path) -> None:
    """Take the time of writing out of a MAT file's first line, a comment: the same input gives the same bytes."""
    with written.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, laid out by multimap adopt".ljust(MAT_COMMENT))


def _write_bold(staging: Path, session: Session, bold: str, ds: xr.Dataset) -> None:
    _copy(bold, staging / "func" / f"{session.label}_bold{_ending(bold)}")
    facts = {**sidecar_beside(bold), "TaskName": session.task, "RepetitionTime": ds.attrs["repetition_time"]}
    _write_json(staging / "func" / f"{session.label}_bold.json", facts)


def _refuse_others(staging: Path, target: Path, sources: Mapping[str, str]) -> None:
    """Refuse where the study has other content under a new file's name, or the same thing with another ending."""
    new = {target / path.relative_to(staging): path for path in _files(staging)}
    for place, path in new.items():
        stem = place.name.partition(".")[0]
        others = [there for there in sorted(place.parent.glob(f"{stem}.*")) if there not in new]
        others = [there for there in others if there.suffix not in (".json", ".tsv")]
        if place.exists() and not filecmp.cmp(place, path, shallow=False):
            others.insert(0, place)
        if others:
            kind = stem.rpartition("_")[2]
            again = (
                "leave it out, and the study keeps its own" if kind == "T1w" else "give another run or session label"
            )
            raise InputError(
                f"{sources[kind]} must be the same as {others[0]}, which is there already, found another file; {again}"
            )


def _publish(staging: Path, target: Path) -> None:
    """Move the new files to their places."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        staging.replace(target)  # whole
    except OSError:  # the subject, or its session, has other runs
        for path in sorted(_files(staging), key=_is_recording):
            new = target / path.relative_to(staging)
            new.parent.mkdir(parents=True, exist_ok=True)
            path.replace(new)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_recording(path: Path) -> bool:
    """Whether a study has a session by this file."""
    return path.name.endswith(tuple(f"_eeg{ending}" for ending in EEG_ENDINGS)) or "_bold.nii" in path.name


def _describe(study: Path, session: Session) -> None:
    if not (study / "dataset_description.json").exists():
        make_dataset_description(path=study, name=study.resolve().name, verbose="ERROR")
    readme = study / "README"
    if not any(study.glob("README*")):
        readme.write_text("Simultaneous EEG-fMRI, laid out by multimap adopt.\n", encoding="utf-8")
    participants = study / "participants.tsv"
    if not participants.exists():
        participants.write_text("participant_id\n", encoding="utf-8")
    known = participants.read_text(encoding="utf-8")
    identifier = f"sub-{session.subject}"
    if identifier not in {line.split("\t")[0] for line in known.splitlines()}:
        columns = known.splitlines()[0].count("\t")
        row = identifier + "\tn/a" * columns + "\n"
        participants.write_text(known.rstrip("\n") + "\n" + row, encoding="utf-8")


def _ending(image: str) -> str:
    return ".nii.gz" if name(image).endswith(".gz") else ".nii"


def _copy(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(localise(url), target)


def _write_json(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
