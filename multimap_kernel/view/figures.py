"""Pictures of a session's clocks, motion and volumes; drawn on plain `Figure` objects, without global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multimap_kernel.fmri.carpet import carpet
from multimap_kernel.schema import Alignment, require, sampling

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito)."""
VERDICTS = {"good": GREEN, "suspect": ORANGE, "bad": RED}


def figure_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Render a figure as PNG on white, readable in light and dark themes; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def alignment_figure(alignment: Alignment, *, eeg: xr.Dataset | None = None) -> Figure:
    """Draw how far each volume's marker lies from the clock model.

    Parameters
    ----------
    alignment
        What `estimate_alignment` found.
    eeg
        Recording as ingested (``marker_onset (marker; s)``, ``marker_label``); shows where extra markers are.

    Returns
    -------
    Residual (ms) against volume, with missing and extra markers and volumes that the EEG does not cover.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    residual = np.array([np.nan if one is None else one for one in alignment.residual_s]) * 1e3
    volume = np.arange(residual.size)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(volume, residual, ".", color=BLUE, markersize=4, label="marker − model")
    spread = max(float(np.nanmax(np.abs(residual), initial=0.0)) * 1.3, 0.02)
    axes.set_ylim(-spread, spread)
    if alignment.missing:
        axes.vlines(alignment.missing, -spread, spread, color=ORANGE, linewidth=1.2, label="marker missing")
    extra = _extra_volumes(alignment, eeg) if eeg is not None else np.empty(0)
    if extra.size:
        height = np.full(extra.size, 0.9 * spread)
        axes.plot(extra, height, "v", color=PURPLE, markersize=7, label="extra marker", clip_on=False)
    uncovered = np.flatnonzero(~np.asarray(alignment.covered, bool)) if alignment.covered else np.empty(0, int)
    for label, start, stop in _spans(uncovered, "no EEG"):
        axes.axvspan(start - 0.5, stop + 0.5, color="0.85", label=label)
    axes.set(xlabel="volume", ylabel="residual (ms)", xlim=(-1, max(residual.size, 2)))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    low, high = alignment.offset_interval_s
    facts = " · ".join(
        (
            f"offset {alignment.offset_s:.5f} s (95 %: ± {(high - low) / 2e-3:.3f} ms)",
            f"drift {alignment.drift_ppm:+.2f} ppm",
            f"{alignment.matched} of {residual.size} volumes matched",
            f"missing {len(alignment.missing)}",
            f"extra {len(alignment.extra)}",
            f"before the file {alignment.dummy}",
        )
    )
    reasons = textwrap.fill("; ".join(alignment.reasons), 115)
    figure.suptitle(f"Alignment: {alignment.verdict}", color=VERDICTS.get(alignment.verdict, GREY), fontweight="bold")
    axes.set_title("\n".join(filter(None, (facts, reasons))), fontsize=9)
    return figure


def _extra_volumes(alignment: Alignment, eeg: xr.Dataset) -> np.ndarray:
    """Where extra markers lie, in volumes (not whole numbers)."""
    require(eeg, "marker_onset", "marker_label", where="alignment_figure")
    onset = eeg["marker_onset"].values[eeg["marker_label"].values.astype(str) == alignment.marker]
    known = [number for number in alignment.extra if number < onset.size]
    scanner = (onset[known] - alignment.offset_s) / (1 + alignment.drift_ppm * 1e-6)
    return np.asarray(scanner / alignment.repetition_time)


def _spans(members: np.ndarray, label: str) -> list[tuple[str, int, int]]:
    """First and last of each run of consecutive numbers; the label only once, for the legend."""
    if members.size == 0:
        return []
    runs = np.split(members, np.flatnonzero(np.diff(members) > 1) + 1)
    return [(label if k == 0 else "", int(run[0]), int(run[-1])) for k, run in enumerate(runs)]


def motion_figure(
    ds: xr.Dataset,
    *,
    framewise_displacement: np.ndarray | None = None,
    dvars: np.ndarray | None = None,
    fd_threshold_mm: float = 0.5,
) -> Figure:
    """Draw where the head was, and how much it and the image changed from volume to volume.

    Parameters
    ----------
    ds
        ``motion (time, parameter; mm and rad)`` with coordinates ``time (s)`` and ``parameter``.
    framewise_displacement : (time,)
        mm; the panel is left out if not given.
    dvars : (time,)
        Root mean square change of the image, its own unit; left out if not given.
    fd_threshold_mm
        Line in the panel of framewise displacement.

    Returns
    -------
    Translations (mm), rotations (degrees) and the measures that were given, against time (s).
    """
    require(ds, "motion", where="motion_figure")
    extra = [
        (values, label, line)
        for values, label, line in (
            (framewise_displacement, "framewise displ.\n(mm)", fd_threshold_mm),
            (dvars, "DVARS", None),
        )
        if values is not None
    ]
    figure = Figure(figsize=(9, 3.4 + 1.2 * len(extra)), layout="constrained")
    panels = figure.subplots(2 + len(extra), 1, sharex=True, squeeze=False)[:, 0]
    time = ds["time"].values
    for axes, kind, factor, unit in ((panels[0], "trans", 1.0, "mm"), (panels[1], "rot", 180 / np.pi, "°")):
        for axis, colour, style in zip("xyz", (BLUE, RED, GREEN), ("-", "--", ":"), strict=True):
            values = ds["motion"].sel(parameter=f"{kind}_{axis}").values * factor
            axes.plot(time, values, color=colour, linestyle=style, linewidth=1.3, label=axis)
        name = "translation" if kind == "trans" else "rotation"
        axes.set_ylabel(f"{name} ({unit})")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for axes, (values, label, line) in zip(panels[2:], extra, strict=True):
        axes.plot(time[1:], values[1:], color=BLUE, linewidth=1.0)  # nothing comes before the first volume
        axes.set_ylabel(label)
        if line is not None:
            axes.axhline(line, color=RED, linestyle="--", linewidth=1.0)
    panels[-1].set_xlabel("time from the first volume (s)")
    figure.suptitle("Motion of the head")
    return figure


def carpet_figure(ds: xr.Dataset, *, voxels: int = 1500) -> Figure:
    """Draw the series of all voxels as a carpet, with their mean above it.

    Parameters
    ----------
    ds
        ``series (time, voxel; 1)`` with coordinate ``time (s)``; NumPy- or Dask-backed.
    voxels
        Rows of the carpet; voxels are taken at equal distances in the order of the mask, bottom to top of the head.

    Returns
    -------
    Each series without mean and linear trend, in units of its own standard deviation.
    """
    require(ds, "series", where="carpet_figure")
    rows = carpet(ds, voxels=voxels)["carpet"].values
    time = ds["time"].values
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 4))
    above.plot(time, rows.mean(0), color=BLUE, linewidth=1.0)
    above.set_ylabel("mean (sd)")
    extent = (float(time[0]), float(time[-1]), 0.0, float(rows.shape[0]))
    image = below.imshow(rows, aspect="auto", cmap="gray", vmin=-2, vmax=2, extent=extent, origin="lower")
    below.set(xlabel="time from the first volume (s)", ylabel="voxel, from bottom to top", yticks=[])
    figure.colorbar(image, ax=below, label="detrended BOLD (sd)", extend="both", pad=0.01)
    figure.suptitle(f"Carpet of {rows.shape[0]} of {ds.sizes['voxel']} voxels")
    return figure


def time_window(ds: xr.Dataset, channels: Sequence[str], start: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and potential (channel, time; µV) between ``start`` and ``start + seconds``."""
    first, frequency, count = sampling(ds)
    begin = int(np.clip(np.ceil((start - first) * frequency), 0, count))
    end = int(np.clip(np.ceil((start + seconds - first) * frequency), begin, count))
    values = ds["eeg"].isel(time=slice(begin, end)).sel(channel=list(channels)).values
    return first + np.arange(begin, end) / frequency, values * 1e6


def mark(axes: Axes, positions: np.ndarray, colour: str, label: str) -> None:
    """Thin vertical lines behind the data, once in the legend."""
    for number, position in enumerate(positions):
        axes.axvline(position, color=colour, linewidth=0.7, alpha=0.6, zorder=0, label=label if number == 0 else None)
