"""Pictures of maps over the scalp: power changes per band, patterns of a prediction, evoked responses in time."""

from __future__ import annotations

import mne
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from multimap_kernel.fusion.patterns import strongest_region
from multimap_kernel.schema import SchemaError
from multimap_kernel.view.figures import BLUE, GREY, ORANGE


def sensor_figure(ds: xr.Dataset, *, alpha: float = 0.05) -> Figure:
    """Draw a statistic over the sensors, one head per condition and band.

    Parameters
    ----------
    ds
        ``statistic, p_fwe (condition, band, channel; 1)`` and ``position (channel, world; mm)``, NaN where unknown.
    alpha
        Sensors with ``p_fwe < alpha`` are marked.

    Returns
    -------
    Heads seen from above, nose up, left on the left; one colour scale for all.

    Raises
    ------
    SchemaError
        If variables are missing, or fewer than four sensors have a position and a value.
    """
    missing = [name for name in ("statistic", "p_fwe", "position") if name not in ds]
    if missing:
        raise SchemaError("sensor_figure", [f"{name} must be there, found {sorted(map(str, ds))}" for name in missing])
    ds = ds.transpose("condition", "band", "channel", ...)
    ds = ds.isel(condition=np.flatnonzero(np.isfinite(ds["statistic"].values).any((1, 2))))  # others cannot be told
    usable = np.isfinite(ds["position"].values).all(-1) & np.isfinite(ds["statistic"].values).all((0, 1))
    if usable.sum() < 4 or not ds.sizes["condition"]:
        raise SchemaError(
            "sensor_figure", [f"at least 4 sensors must have a position and a value, found {int(usable.sum())}"]
        )
    ds = ds.isel(channel=np.flatnonzero(usable))
    places = _seen_from_above(ds["position"].values)
    limit = float(np.abs(ds["statistic"].values).max()) or 1.0
    kind = str(ds["statistic_kind"].values) if "statistic_kind" in ds.coords else ds.attrs.get("statistic_kind", "t")
    rows, columns = ds.sizes["condition"], ds.sizes["band"]
    figure = Figure(figsize=(max(1.7 * columns + 1.4, 4.6), 1.8 * rows + 0.7), layout="constrained")
    heads = figure.subplots(rows, columns, squeeze=False)
    for (row, column), axes in np.ndenumerate(heads):
        one = ds.isel(condition=row, band=column)
        _head(axes, one["statistic"].values, places, limit, one["p_fwe"].values < alpha)
        if row == 0:
            axes.set_title(str(one["band"].values), fontsize=10)
        if column == 0:
            axes.set_ylabel(str(one["condition"].values), fontsize=10)
    figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), "RdBu_r"), ax=heads.ravel().tolist(), label=kind, shrink=0.8
    )
    passing = int((ds["p_fwe"].values < alpha).sum())
    figure.suptitle(f"Sensors: {passing} of {ds['p_fwe'].size} with p_fwe < {alpha:g} (white dots)", fontsize=11)
    return figure


