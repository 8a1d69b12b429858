"""The files of a BIDS study: names taken apart, inheritance, times of acquisition."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import fsspec
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.io.files import name, read_table
from multimap_kernel.schema import InputError

EEG_ENDINGS = (".vhdr", ".edf", ".bdf", ".set")
IMAGE_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True, eq=False)
class File:
    """A file of the study, its BIDS name taken apart."""

    url: str
    folders: tuple[str, ...]
    entities: dict[str, str]
    suffix: str
    ending: str

    @property
    def place(self) -> str:
        """Path inside the study."""
        return "/".join((*self.folders, name(self.url)))

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What EEG and BOLD of one run have in common."""
        subject, session, task, run = (self.entities.get(entity, "") for entity in ("sub", "ses", "task", "run"))
        return subject, session, task, run


def list_files(study: str) -> list[File]:
    """Every file at the top of the study and in its ``sub-*`` folders.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    fs, root = fsspec.core.url_to_fs(study)
    root = root.rstrip("/")
    top = fs.ls(root, detail=True) if fs.isdir(root) else []
    subjects = sorted(e["name"] for e in top if e["type"] == "directory" and name(e["name"].rstrip("/"))[:4] == "sub-")
    if not subjects:
        raise InputError(f"{study} must be a BIDS study with sub-* folders, found none; multimap adopt makes one")
    paths = [entry["name"] for entry in top if entry["type"] != "directory"]
    paths += [path for subject in subjects for path in fs.find(subject)]
    local = isinstance(fs, LocalFileSystem)
    return [_parse(path if local else fs.unstrip_protocol(path), posixpath.relpath(path, root)) for path in paths]


def _parse(url: str, place: str) -> File:
    *folders, last = place.split("/")
    stem, dot, ending = last.partition(".")
    *entities, suffix = stem.split("_")
    pairs = dict(part.split("-", 1) for part in entities if "-" in part)
    return File(url, tuple(folders), pairs, suffix, dot + ending)


def modality(file: File) -> int | None:
    """0 for EEG, 1 for BOLD."""
    folder = file.folders[-1] if file.folders else ""
    if folder == "eeg" and file.suffix == "eeg" and file.ending in EEG_ENDINGS:
        return 0
    if folder == "func" and file.suffix == "bold" and file.ending in IMAGE_ENDINGS:
        return None if file.entities.get("part") == "phase" else 1
    return None


def applicable(files: Iterable[File], target: File, suffix: str, ending: str, free: tuple[str, ...] = ()) -> list[File]:
    """Files that BIDS inheritance applies to a recording, the most specific last."""
    fitting = [
        file
        for file in files
        if file.suffix == suffix
        and file.ending == ending
        and target.folders[: len(file.folders)] == file.folders
        and all(target.entities.get(key) == value for key, value in file.entities.items() if key not in free)
    ]
    return sorted(fitting, key=lambda f: (len(f.folders), len(f.entities), f.entities.get("space") == "CapTrak", f.url))


def acquisition_times(files: Iterable[File]) -> dict[str, datetime]:
    """When each file began, by its place in the study, as ``scans.tsv`` says."""
    began = {}
    for table in files:
        if table.suffix != "scans" or table.ending != ".tsv":
            continue
        for row in read_table(table.url):
            try:
                began["/".join((*table.folders, row["filename"]))] = datetime.fromisoformat(row["acq_time"]).replace(
                    tzinfo=None
                )
            except (KeyError, ValueError):  # n/a, or a date that was shifted out of the calendar: no evidence
                continue
    return began
