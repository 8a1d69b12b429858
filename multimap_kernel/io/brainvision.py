"""BrainVision recordings: header, markers, and samples in blocks, each byte read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np

from multimap_kernel.io.files import exists, identity, name, read_text, read_values, sibling, size
from multimap_kernel.schema import InputError

SAMPLES = 65_536
"""Samples in a block, of all channels."""
VOLTS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "nv": 1e-9, "": 1e-6}
"""Volts per unit; the first μ is the micro sign, the second the Greek letter; no unit means microvolts."""
FORMATS = {"INT_16": "<i2", "UINT_16": "<u2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}


@dataclass(frozen=True, eq=False)
class Header:
    """What a ``.vhdr`` says, and which files belong to it.

    Parameters
    ----------
    url
        The ``.vhdr``.
    data, markers
        The files with samples and markers.
    frequency
        Samples per second, Hz.
    samples
        Samples per channel, from the size of the data file.
    channels
        Names.
    scale
        Volts per count; the channel's own unit for channels that are no potentials.
    volts
        Whether the channel is a potential.
    dtype
        Stored type.
    multiplexed
        Whether all channels of a sample lie together.
    warnings
        What was repaired, in sentences.
    """

    url: str
    data: str
    markers: str
    frequency: float
    samples: int
    channels: tuple[str, ...]
    scale: np.ndarray
    volts: tuple[bool, ...]
    dtype: np.dtype[Any]
    multiplexed: bool
    warnings: tuple[str, ...]


def read_header(url: str) -> Header:
    """Read a ``.vhdr`` and find its data and markers.

    Parameters
    ----------
    url
        Path or URL of the ``.vhdr``.

    Returns
    -------
    The header. Where it names files that are not there (a renamed triplet), the files with its own stem are taken,
    and ``warnings`` says so.

    Raises
    ------
    InputError
        If a part of the header, the data or the markers are missing, or the data file was cut.
    """
    common, channels = header_text(url)
    data, renamed_data = _companion(url, common.get("datafile", ""), (".eeg", ".dat"), "samples")
    markers, renamed_markers = _companion(url, common.get("markerfile", ""), (".vmrk",), "markers")
    dtype = _stored_type(url, common)
    names, scale, volts = _channels(url, channels)
    stated = int(common.get("numberofchannels", len(names)))
    if stated != len(names):
        raise InputError(f"{url} must describe {stated} channels, found {len(names)}; repair the header")
    return Header(
        url=url,
        data=data,
        markers=markers,
        frequency=_frequency(url, common),
        samples=_samples(data, common, len(names) * dtype.itemsize),
        channels=names,
        scale=scale,
        volts=volts,
        dtype=dtype,
        multiplexed=common.get("dataorientation", "MULTIPLEXED").upper() == "MULTIPLEXED",
        warnings=(*renamed_data, *renamed_markers),
    )


def header_text(url: str) -> tuple[dict[str, str], dict[str, str]]:
    """Entries of a ``.vhdr``: the common ones by lower-case name, and the channels.

    Raises
    ------
    InputError
        If the sections are missing.
    """
    sections = _sections(read_text(url))
    missing = [part for part in ("common infos", "channel infos") if part not in sections]
    if missing:
        raise InputError(
            f"{url} must have the sections {missing}, found {sorted(sections)}; is it a BrainVision header?"
        )
    common = {key.lower(): value for key, value in (*sections["common infos"], *sections.get("binary infos", ()))}
    return common, dict(sections["channel infos"])


def read_marker_file(url: str, frequency: float) -> tuple[np.ndarray, list[str]]:
    """Onsets (s from the first sample) and labels of a ``.vmrk``.

    Parameters
    ----------
    url
        Path or URL of the ``.vmrk``, version 1 or 2.
    frequency
        Sampling frequency, Hz.

    Returns
    -------
    Times in the order of the file, and the description of each marker without its type and outer blanks; the type
    where there is no description.

    Raises
    ------
    InputError
        If the file has no marker section, or a line that cannot be read.
    """
    sections = _sections(read_text(url))
    if "marker infos" not in sections:
        raise InputError(
            f"{url} must have a section [Marker Infos], found {sorted(sections)}; export the markers again"
        )
    onsets, labels = [], []
    for key, value in sections["marker infos"]:
        parts = [part.replace(r"\1", ",").strip() for part in value.split(",")]
        if len(parts) < 3 or not re.fullmatch(r"\d+", parts[2]):
            raise InputError(f"{url} must have lines 'Mk1=type,description,position,...', found {key}={value}")
        onsets.append((int(parts[2]) - 1) / frequency)  # positions count from 1
        labels.append(parts[1] or parts[0])
    return np.array(onsets, np.float64), labels


def read_frequency(url: str) -> float:
    """Sampling frequency of a ``.vhdr``, Hz; its data need not be there."""
    return _frequency(url, header_text(url)[0])


def lazy_counts(header: Header) -> da.Array:
    """All samples as the file holds them, ``(channel, time)``, in blocks of all channels by 65 536 samples."""
    dtype = np.dtype(np.int32) if header.dtype.kind == "u" else header.dtype.newbyteorder("=")
    count = header.samples
    blocks = tuple(min(SAMPLES, count - start) for start in range(0, count, SAMPLES))
    counts: da.Array = da.map_blocks(
        _read_block,
        header,
        dtype,
        chunks=((len(header.channels),), blocks),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
        name=f"counts-{dask.base.tokenize(header.data, identity(header.data), str(dtype), header.multiplexed)}",
    )
    return counts


def _read_block(header: Header, dtype: np.dtype[Any], block_info: Mapping[Any, Any]) -> np.ndarray:
    start, stop = block_info[None]["array-location"][1]
    channels, wide = len(header.channels), header.dtype.itemsize
    if header.multiplexed:
        values = read_values(header.data, header.dtype, channels * (stop - start), start * channels * wide)
        return np.ascontiguousarray(values.reshape(stop - start, channels).T, dtype)
    rows = [
        read_values(header.data, header.dtype, stop - start, (channel * header.samples + start) * wide)
        for channel in range(channels)
    ]
    return np.stack(rows).astype(dtype, copy=False)


def _sections(text: str) -> dict[str, list[tuple[str, str]]]:
    sections: dict[str, list[tuple[str, str]]] = {}
    entries: list[tuple[str, str]] = []
    for raw in text.splitlines():
        line = raw.strip()
        if re.fullmatch(r"\[.+\]", line):
            entries = sections.setdefault(line[1:-1].lower(), [])
        elif line and not line.startswith(";") and "=" in line:
            key, _, value = line.partition("=")
            entries.append((key.strip(), value.strip()))
    return sections


def _companion(url: str, stated: str, endings: tuple[str, ...], what: str) -> tuple[str, list[str]]:
    stem = name(url).rpartition(".")[0]
    stated = stated.replace("$b", stem)  # the recorder's placeholder for the base name
    if stated and exists(sibling(url, stated)):
        return sibling(url, stated), []
    for ending in endings:
        if exists(sibling(url, stem + ending)):
            told = f"{name(url)} names {stated or 'no file'} for its {what}; {stem}{ending} beside it was taken"
            return sibling(url, stem + ending), [told]
    wanted = " or ".join(dict.fromkeys([stated, *(stem + ending for ending in endings)][not stated :]))
    raise InputError(f"{url} must have its {what} beside it, found no {wanted}; copy that file too")


def _stored_type(url: str, common: Mapping[str, str]) -> np.dtype[Any]:
    form, kind = common.get("dataformat", "BINARY").upper(), common.get("binaryformat", "").upper()
    if form != "BINARY" or kind not in FORMATS:
        raise InputError(f"{url} must hold binary data of {list(FORMATS)}, found {form} {kind}; export it as BINARY")
    return np.dtype(FORMATS[kind])


def _frequency(url: str, common: Mapping[str, str]) -> float:
    try:
        return 1e6 / float(common["samplinginterval"])
    except (KeyError, ValueError, ZeroDivisionError) as fault:
        found = common.get("samplinginterval", "none")
        raise InputError(f"{url} must state SamplingInterval in microseconds, found {found}") from fault


def _samples(data: str, common: Mapping[str, str], wide: int) -> int:
    found = size(data)
    if common.get("datapoints", "").isdigit():
        expected = int(common["datapoints"]) * wide
        if found != expected:
            raise InputError(
                f"{data} must hold {expected} bytes ({common['datapoints']} samples), found {found}; copy it again"
            )
    if found % wide or not found:
        raise InputError(
            f"{data} must hold whole samples of {wide} bytes, found {found} bytes; it was cut: copy it again"
        )
    return found // wide


def _channels(url: str, entries: Mapping[str, str]) -> tuple[tuple[str, ...], np.ndarray, tuple[bool, ...]]:
    names, scale, volts = [], [], []
    numbered = ((key, value) for key, value in entries.items() if re.fullmatch(r"ch\d+", key, re.IGNORECASE))
    for key, value in sorted(numbered, key=lambda entry: int(entry[0][2:])):
        parts = [part.replace(r"\1", ",").strip() for part in value.split(",")] + [""] * 4
        unit = parts[3].lower()
        try:
            resolution = float(parts[2] or 1.0)
        except ValueError as fault:
            raise InputError(f"{url} must have a number as resolution of {key}, found {parts[2]!r}") from fault
        names.append(parts[0])
        volts.append(unit in VOLTS)
        scale.append((resolution or 1.0) * VOLTS.get(unit, 1.0))
    if len(set(names)) < len(names):
        twice = sorted({entry for entry in names if names.count(entry) > 1})
        raise InputError(f"{url} must name each channel once, found {twice} more than once; rename them in the header")
    if not names:
        raise InputError(f"{url} must describe its channels, found none; repair the header")
    return tuple(names), np.array(scale, np.float64), tuple(volts)
