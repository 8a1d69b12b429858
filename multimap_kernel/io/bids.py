"""A BIDS study as a list of sessions: which EEG belongs to which BOLD, and what is missing.

BIDS has no word for "simultaneous" [1]_: runs are paired by their entities, or by an explicit ``pairs.tsv``.

References
----------
.. [1] bids-standard/bids-specification, issues 86, 1324 and 2362.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.io.eeg import read_eeg
from multimap_kernel.io.events import read_events
from multimap_kernel.io.files import exists, name, read_json, read_table
from multimap_kernel.io.header import read_header
from multimap_kernel.io.inflate import inflate, looks_whole
from multimap_kernel.io.layout import IMAGE_ENDINGS, File, acquisition_times, applicable, list_files, modality
from multimap_kernel.io.nifti import read_anatomy, read_bold
from multimap_kernel.schema import InputError, sampling
from multimap_kernel.schema.values import Value

NEAR_S = 1800.0
"""Two runs that began within this time may be one: evidence that is told, never used."""

WARNING = "Warning: "
"""How a sentence begins that does not keep the session from being used."""
NO_VOLUME = ("New Segment", "boundary", "BAD boundary", "EDGE boundary")
RAW_HZ = 2000.0
"""Below this sampling frequency, the gradient artifact cannot be taken out of a raw recording."""


@dataclass(frozen=True)
class Session(Value):
    """One BIDS subject, session, task and run with both recordings.

    Parameters
    ----------
    subject, session, task, run
        Entities, always text ("01"); empty if the names do not have them.
    eeg, bold, events, electrodes, anatomy
        Paths or URLs; empty if missing. ``events`` are those of the BOLD run, ``anatomy`` is the subject's T1w.
    sidecar
        The BOLD run's JSON, inheritance applied.
    problems
        Sentences on what keeps this session from being used; empty if nothing does.
    """

    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    eeg: str = ""
    bold: str = ""
    events: str = ""
    electrodes: str = ""
    anatomy: str = ""
    sidecar: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Such as ``sub-01_ses-a_task-rest_run-1``."""
        return "_".join(self._parts())

    @property
    def path(self) -> str:
        """Place in the store, such as ``sub-01/ses-a/task-rest_run-1``."""
        parts = self._parts()
        folders = 1 + bool(self.session)
        return "/".join((*parts[:folders], "_".join(parts[folders:])))

    def _parts(self) -> list[str]:
        given = (("sub", self.subject), ("ses", self.session), ("task", self.task), ("run", self.run))
        return [f"{entity}-{value}" for entity, value in given if value]


def find_sessions(study: str, *, pairs: str = "") -> tuple[Session, ...]:
    """List the sessions of a BIDS study, whole or not.

    Parameters
    ----------
    study
        Path or URL of the study. Only ``sub-*`` folders are looked into: not ``derivatives``, not ``sourcedata``.
    pairs
        Table with the columns ``eeg`` and ``bold`` (paths inside the study), for runs whose names differ; its own
        path may be inside the study. The session gets the entities of the BOLD run. Files that it names are paired
        by it alone, all others by subject, session, task and run.

    Returns
    -------
    Sessions in the order of their labels. A run of one modality, a name that fits several files, or a sidecar that
    cannot be read is a session with ``problems``.

    Raises
    ------
    InputError
        If the study has no ``sub-*`` folder, or ``pairs`` is not a table of two files per row.
    """
    files = list_files(study)
    named = _named_pairs(study, pairs, files) if pairs else []
    taken = {file.url for pair in named for file in pair}
    runs: dict[tuple[str, str, str, str], tuple[list[File], list[File]]] = defaultdict(lambda: ([], []))
    for file in files:
        if file.url not in taken and (kind := modality(file)) is not None:
            runs[file.key][kind].append(file)
    found = [_session(files, bold.key, [eeg], [bold]) for eeg, bold in named]
    hints = _hints(files, runs)
    for key, (eegs, bolds) in runs.items():
        found.append(_session(files, key, eegs, bolds, hints))
    return tuple(sorted(_unique(found), key=lambda session: session.label))