def pattern_figure(ds: xr.Dataset, *, region: str | None = None, alpha: float = 0.05) -> Figure:
    """Draw what the EEG does when the predicted BOLD of a region goes up, one head per band and lag.

    Parameters
    ----------
    ds
        ``pattern, statistic, p_fwe (channel, band, lag, region; 1)`` as `pattern_map` gives them, and ``position
        (channel, world; mm)``, NaN where unknown.
    region
        Which region; the one with the largest correlation with measured BOLD if not given.
    alpha
        Sensors with ``p_fwe < alpha`` are marked.

    Returns
    -------
    Heads seen from above, nose up, left on the left; one colour scale for all.

    Raises
    ------
    SchemaError
        If variables are missing, the region is unknown, or fewer than four sensors have a position and a value.
    """
    missing = [name for name in ("pattern", "statistic", "p_fwe", "position") if name not in ds]
    if missing:
        raise SchemaError("pattern_figure", [f"{name} must be there, found {sorted(map(str, ds))}" for name in missing])
    ds = ds.transpose("region", "band", "lag", "channel", ...)
    names = [str(name) for name in ds["region"].values]
    region = strongest_region(ds) if region is None else region
    if region not in names:
        raise SchemaError("pattern_figure", [f"region must be one of {', '.join(names)}, found {region}"])
    one = ds.isel(region=names.index(region))
    usable = np.isfinite(one["position"].values).all(-1) & np.isfinite(one["pattern"].values).all((0, 1))
    if usable.sum() < 4:
        raise SchemaError(
            "pattern_figure", [f"at least 4 sensors must have a position and a value, found {int(usable.sum())}"]
        )
    one = one.isel(channel=np.flatnonzero(usable))
    places, limit = _seen_from_above(one["position"].values), float(np.abs(one["pattern"].values).max()) or 1.0
    rows, columns = one.sizes["band"], one.sizes["lag"]
    figure, heads, bar = _grid_of_heads(rows, columns)
    for (row, column), axes in np.ndenumerate(heads):
        here = one.isel(band=row, lag=column)
        _head(axes, here["pattern"].values, places, limit, here["p_fwe"].values < alpha)
        if row == 0:
            axes.set_title(f"{float(here['lag']):g} s before", fontsize=10)
        if column == 0:
            axes.set_ylabel(str(here["band"].values), fontsize=10)
    label = "change of log power\nper deviation of the prediction"
    figure.colorbar(ScalarMappable(Normalize(-limit, limit), "RdBu_r"), cax=bar, label=label)
    passing = int((one["p_fwe"].values < alpha).sum())
    figure.suptitle(
        f"EEG pattern of BOLD at {one['region'].values} mm\n"
        f"{passing} of {one['p_fwe'].size} go with measured BOLD, p_fwe < {alpha:g} (white dots)", fontsize=11,
    )  # fmt: skip
    return figure


def evoked_figure(ds: xr.Dataset, *, alpha: float = 0.05, heads: int = 3) -> Figure:
    """Draw the evoked response of each condition: all channels in time, and heads where it is largest.

    Parameters
    ----------
    ds
        ``statistic, effect, p_fwe (condition, channel, latency)`` as `evoked_map` gives them, with ``trials
        (condition)``, and ``position (channel, world; mm)``, NaN where unknown.
    alpha
        What has ``p_fwe < alpha`` is drawn thick, and marked on the heads.
    heads
        Heads per condition, at most, at least 0.08 s apart; none where fewer than four sensors have a position.

    Returns
    -------
    One row per condition that has a response, in µV; the heads are those of the largest deviation between channels.

    Raises
    ------
    SchemaError
        If variables are missing or no condition has a value.
    """
    missing = [name for name in ("statistic", "effect", "p_fwe", "trials") if name not in ds]
    known = np.empty(0, int) if missing else np.flatnonzero(np.isfinite(ds["statistic"].values).any((1, 2)))
    if missing or not known.size:
        found = f"without {', '.join(missing)}" if missing else "no value in any condition"
        raise SchemaError("evoked_figure", [f"a response must be there, found {found}; use evoked_map"])
    ds = ds.isel(condition=known, channel=np.flatnonzero(np.isfinite(ds["statistic"].values).any((0, 2))))
    drawn = heads if "position" in ds and ds["position"].notnull().all("world").sum() >= 4 else 0
    figure = Figure(figsize=(5.0 + 1.7 * drawn, 2.5 * ds.sizes["condition"] + 0.4), layout="constrained")
    grid = figure.add_gridspec(ds.sizes["condition"], 1 + drawn, width_ratios=[4.0, *[1.5] * drawn])
    limit = float(np.nanmax(np.abs(ds["effect"].values))) * 1e6
    every = []
    for row in range(ds.sizes["condition"]):
        one = ds.isel(condition=row)
        axes = figure.add_subplot(grid[row, 0])
        peaks = _peaks(one, drawn)
        _draw_response(axes, one, peaks, alpha)
        for column, peak in enumerate(peaks, 1):
            every.append(figure.add_subplot(grid[row, column]))
            at = one.isel(latency=peak, channel=np.flatnonzero(one["position"].notnull().all("world").values))
            places = _seen_from_above(at["position"].values)
            _head(every[-1], at["effect"].values * 1e6, places, limit, at["p_fwe"].values < alpha)
            every[-1].set_title(f"{float(at['latency']):.2f} s", fontsize=9)
    if every:
        figure.colorbar(ScalarMappable(Normalize(-limit, limit), "RdBu_r"), ax=every, label="µV", shrink=0.8)
    return figure


