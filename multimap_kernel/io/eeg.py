"""EEG recordings and their markers, as Datasets in volts and seconds."""

from __future__ import annotations

import functools
import posixpath
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import fsspec
import mne
import numpy as np
import xarray as xr
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.io import brainvision
from multimap_kernel.io.electrodes import channel_types, channels_table, coordinate_system, positions
from multimap_kernel.io.files import exists, identity, localise, name, sibling
from multimap_kernel.schema import WORLD, InputError, annotate, regular_time, require

READERS: dict[str, Callable[..., mne.io.BaseRaw]] = {
    ".edf": mne.io.read_raw_edf,
    ".bdf": mne.io.read_raw_bdf,
    ".set": mne.io.read_raw_eeglab,
}


@dataclass(frozen=True, eq=False)
class _Recording:
    """What every format gives: lazy counts and the facts about them."""

    count: da.Array
    frequency: float
    channels: tuple[str, ...]
    scale: np.ndarray
    volts: tuple[bool, ...]
    onsets: np.ndarray
    labels: list[str]
    warnings: list[str]


def read_eeg(path: str, *, electrodes: str = "") -> xr.Dataset:
    """Read an EEG recording, lazily.

    Parameters
    ----------
    path
        Path or URL of a BrainVision header (``.vhdr``), EDF, BDF or EEGLAB file (``.set``).
    electrodes
        Path or URL of an ``electrodes.tsv``; if empty, electrodes are placed by name (10-20 system).

    Returns
    -------
    ``count (channel, time; 1)`` on Dask in blocks of all channels by 65 536 samples, with ``scale`` and ``offset
    (channel; V)``: BrainVision as its own integers, the other formats as float32 volts. ``channel``, ``channel_type``,
    ``position (channel, world; mm)``, ``marker_onset (marker; s)``, ``marker_label``; labels come without the type
    that BrainVision puts before them ("R128", not "Response/R128"). Time starts with the first sample; attributes
    ``clock`` ``"eeg"`` and ``warnings``, a list of sentences.

    Raises
    ------
    InputError
        If a file of the recording is missing or cut, or the format is not one of these.
    """
    recording = _read_brainvision(path) if path.lower().endswith(".vhdr") else _read_mne(path)
    types, told = channel_types(recording.channels, path)
    types = np.where(recording.volts, types, "misc")
    places, assumed = positions(recording.channels, types.tolist(), electrodes)
    onsets, labels, beyond = _inside(path, recording)
    ds = xr.Dataset(
        {
            "count": (("channel", "time"), recording.count),
            "scale": ("channel", recording.scale),
            "offset": ("channel", np.zeros(len(recording.channels))),
            "position": (("channel", "world"), places),
            "channel_type": ("channel", types),
            "marker_onset": ("marker", onsets),
            "marker_label": ("marker", labels),
        },
        coords=regular_time(0.0, recording.frequency, recording.count.shape[1]),
    )
    ds = ds.assign_coords(channel=np.array(recording.channels, dtype=str), world=list(WORLD))
    ds = ds.map(annotate, keep_attrs=True)
    ds.attrs = {"clock": "eeg", "warnings": [*recording.warnings, *told, *assumed, *beyond]}
    return ds


def recording_files(path: str, *, electrodes: str = "") -> tuple[str, ...]:
    """Every file that `read_eeg` opens, now or when samples are computed; no sample is read to find them.

    Parameters
    ----------
    path, electrodes
        As in `read_eeg`.

    Returns
    -------
    The recording, the files with its samples and markers, its ``channels.tsv``, the ``electrodes.tsv`` and its
    ``coordsystem.json``: those that there are.

    Raises
    ------
    InputError
        If the header cannot be read, or a file that it names is missing.
    """
    beside: list[str] = []
    if path.lower().endswith(".vhdr"):
        header = brainvision.read_header(path)
        beside = [header.data, header.markers]
    elif path.lower().endswith(".set"):
        beside = _eeglab_data(path)
    tables = [channels_table(path), electrodes, coordinate_system(electrodes) if electrodes else ""]
    return (path, *beside, *filter(None, tables))


def to_volts(ds: xr.Dataset) -> xr.Dataset:
    """Turn counts into volts.

    Parameters
    ----------
    ds
        ``count (channel, time)``, ``scale (channel; V)``, ``offset (channel; V)``.

    Returns
    -------
    The Dataset with ``eeg (channel, time; V)`` float32 in their place, lazy where ``count`` is, and without the
    overview of the counts; channels of type misc may be in another unit than volts.

    Raises
    ------
    SchemaError
        If one of the three is missing.
    """
    require(ds, "count", "scale", "offset", where="to_volts")
    scale, offset = ds["scale"].astype(np.float32), ds["offset"].astype(np.float32)
    eeg = (ds["count"] * scale + offset).astype(np.float32)
    eeg = annotate(eeg.transpose("channel", "time").rename("eeg"))
    return ds.drop_vars(["count", "scale", "offset", "overview"], errors="ignore").assign(eeg=eeg)


