"""What a channel is and where its electrode lies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import mne
import numpy as np

from multimap_kernel.io.files import exists, name, read_json, read_table, sibling
from multimap_kernel.schema import InputError

BY_NAME = (
    ("ecg", re.compile(r"ecg|ekg|cardio", re.IGNORECASE)),
    ("eog", re.compile(r"eog", re.IGNORECASE)),
    ("misc", re.compile(r"emg|resp|gsr|egg|^acc|cwl|^cw\d|temp|photo|pulse|status|trig|stim", re.IGNORECASE)),
)
"""The first pattern found in a channel's name decides, where nothing else says that it is no EEG channel."""
BY_BIDS = {"EEG": "eeg", "ECG": "ecg", "EKG": "ecg", "EOG": "eog", "VEOG": "eog", "HEOG": "eog"}
MONTAGE = "colin27_1020"
"""The 10-20 positions that MNE called ``standard_1020`` before 1.13."""
MILLIMETRES = {"m": 1e3, "cm": 10.0, "mm": 1.0}
NOSE_IS_X = ("CTF", "EEGLAB", "EEGLAB-HJ", "4DBti", "KitYokogawa")
"""BIDS coordinate systems with x to the nose and y to the left; all others are RAS."""
DRAWABLE = 4
"""Fewer positions make no picture of the head."""


def channel_types(channels: Sequence[str], url: str) -> tuple[np.ndarray, list[str]]:
    """Type of each channel: ``eeg``, ``ecg``, ``eog`` or ``misc``.

    Parameters
    ----------
    channels
        Names.
    url
        The recording; BIDS puts its ``channels.tsv`` beside it.

    Returns
    -------
    ``(channel)`` text, and sentences where a table was overruled: a channel named ECG is no EEG channel.
    """
    table = channels_table(url)
    stated: dict[str, str] = {}
    if table:
        stated = {row["name"]: BY_BIDS.get(row["type"].upper(), "misc") for row in read_table(table, "name", "type")}
    types, told = [], []
    for channel in channels:
        kind = stated.get(channel, "eeg")
        if kind == "eeg":
            kind = next((known for known, pattern in BY_NAME if pattern.search(channel)), "eeg")
            if kind != "eeg" and channel in stated:
                told.append(f"{name(table)} calls {channel} an EEG channel; by its name it is taken as {kind}")
        types.append(kind)
    return np.array(types, dtype=str), told


def channels_table(url: str) -> str:
    """Path or URL of the ``channels.tsv`` beside a recording; empty if there is none."""
    table = sibling(url, re.sub(r"_eeg\.[^.]+$", "_channels.tsv", name(url)))
    return table if table.endswith("_channels.tsv") and exists(table) else ""


def coordinate_system(electrodes: str) -> str:
    """Path or URL of the ``coordsystem.json`` beside an ``electrodes.tsv``; empty if there is none."""
    url = sibling(electrodes, name(electrodes).replace("_electrodes.tsv", "_coordsystem.json"))
    return url if url != electrodes and exists(url) else ""


def positions(channels: Sequence[str], types: Sequence[str], electrodes: str) -> tuple[np.ndarray, list[str]]:
    """Position of each electrode, from ``electrodes.tsv`` or by its name in the 10-20 system.

    Parameters
    ----------
    channels
        Names.
    types
        Type of each; only EEG channels are looked up by name.
    electrodes
        Path or URL of an ``electrodes.tsv``, with its ``coordsystem.json`` beside it; empty: `MONTAGE`.

    Returns
    -------
    ``(channel, world)`` in RAS+ mm, NaN where unknown, and sentences on what was assumed or is unknown.

    Raises
    ------
    InputError
        If the table is missing or is not one of positions.
    """
    if not electrodes:
        montage = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
        known = {label.lower(): 1e3 * np.asarray(place) for label, place in montage.items()}
        found = [known.get(_plain(c)) if kind == "eeg" else None for c, kind in zip(channels, types, strict=True)]
        places = _stack(found)
        return places, _without(channels, types, places)
    rows = read_table(electrodes, "name", "x", "y", "z")
    try:
        table = {row["name"]: np.array([_number(row[axis]) for axis in "xyz"]) for row in rows}
    except ValueError as fault:
        raise InputError(f"{electrodes} must hold numbers or n/a in x, y and z, found: {fault}") from fault
    factor, told = _unit(electrodes, table)
    places = _stack([table.get(channel) for channel in channels]) * factor
    if _system(electrodes).get("EEGCoordinateSystem") in NOSE_IS_X:
        places = np.stack([-places[:, 1], places[:, 0], places[:, 2]], axis=1)
    return places, [*told, *_without(channels, types, places)]


def _without(channels: Sequence[str], types: Sequence[str], places: np.ndarray) -> list[str]:
    """The sentence on EEG channels whose place is unknown."""
    known = dict(zip(channels, np.isfinite(places).all(axis=1), strict=True))
    eeg = [channel for channel, kind in zip(channels, types, strict=True) if kind == "eeg"]
    lost = [channel for channel in eeg if not known[channel]]
    if not lost:
        return []
    listed = ", ".join(lost[:4]) + (", ..." if len(lost) > 4 else "")
    drawn = "leave them out" if len(eeg) - len(lost) >= DRAWABLE else "cannot be drawn"
    told = f"{len(lost)} of {len(eeg)} EEG channels have no position ({listed})"
    return [f"{told}, so that pictures of the head {drawn}; give them in an electrodes.tsv beside the recording"]


def _plain(channel: str) -> str:
    """The electrode's name out of what recorders make of it: ``EEG Fp1-Ref``, ``Fc5.``."""
    return re.sub(r"^eeg\s+|-(ref|le|a1|a2|m1|m2|avg)$|\.+$", "", channel.strip().lower())


def _stack(found: Sequence[np.ndarray | None]) -> np.ndarray:
    return np.array([np.full(3, np.nan) if place is None else place for place in found], np.float64).reshape(-1, 3)


def _number(text: str) -> float:
    return np.nan if text.lower() in ("n/a", "nan") else float(text)


def _system(electrodes: str) -> dict[str, str]:
    url = coordinate_system(electrodes)
    return read_json(url) if url else {}


def _unit(electrodes: str, table: Mapping[str, np.ndarray]) -> tuple[float, list[str]]:
    stated = str(_system(electrodes).get("EEGCoordinateUnits", "n/a"))
    if stated in MILLIMETRES:
        return MILLIMETRES[stated], []
    radii = [float(np.linalg.norm(place)) for place in table.values() if np.isfinite(place).all()]
    middle = float(np.median(radii)) if radii else 100.0
    unit = "m" if middle < 1 else "cm" if middle < 30 else "mm"  # a head's radius: 0.1 m, 10 cm, 100 mm
    return MILLIMETRES[unit], [f"{name(electrodes)} states no unit in its coordsystem.json; by size it is {unit}"]