def _peaks(ds: xr.Dataset, count: int) -> list[int]:
    """Positions of the latencies of the largest deviation between channels, in order of time."""
    size, latency = np.nanstd(ds["effect"].values, axis=0), ds["latency"].values
    size = np.where(latency > 0, size, -1.0)
    found: list[int] = []
    for place in np.argsort(-size):
        if len(found) < count and size[place] > 0 and all(abs(latency[place] - latency[one]) >= 0.08 for one in found):
            found.append(int(place))
    return sorted(found)


def _draw_response(axes: Axes, ds: xr.Dataset, peaks: list[int], alpha: float) -> None:
    latency, microvolts = ds["latency"].values, ds["effect"].values * 1e6
    axes.plot(latency, microvolts.T, color=GREY, linewidth=0.5)
    passing = ds["p_fwe"].values < alpha
    axes.plot(latency, np.where(passing, microvolts, np.nan).T, color=BLUE, linewidth=2.0)
    for place in peaks:
        axes.axvline(latency[place], color=ORANGE, linewidth=0.8, zorder=0)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set(xlabel="time after onset (s)", ylabel="response (µV)", xlim=(latency[0], latency[-1]))
    words = f"p_fwe < {alpha:g} thick" if passing.any() else f"nothing passes p_fwe < {alpha:g}"
    axes.set_title(f"{ds['condition'].values}: {int(ds['trials'])} trials; {words}", fontsize=9, loc="left")


def _grid_of_heads(rows: int, columns: int) -> tuple[Figure, np.ndarray, Axes]:
    """Axes of many heads (row, column) and of their colour bar.

    Their places are reckoned here: a layout engine would search for longer than it takes to draw them all.
    """
    width, height = max(1.5 * columns + 1.9, 5.2), 1.5 * rows + 1.1
    figure = Figure(figsize=(width, height))
    left = (width - 1.5 * columns - 1.5) / 2 + 0.2
    heads = figure.subplots(
        rows, columns, squeeze=False,
        gridspec_kw={"left": left / width, "right": (left + 1.5 * columns) / width, "bottom": 0.1 / height,
                     "top": (height - 1.0) / height, "wspace": 0.1, "hspace": 0.1},
    )  # fmt: skip
    tall = min(1.5 * rows - 0.4, 4.5)
    return (
        figure,
        heads,
        figure.add_axes(
            ((left + 1.5 * columns + 0.2) / width, (0.1 + (1.5 * rows - tall) / 2) / height, 0.2 / width, tall / height)
        ),
    )


def _head(axes: Axes, values: np.ndarray, places: np.ndarray, limit: float, marked: np.ndarray) -> None:
    """One head seen from above, with a white dot at each marked sensor."""
    mne.viz.plot_topomap(
        values,
        places,
        axes=axes,
        show=False,
        cmap="RdBu_r",
        vlim=(-limit, limit),
        sphere=(0.0, 0.0, 0.0, _RADIUS),
        mask=marked,
        mask_params={"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 6},
        contours=0,
    )


_RADIUS = 0.095  # of the drawn head, m: what MNE takes for a head of unknown size


def _seen_from_above(position: np.ndarray) -> np.ndarray:
    """Project sensors (channel, 3; mm) to a plane: angle from the top of the fitted sphere becomes distance."""
    design = np.column_stack([2 * position, np.ones(len(position))])
    solution, _, rank, _ = np.linalg.lstsq(design, (position**2).sum(1), rcond=None)
    offset = position - (solution[:3] if rank == 4 else position.mean(0) * (1, 1, 0))
    angle = np.arctan2(np.hypot(offset[:, 0], offset[:, 1]), offset[:, 2])
    turn = np.arctan2(offset[:, 1], offset[:, 0])
    radius = _RADIUS * angle / (np.pi / 2)
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