def read_markers(path: str) -> xr.Dataset:
    """Read the markers of a BrainVision recording; its samples need not be there.

    Parameters
    ----------
    path
        Path or URL of the ``.vmrk``; the ``.vhdr`` of the same name beside it gives the sampling frequency.

    Returns
    -------
    ``marker_onset (marker; s from the first sample)`` and ``marker_label``; attributes ``clock`` ``"eeg"`` and
    ``sampling_frequency`` (Hz).

    Raises
    ------
    InputError
        If one of the two files is missing or cannot be read.
    """
    frequency = brainvision.read_frequency(sibling(path, name(path).rpartition(".")[0] + ".vhdr"))
    onsets, labels = brainvision.read_marker_file(path, frequency)
    ds = xr.Dataset({"marker_onset": ("marker", onsets), "marker_label": ("marker", np.array(labels, dtype=str))})
    return ds.map(annotate).assign_attrs(clock="eeg", sampling_frequency=frequency)


def _inside(path: str, recording: _Recording) -> tuple[np.ndarray, np.ndarray, list[str]]:
    end = recording.count.shape[1] / recording.frequency
    onsets, labels = recording.onsets, np.array(recording.labels, dtype=str)
    order = np.argsort(onsets, kind="stable")
    onsets, labels = onsets[order], labels[order]
    kept = onsets < end
    if kept.all():
        return onsets, labels, []
    told = (
        f"{name(path)} ends at {end:.3f} s, but has markers up to {onsets.max():.3f} s: "
        f"{np.count_nonzero(~kept)} markers are left out, and the recording may be cut"
    )
    return onsets[kept], labels[kept], [told]


def _read_brainvision(path: str) -> _Recording:
    header = brainvision.read_header(path)
    onsets, labels = brainvision.read_marker_file(header.markers, header.frequency)
    return _Recording(
        count=brainvision.lazy_counts(header),
        frequency=header.frequency,
        channels=header.channels,
        scale=header.scale,
        volts=header.volts,
        onsets=onsets,
        labels=labels,
        warnings=list(header.warnings),
    )


def _read_mne(path: str) -> _Recording:
    ending = "." + path.lower().rpartition(".")[2]
    if ending not in READERS:
        raise InputError(f"{path} must be one of .vhdr, {', '.join(READERS)}; convert it, for example with mne.export")
    if ending == ".set" and exists(data := sibling(path, name(path)[:-4] + ".fdt")):
        localise(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        raw = _open(path, verbose="WARNING")
    stimulus = mne.pick_types(raw.info, stim=True)
    keep = np.setdiff1d(np.arange(len(raw.ch_names)), stimulus)
    onsets, labels = raw.annotations.onset, [str(text).strip() for text in raw.annotations.description]
    if not labels and stimulus.size:
        # the higher bits of a BioSemi status channel tell of the amplifier, not of markers
        found = mne.find_events(
            raw, shortest_event=1, initial_event=True, mask=0xFFFF, mask_type="and", verbose="ERROR"
        )
        onsets, labels = (found[:, 0] - raw.first_samp) / raw.info["sfreq"], [str(code) for code in found[:, 2]]
    count = raw.n_times
    blocks = tuple(min(brainvision.SAMPLES, count - s) for s in range(0, count, brainvision.SAMPLES))
    values = da.map_blocks(
        _read_block,
        path,
        keep,
        chunks=((len(keep),), blocks),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
        name=f"samples-{dask.base.tokenize(path, identity(path))}",
    )
    return _Recording(
        count=values,
        frequency=float(raw.info["sfreq"]),
        channels=tuple(raw.ch_names[index] for index in keep),
        scale=np.ones(len(keep)),
        volts=tuple(kind in ("eeg", "eog", "ecg") for kind in raw.get_channel_types(keep)),
        onsets=np.asarray(onsets, np.float64),
        labels=labels,
        warnings=[f"{name(path)}: {' '.join(str(entry.message).split())}" for entry in caught],
    )


def _eeglab_data(path: str) -> list[str]:
    """The ``.fdt`` of an EEGLAB file."""
    fs, inside = fsspec.core.url_to_fs(path)
    if not isinstance(fs, LocalFileSystem):
        data = sibling(path, name(path)[:-4] + ".fdt")  # the only one that is brought here
        return [data] if exists(data) else []
    around = sorted(other for other in fs.ls(posixpath.dirname(inside), detail=False) if other.endswith(".fdt"))
    if not around:  # it holds its samples itself: large, so that it is not opened
        return []
    raw = _opened(path, f"{identity(path)} {around}")  # which of them it means, only its inside tells
    named = [sibling(path, Path(file).name) for file in raw.filenames if file]
    return [data for data in named if name(data) != name(path)]


def _open(path: str, verbose: str) -> mne.io.BaseRaw:
    ending = "." + path.lower().rpartition(".")[2]
    try:
        return READERS[ending](str(localise(path)), preload=False, verbose=verbose)
    except FileNotFoundError as fault:
        raise InputError(f"{path} must have its data beside it, found: {fault}; copy that file too") from fault
    except InputError:
        raise
    except Exception as fault:  # MNE raises whatever its parsers meet; each means that this file cannot be read
        raise InputError(f"{path} must be a readable {ending} recording, found: {fault}") from fault


@functools.lru_cache(maxsize=4)
def _opened(path: str, version: str) -> mne.io.BaseRaw:  # noqa: ARG001  # a changed file is another entry
    return _open(path, verbose="ERROR")


def _read_block(path: str, keep: np.ndarray, block_info: Mapping[Any, Any]) -> np.ndarray:
    start, stop = block_info[None]["array-location"][1]
    raw = _opened(path, identity(path))  # reading a header per block would cost more than the block
    return np.asarray(raw.get_data(picks=keep, start=start, stop=stop), np.float32)
