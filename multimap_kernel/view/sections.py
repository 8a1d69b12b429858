"""The sections of a session's report, each made from whatever the session has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from multimap_kernel.eeg.cleaning import SATURATED_SHARE
from multimap_kernel.schema import Alignment, Fit
from multimap_kernel.view.drawable import left_out
from multimap_kernel.view.figures import alignment_figure, carpet_figure, motion_figure
from multimap_kernel.view.figures_eeg import beat_times, beats_figure, cleaning_figure
from multimap_kernel.view.figures_maps import map_figure, score_figure
from multimap_kernel.view.figures_sensors import evoked_figure, pattern_figure, sensor_figure
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.report import Section

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SessionResults:
    """What one session has; everything but the alignment may be missing.

    Parameters
    ----------
    alignment
        Clocks.
    recording
        EEG as ingested, for the places of extra markers.
    raw
        ``eeg (channel, time; V)`` on the scanner clock before cleaning.
    clean
        ``eeg (channel, time; V)`` after it, with ``r_peak (beat; s)`` and ``channel_type``.
    excitations
        Slice excitations per volume, 0 if unknown.
    motion
        ``motion (time, parameter; mm, rad)``.
    framewise_displacement, dvars : (time,)
        mm; root mean square change of the image.
    fd_threshold_mm
        Framewise displacement from which a volume counts as moved.
    features
        ``series (time, voxel)``.
    fit
        The ridge from EEG to the BOLD of each voxel.
    layers
        What `map_layers` gave.
    sensors
        ``statistic, p_fwe (condition, band, channel)`` with ``position``.
    evoked
        ``statistic, effect, p_fwe (condition, channel, latency)``, ``trials (condition)`` with ``position``.
    pattern
        ``pattern, statistic, p_fwe (channel, band, lag, region)`` with ``position``.
    """

    alignment: Alignment
    recording: xr.Dataset | None = None
    raw: xr.Dataset | None = None
    clean: xr.Dataset | None = None
    excitations: int = 0
    motion: xr.Dataset | None = None
    framewise_displacement: np.ndarray | None = None
    dvars: np.ndarray | None = None
    fd_threshold_mm: float = 0.5
    features: xr.Dataset | None = None
    fit: Fit | None = None
    layers: Sequence[Layer] = field(default=())
    sensors: xr.Dataset | None = None
    evoked: xr.Dataset | None = None
    pattern: xr.Dataset | None = None


def session_sections(results: SessionResults) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Make the sections of a session's report.

    Parameters
    ----------
    results
        What the session has.

    Returns
    -------
    Sections in the order of the line, the first a table of facts; and what had to be left out, with the reason.
    """
    alignment = results.alignment
    made = [Section("Facts", table=session_facts(results))]
    made.append(Section("Clocks", figure=alignment_figure(alignment, eeg=results.recording)))
    missing = list[str]()
    if results.motion is not None:
        figure = motion_figure(
            results.motion,
            framewise_displacement=results.framewise_displacement,
            dvars=results.dvars,
            fd_threshold_mm=results.fd_threshold_mm,
        )
        made.append(Section("Motion", figure=figure))
    else:
        missing.append("motion: volumes were not realigned")
    if results.raw is not None and results.clean is not None:
        figure = cleaning_figure(
            results.raw, results.clean, repetition_time=alignment.repetition_time, excitations=results.excitations
        )
        made.append(Section("EEG before and after cleaning", figure=figure))
    else:
        missing.append("EEG before and after cleaning: one of the two is not there")
    if results.clean is not None and "r_peak" in results.clean and beat_times(results.clean).size > 1:
        made.append(Section("Heart beats", figure=beats_figure(results.clean)))
    else:
        missing.append("heart beats: none were looked for or found")
    if results.features is not None:
        made.append(Section("Carpet", figure=carpet_figure(results.features)))
    made.extend(_result_sections(results, missing))
    return tuple(made), tuple(missing)


def _result_sections(results: SessionResults, missing: list[str]) -> list[Section]:
    made = []
    why_not = _undrawable(results)
    if results.fit is not None:
        text = "Correlation of BOLD with its prediction from EEG by a ridge, in blocks that it never saw."
        made.append(Section("BOLD from EEG", text, figure=score_figure(results.fit)))
    else:
        missing.append("BOLD from EEG: not fitted")
    if results.pattern is not None and "pattern" not in why_not:
        made.append(Section("EEG pattern of BOLD", _TEXTS["pattern"], figure=pattern_figure(results.pattern)))
    else:
        missing.append(why_not.get("pattern", "EEG pattern of BOLD: none was made"))
    for prefix, title in (("activation", "Activation maps"), ("coupling", "Coupling maps")):
        kept = [layer for layer in results.layers if layer.kind == "grey" or layer.name.startswith(prefix)]
        if any(layer.kind == "heat" for layer in kept):
            made.append(Section(title, _TEXTS[prefix], figure=map_figure(kept)))
        else:
            missing.append(why_not.get(prefix, f"{title.lower()}: none were made"))
    if results.sensors is not None and "sensor" not in why_not:
        made.append(Section("Sensor maps", figure=sensor_figure(results.sensors)))
    else:
        missing.append(why_not["sensor"])
    if results.evoked is not None and "evoked" not in why_not:
        made.append(Section("Evoked responses", _TEXTS["evoked"], figure=evoked_figure(results.evoked)))
    else:
        missing.append(why_not["evoked"])
    return made