def _session(
    files: list[File],
    key: tuple[str, str, str, str],
    eegs: list[File],
    bolds: list[File],
    hints: Mapping[str, str] | None = None,
) -> Session:
    session = Session(*key, problems=tuple(_unpaired(eegs, bolds, hints or {})))
    if eegs:
        electrodes = applicable(files, eegs[0], "electrodes", ".tsv", free=("space",))
        session = replace(session, eeg=eegs[0].url, electrodes=electrodes[-1].url if electrodes else "")
    if bolds:
        events = applicable(files, bolds[0], "events", ".tsv")
        sidecar, faults = _sidecar(files, bolds[0])
        session = replace(
            session,
            bold=bolds[0].url,
            events=events[-1].url if events else "",
            sidecar=sidecar,
            problems=(*session.problems, *faults),
        )
    return replace(session, anatomy=_anatomy(files, session))


def _unpaired(eegs: list[File], bolds: list[File], hints: Mapping[str, str]) -> Iterable[str]:
    if eegs and not bolds:
        yield (
            f"EEG without BOLD: {eegs[0].place} has no func/*_bold.nii.gz of the same subject, session, task and run; "
            f"add it, or name the pair in pairs.tsv.{hints.get(eegs[0].url, '')}"
        )
    if bolds and not eegs:
        yield (
            f"BOLD without EEG: {bolds[0].place} has no eeg/*_eeg of the same subject, session, task and run; "
            f"add it, or name the pair in pairs.tsv.{hints.get(bolds[0].url, '')}"
        )
    for kind, several in (("EEG", eegs), ("BOLD", bolds)):
        if len(several) > 1:
            places = ", ".join(sorted(file.place for file in several))
            yield (
                f"Several {kind} files have the same subject, session, task and run: {places}; "
                "name the pair in pairs.tsv."
            )


def _sidecar(files: list[File], bold: File) -> tuple[dict[str, Any], list[str]]:
    merged: dict[str, Any] = {}
    faults = []
    for file in applicable(files, bold, "bold", ".json"):
        try:
            merged |= read_json(file.url)
        except InputError as fault:
            faults.append(f"{fault}.")
    return merged, faults


def _anatomy(files: list[File], session: Session) -> str:
    images = [
        file
        for file in files
        if file.suffix == "T1w" and file.ending in IMAGE_ENDINGS and file.entities.get("sub") == session.subject
    ]
    images.sort(key=lambda f: (f.entities.get("ses", "") != session.session, len(f.entities), f.url))
    return images[0].url if images else ""


def _named_pairs(study: str, pairs: str, files: list[File]) -> list[tuple[File, File]]:
    url = pairs if exists(pairs) else posixpath.join(study, pairs)
    known = {file.place: file for file in files}
    found = []
    for row in read_table(url, "eeg", "bold"):
        missing = [row[kind] for kind in ("eeg", "bold") if row[kind] not in known]
        if missing:
            raise InputError(f"{url} must name files of the study, found no {missing}; paths start with sub-")
        found.append((known[row["eeg"]], known[row["bold"]]))
    return found


def _hints(
    files: list[File], runs: Mapping[tuple[str, str, str, str], tuple[list[File], list[File]]]
) -> dict[str, str]:
    """For each run of one modality, the sentence on a run of the other that began at about the same time."""
    began = acquisition_times(files)
    alone = [
        (kind, several[0])
        for pair in runs.values()
        for kind, several in enumerate(pair)
        if several and not pair[1 - kind]
    ]
    hints = {}
    for kind, file in alone:
        near = [
            (abs((began[file.place] - began[other.place]).total_seconds()), other.place)
            for other_kind, other in alone
            if other_kind != kind and other.key[0] == file.key[0] and {file.place, other.place} <= began.keys()
        ]
        if near and min(near)[0] <= NEAR_S:
            apart, place = min(near)
            hints[file.url] = f" By acq_time, {place} began {apart:.0f} s apart from it: is that the pair?"
    return hints


