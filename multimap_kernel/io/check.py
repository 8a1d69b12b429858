"""What the headers of a session show before anything is computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from multimap_kernel.io.bids import Session
from multimap_kernel.io.eeg import read_eeg
from multimap_kernel.io.events import read_events
from multimap_kernel.io.files import name
from multimap_kernel.io.header import read_header
from multimap_kernel.io.inflate import inflate, looks_whole
from multimap_kernel.io.nifti import read_anatomy, read_bold
from multimap_kernel.schema import (
    CONCENTRATION,
    LEAST_MARKERS,
    RIVALS,
    InputError,
    may_mark_volumes,
    mean_phase,
    sampling,
)

WARNING = "Warning: "
"""How a sentence begins that does not keep the session from being used."""
RAW_HZ = 2000.0
"""Below this sampling frequency, the gradient artifact cannot be taken out of a raw recording."""


def check_session(session: Session, *, marker: str = "") -> tuple[str, ...]:
    """Look at the headers of a session before anything is computed.

    Parameters
    ----------
    session
        One of `find_sessions`.
    marker
        Label of the volume marker, as the recipe's ``align.marker`` says; empty: not named.

    Returns
    -------
    Sentences that name the file: first its ``problems``, then what its headers show: files that are missing or cut,
    an unknown repetition time, markers that are missing or do not repeat with the volumes, an EEG shorter than the
    scan, events after its end. Those that begin with `WARNING` do not keep the session from being used; people's
    decisions on markers and repetition time, which may mend it, are not asked. No data are read, but for a
    ``.nii.gz`` whose stated length is wrong (it is inflated to see) and the status channel of a BDF.
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
        found += _compare(name(session.eeg), eeg, bold, marker.strip())
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


def _compare(file: str, eeg: xr.Dataset, bold: xr.Dataset | None, marker: str) -> list[str]:
    _, frequency, samples = sampling(eeg)
    onsets, labels = eeg["marker_onset"].values, eeg["marker_label"].values
    told = []
    if frequency < RAW_HZ:
        told.append(
            f"{WARNING}{file} is sampled at {frequency:g} Hz; a raw recording from the scanner needs {RAW_HZ:g} Hz "
            "or more, so it must have been cleaned before."
        )
    wanted = [label for label in np.unique(labels).tolist() if (label == marker if marker else may_mark_volumes(label))]
    if not wanted:
        what = f"the marker {marker!r} that align.marker names" if marker else "the markers of the volumes"
        return [*told, f"{file} must hold {what}, found {_counted(labels)}; export them with the recording."]
    if bold is None:
        return told
    seconds, volumes = float(bold.attrs["repetition_time"]), bold.sizes["time"]
    if samples / frequency < volumes * seconds:
        told.append(
            f"{WARNING}{file} lasts {samples / frequency:.1f} s, the scan {volumes * seconds:.1f} s; "
            "volumes after its end will have no EEG."
        )
    periodic = [label for label in wanted if _repeats(onsets[labels == label], seconds, named=bool(marker))]
    counts = [int(np.count_nonzero(labels == label)) for label in periodic]
    if not periodic:
        told.append(
            f"{file} must hold a marker that repeats with the volumes, every {seconds:g} s, found {_counted(labels)}; "
            "name it as align.marker, correct RepetitionTime, or add the scanner's markers."
        )
    elif not marker and np.ptp(_firsts(onsets, labels, periodic, counts)) > 1 / frequency:
        several = _counted(labels[np.isin(labels, periodic)])
        told.append(
            f"{WARNING}several markers of {file} repeat every {seconds:g} s: {several}; name one as align.marker."
        )
    elif volumes not in counts:
        told.append(f"{WARNING}{file} has {_counted(labels[np.isin(labels, periodic)])} for {volumes} volumes.")
    return told


def _firsts(onsets: np.ndarray, labels: np.ndarray, periodic: list[str], counts: list[int]) -> list[float]:
    """First onset of each label that is about as common as the commonest."""
    rivals = [label for label, count in zip(periodic, counts, strict=True) if count >= RIVALS * max(counts)]
    return [float(onsets[labels == label].min()) for label in rivals]


def _counted(labels: np.ndarray) -> str:
    """Such as ``10 of R128, 2 of S 1``, not more than twelve."""
    known, counts = np.unique(labels, return_counts=True)
    told = [f"{count} of {label}" for label, count in zip(known, counts, strict=True)]
    return ", ".join([*told[:12], *["..."][: len(told) > 12]]) or "none"


def _repeats(onsets: np.ndarray, seconds: float, *, named: bool) -> bool:
    """Whether align can take these markers for those of the volumes; what this refuses, align refuses."""
    if onsets.size < LEAST_MARKERS or abs(phase := mean_phase(onsets, seconds)) < CONCENTRATION:
        return False
    volume = np.unique(np.rint(onsets / seconds - np.angle(phase) / (2 * np.pi)))
    return volume.size > 1 and (named or np.median(np.diff(volume)) == 1)
