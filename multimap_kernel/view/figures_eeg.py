"""Pictures of the EEG: what cleaning took away and what it left, and heart beats."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multimap_kernel.eeg.spectrum import spectrum
from multimap_kernel.schema import InputError, require, sampling
from multimap_kernel.view.figures import BLUE, GREY, ORANGE, RED, mark, time_window


def cleaning_figure(
    before: xr.Dataset,
    after: xr.Dataset,
    *,
    repetition_time: float,
    excitations: int = 0,
    channel: str = "",
    start: float | None = None,
    seconds: float = 4.0,
) -> Figure:
    """Draw one channel before and after cleaning, in time and in frequency.

    Parameters
    ----------
    before, after
        ``eeg (channel, time; V)`` on the scanner clock, at any two sampling frequencies.
    repetition_time
        s; its harmonics are what gradients leave.
    excitations
        Excitations per volume (slices over multiband factor); 0 if unknown.
    channel
        Name of the channel; if empty, the EEG channel with the most power before cleaning.
    start, seconds
        Window, s; by default in the middle of the recording.

    Returns
    -------
    Potential (µV) against time, amplitude spectral density (µV/√Hz) against frequency.

    Raises
    ------
    SchemaError
        If either is not on the scanner clock.
    """
    for ds, name in ((before, "before"), (after, "after")):
        require(ds, "eeg", where=f"cleaning_figure, {name}", clock="scanner")
    first, frequency, count = sampling(after)
    span = min(60.0, count / frequency)  # what the spectra are made of
    begin = first + (count / frequency - span) / 2
    start = begin + span / 2 - seconds / 2 if start is None else start
    channel = channel or _strongest(before, after, begin, min(span, 4.0))
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    rows = figure.subplots(3, 1, height_ratios=(1, 1, 1.6))
    pairs = ((before, "before", GREY), (after, "after", BLUE))
    for axes, (ds, name, colour) in zip(rows, pairs, strict=False):
        time, potential = time_window(ds, [channel], start, seconds)
        axes.plot(time, potential[0], color=colour, linewidth=0.8)
        axes.set(ylabel=f"{name} (µV)", xlim=(start, start + seconds))
        volumes = np.arange(np.ceil(start / repetition_time), (start + seconds) / repetition_time) * repetition_time
        mark(axes, volumes, ORANGE, "start of a volume")
    rows[0].legend(loc="upper right", fontsize=8)
    rows[1].set_xlabel("scanner time (s)")
    for ds, name, colour in pairs:
        density = spectrum(ds.sel(channel=[channel]), start=begin, stop=begin + span)["density"].isel(channel=0)
        amplitude = np.sqrt(density.values[1:]) * 1e6
        rows[2].semilogy(density["frequency"].values[1:], amplitude, color=colour, linewidth=1.0, label=name)
    rows[2].set(xlabel="frequency (Hz)", ylabel="density (µV/√Hz)", xlim=(0, min(sampling(after).frequency / 2, 100.0)))
    _mark_harmonics(rows[2], repetition_time, excitations)
    rows[2].legend(loc="upper right", ncols=4, fontsize=8)
    figure.suptitle(f"Cleaning of channel {channel}")
    return figure


def _mark_harmonics(axes: Axes, repetition_time: float, excitations: int) -> None:
    volume, highest = 1 / repetition_time, axes.get_xlim()[1]
    mark(axes, np.arange(volume, highest, volume), "0.85", f"n / TR ({volume:.3g} Hz)")
    if excitations:
        harmonic = excitations * volume
        mark(axes, np.arange(harmonic, highest, harmonic), RED, f"slice harmonics ({harmonic:.3g} Hz)")


def _strongest(before: xr.Dataset, after: xr.Dataset, start: float, seconds: float) -> str:
    kept = [str(name) for name in after["channel"].values if name in before["channel"].values]
    if "channel_type" in after:
        kinds = dict(zip(after["channel"].values.astype(str), after["channel_type"].values.astype(str), strict=True))
        kept = [name for name in kept if kinds[name] == "eeg"]
    if not kept:
        raise InputError("cleaning_figure: one EEG channel must be in both recordings, found none")
    return kept[int(time_window(before, kept, start, seconds)[1].std(1).argmax())]


def beats_figure(ds: xr.Dataset, *, start: float | None = None, seconds: float = 10.0) -> Figure:
    """Draw the detected heart beats.

    Parameters
    ----------
    ds
        ``r_peak (beat; s)``, NaN where there is none; for the trace ``eeg (channel, time; V)`` with a channel of type
        ``ecg``.
    start, seconds
        Window of the trace, s; by default in the middle.

    Returns
    -------
    The ECG (µV) with the beats, and the heart rate (beats per minute) over the session.
    """
    require(ds, "r_peak", where="beats_figure")
    peaks = beat_times(ds)
    names = ds["channel"].values[ds["channel_type"].values.astype(str) == "ecg"] if "channel_type" in ds else []
    figure = Figure(figsize=(9, 4.2 if len(names) else 2.4), layout="constrained")
    panels = figure.subplots(2 if len(names) else 1, 1, squeeze=False)[:, 0]
    if len(names):
        first, frequency, count = sampling(ds)
        start = first + count / frequency / 2 - seconds / 2 if start is None else start
        time, potential = time_window(ds, [str(names[0])], start, seconds)
        panels[0].plot(time, potential[0], color=GREY, linewidth=0.8)
        mark(panels[0], peaks[(peaks >= start) & (peaks < start + seconds)], RED, "beat")
        panels[0].set(xlabel="scanner time (s)", ylabel=f"{names[0]} (µV)", xlim=(start, start + seconds))
        panels[0].legend(loc="upper right", fontsize=8)
    interval = np.diff(peaks)
    panels[-1].plot(peaks[1:], 60 / interval, ".-", color=BLUE, linewidth=0.6, markersize=3)
    panels[-1].set(xlabel="scanner time (s)", ylabel="beats per minute")
    middle = f", median {60 / np.median(interval):.0f} per minute" if interval.size else ""
    figure.suptitle(f"Heart: {peaks.size} beats{middle}")
    return figure


def beat_times(ds: xr.Dataset) -> np.ndarray:
    """Times (beat,) of the beats in order, s, without the places that hold none."""
    peaks = ds["r_peak"].values
    return np.sort(peaks[np.isfinite(peaks)])
