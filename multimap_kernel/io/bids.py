"""A BIDS study as a list of sessions: which EEG belongs to which BOLD, and what is missing.

BIDS has no word for "simultaneous" [1]_: runs are paired by their entities, or by an explicit ``pairs.tsv``.

References
----------
.. [1] bids-standard/bids-specification, issues 86, 1324 and 2362.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from multimap_kernel.io.files import exists, numbered_rows, read_json
from multimap_kernel.io.layout import IMAGE_ENDINGS, File, acquisition_times, applicable, list_files, modality
from multimap_kernel.schema import InputError
from multimap_kernel.schema.values import Value

NEAR_S = 1800.0
"""Two runs that began within this time may be one: evidence that is told, never used."""


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
        If the study has no ``sub-*`` folder, or ``pairs`` is not a table of an EEG and a BOLD file per row, each BOLD
        run once.
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
    found, lines = [], dict[str, int]()
    for line, row in numbered_rows(url, "eeg", "bold"):
        missing = [row[kind] for kind in ("eeg", "bold") if row[kind] not in known]
        if missing:
            raise InputError(f"{url} must name files of the study, found no {missing}; paths start with sub-")
        for kind, column in enumerate(("eeg", "bold")):
            if modality(known[row[column]]) != kind:
                wanted = "func/*_bold.nii.gz" if kind else "eeg/*_eeg.vhdr, .edf, .bdf or .set"
                raise InputError(
                    f"{url} must name {wanted} as {column} in line {line}, found {row[column]}; "
                    "are the columns swapped?"
                )
        if (before := lines.setdefault(row["bold"], line)) != line:
            raise InputError(
                f"{url} must name each BOLD run once, found {row['bold']} in lines {before} and {line}; "
                "delete one of them"
            )
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