def _undrawable(results: SessionResults) -> Mapping[str, str]:
    """A sentence for each kind of maps that this session cannot show; activation has none where it has no layer."""
    kinds = {"pattern": results.pattern, "sensor": results.sensors, "evoked": results.evoked}
    maps = {kind: ds for kind, ds in kinds.items() if ds is not None}
    nowhere = xr.DataArray(np.empty((0, 3)), dims=("channel", "world"), coords={"channel": np.array([], str)})
    return left_out(maps, position=next((ds["position"] for ds in maps.values() if "position" in ds), nowhere))


_TEXTS = {
    "activation": "bold: measured. eeg: BOLD as predicted from EEG alone, out of fold. joint: what that prediction "
    "explains beyond the design (delta R²).",
    "evoked": "Mean EEG after the events of each condition, one line per channel; the mean before the event is 0.",
    "pattern": "What the EEG does when the BOLD that is predicted from it rises, in the region that it goes with most; "
    "no weights of the model.",
    "coupling": "At each voxel the largest correlation over channels and lags, with its sign; one threshold for all.",
}


def session_facts(results: SessionResults) -> Rows:
    """The session in numbers: rows of a name and a value with its unit."""
    rows = [*_alignment_rows(results.alignment)]
    if results.motion is not None:
        values = results.motion["motion"]
        largest = [float(np.abs(values.sel(parameter=[f"{kind}_{axis}" for axis in "xyz"])).max()) for kind in _KINDS]
        rows.append(("largest motion", f"{largest[0]:.2f} mm, {np.rad2deg(largest[1]):.2f}°"))
    if results.framewise_displacement is not None:
        displacement = results.framewise_displacement
        limit = results.fd_threshold_mm
        over = f"{int((displacement > limit).sum())} volumes over {limit:g} mm"
        rows.append(("framewise displacement", f"mean {np.nanmean(displacement):.3f} mm; {over}"))
    if results.clean is not None and "r_peak" in results.clean:
        peaks = beat_times(results.clean)
        rate = f", median {60 / np.median(np.diff(peaks)):.0f} per minute" if peaks.size > 1 else ""
        rows.append(("heart beats", f"{peaks.size}{rate}"))
    if results.fit is not None:
        mean, upper = results.fit.null_score
        where = "above" if results.fit.score > upper else "within"
        rows.append(
            (
                f"{results.fit.model} score",
                f"{results.fit.score:.4f}, {where} its null (mean {mean:.4f}, 95 % {upper:.4f})",
            )
        )
    rows.extend(_saturation_row(results.clean))
    heat = [layer for layer in results.layers if layer.kind == "heat"]
    rows.extend(
        (layer.title, "; ".join(filter(None, (layer.legend, layer.note, f"null: {layer.null}")))) for layer in heat
    )
    return tuple(rows)


_KINDS = ("trans", "rot")


def _saturation_row(clean: xr.Dataset | None) -> Rows:
    """Which EEG channels the amplifier clipped, worst first; nothing where it was not measured."""
    if clean is None or "quality" not in clean or "saturated" not in clean["metric"]:
        return ()
    share = clean["quality"].sel(metric="saturated").where(clean["channel_type"] == "eeg").to_series().dropna()
    clipped = share[share > SATURATED_SHARE].sort_values(ascending=False)
    limit = f"{100 * SATURATED_SHARE:g} % of the samples in the volumes at an end of the amplifier's range"
    if share.empty:
        return ()
    if clipped.empty:
        return (("saturation", f"no channel with more than {limit}"),)
    told = ", ".join(f"{name} ({100 * part:.1f} %)" for name, part in clipped.items())
    return (("saturation", f"{told}: not good, with more than {limit}"),)


def _alignment_rows(alignment: Alignment) -> Rows:
    residual = np.array([one for one in alignment.residual_s if one is not None]) * 1e3
    low, high = alignment.offset_interval_s
    size = (
        f"rms {np.sqrt(np.mean(residual**2)):.4f} ms, largest {np.abs(residual).max():.4f} ms"
        if residual.size
        else "none"
    )
    uncovered = len(alignment.covered) - sum(alignment.covered)
    return (
        ("alignment", "; ".join((alignment.verdict, *alignment.reasons))),
        ("offset", f"{alignment.offset_s:.6f} s (95 %: {low:.6f} to {high:.6f} s)"),
        ("drift", f"{alignment.drift_ppm:+.3f} ppm"),
        ("marker residual", size),
        (
            "volumes",
            f"{len(alignment.residual_s)} at TR {alignment.repetition_time:g} s; {uncovered} without EEG",
        ),
        (
            "markers",
            f"{alignment.matched} matched, {len(alignment.missing)} missing, {len(alignment.extra)} extra",
        ),
    )