def _unique(sessions: list[Session]) -> list[Session]:
    seen: dict[str, int] = defaultdict(int)
    for session in sessions:
        seen[session.label] += 1
    told = "{} has several pairs of recordings; each needs its own subject, session, task and run."
    return [
        replace(session, problems=(*session.problems, told.format(session.label)))
        if seen[session.label] > 1
        else session
        for session in sessions
    ]


def check_session(session: Session) -> tuple[str, ...]:
    """Look at the headers of a session before anything is computed.

    Parameters
    ----------
    session
        One of `find_sessions`.

    Returns
    -------
    Sentences that name the file: first its ``problems``, then what its headers show: files that are missing or cut,
    an unknown repetition time, markers that are missing or do not repeat with the volumes, an EEG shorter than the
    scan, events after its end. Those that begin with `WARNING` do not keep the session from being used. No data are
    read, but for a ``.nii.gz`` whose stated length is wrong (it is inflated to see) and the status channel of a BDF.
    """
    found = list(session.problems)
    bold = _try(found, session.bold, lambda: read_bold(session.bold, sidecar=session.sidecar))
    if bold is not None:
        _try(found, session.bold, lambda: _whole(session.bold))
    eeg = _try(found, session.eeg, lambda: read_eeg(session.eeg, electrodes=session.electrodes))
    _try(found, session.anatomy, lambda: read_anatomy(session.anatomy))
    scan_s = None if bold is None else bold.sizes["time"] * float(bold.attrs["repetition_time"])
    _try(found, session.events, lambda: read_events(session.events, scan_s=scan_s))
    if eeg is not None:
        found += _compare(name(session.eeg), eeg, bold)
    return tuple(found)


def _try(found: list[str], url: str, read: Callable[[], xr.Dataset | None]) -> xr.Dataset | None:
    if not url:
        return None
    try:
        ds = read()
    except InputError as fault:
        found.append(f"{fault}.")
        return None
    if ds is not None:
        found.extend(f"{WARNING}{text}." for text in ds.attrs.get("warnings", ()))
    return ds


def _whole(url: str) -> None:
    header = read_header(url)
    if header.compressed and not looks_whole(url, header.length):
        inflate(url, None, header.length)


def _compare(file: str, eeg: xr.Dataset, bold: xr.Dataset | None) -> list[str]:
    _, frequency, samples = sampling(eeg)
    onsets, labels = eeg["marker_onset"].values, eeg["marker_label"].values
    told = []
    if frequency < RAW_HZ:
        told.append(
            f"{WARNING}{file} is sampled at {frequency:g} Hz; a raw recording from the scanner needs {RAW_HZ:g} Hz "
            "or more, so it must have been cleaned before."
        )
    if not np.isin(labels, NO_VOLUME, invert=True).any():
        return [*told, f"{file} must hold the markers of the volumes, found none; export them with the recording."]
    if bold is None:
        return told
    seconds, volumes = float(bold.attrs["repetition_time"]), bold.sizes["time"]
    if samples / frequency < volumes * seconds:
        told.append(
            f"{WARNING}{file} lasts {samples / frequency:.1f} s, the scan {volumes * seconds:.1f} s; "
            "volumes after its end will have no EEG."
        )
    periodic = {
        label: np.count_nonzero(labels == label)
        for label in np.unique(labels)
        if _repeats(onsets[labels == label], seconds)
    }
    if not periodic:
        told.append(
            f"{WARNING}no marker of {file} repeats every {seconds:g} s; found {sorted(map(str, np.unique(labels)))}."
        )
    elif volumes not in periodic.values():
        counts = ", ".join(f"{count} of {label}" for label, count in periodic.items())
        told.append(f"{WARNING}{file} has {counts} for {volumes} volumes.")
    return told


def _repeats(onsets: np.ndarray, seconds: float) -> bool:
    return onsets.size > 1 and abs(float(np.median(np.diff(np.sort(onsets)))) - seconds) < 0.01 * seconds
