"""Pictures of results: maps as slices over anatomy, and the ridge's score against its null."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure

from multimap_kernel.schema import Fit, SchemaError
from multimap_kernel.view.figures import BLUE, GREY
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.scene import NEGATIVE, POSITIVE, extent, peak_position
from multimap_kernel.view.volumes import Volumes

_STEP = 1.5  # mm per pixel of the slices
_WIDTH = 10.0  # inches
_BAR = 0.09  # of the width, for the colour bar
_TITLE = 0.6  # inches above each row
_RIM = np.array([[-6.0, -6.0, 0.0], [6.0, 6.0, 0.0]])  # mm around what is drawn


def map_figure(layers: Sequence[Layer], *, slices: int = 7) -> Figure:
    """Draw each heat layer as a row of axial slices over the anatomy, left on the left.

    Parameters
    ----------
    layers
        What `map_layers` gave: heat layers, and at most one grey layer that lies below all of them.
    slices
        Slices per map, at equal distances; the one nearest to the map's peak goes through it.

    Returns
    -------
    One row per map, with the name of its statistic, the threshold, and what the threshold means. Statistics are
    drawn without interpolation: no voxel is shown that did not pass.

    Raises
    ------
    SchemaError
        If no layer is a heat layer.
    """
    heat = [layer for layer in layers if layer.kind == "heat"]
    if not heat:
        raise SchemaError("map_figure", ["at least one layer must be a statistic, found none"])
    grey = next((layer for layer in layers if layer.kind == "grey"), None)
    low, high = extent(grey or heat[0]) + _RIM
    row = _WIDTH * (1 - _BAR) * (high[1] - low[1]) / (slices * (high[0] - low[0]))
    height = len(heat) * (row + _TITLE) + 0.05
    figure = Figure(figsize=(_WIDTH, height))
    for number, layer in enumerate(heat):
        bottom = 1 - (number + 1) * (row + _TITLE) / height
        axes = figure.add_axes((0.0, bottom, 1 - _BAR, row / height))
        cuts = _cuts(layer, slices)
        _draw_slices(axes, layer, grey, cuts, low, high)
        bar = figure.add_axes((1 - _BAR + 0.02, bottom + 0.12 * row / height, 0.012, 0.76 * row / height))
        _draw_bar(bar, layer)
        top = bottom + row / height
        words = "; ".join(filter(None, (layer.legend, layer.note)))
        figure.text(0.008, top + 0.37 / height, layer.title, fontsize=10.5, fontweight="bold")
        figure.text(0.008, top + 0.21 / height, words, fontsize=8.5)
        figure.text(0.008, top + 0.06 / height, f"null: {layer.null}", fontsize=8, color=GREY)
    return figure


def volume_figure(layers: Sequence[Layer], volumes: Volumes | None = None, *, slices: int = 7) -> Figure:
    """Draw one row of slices of what is there without a map: the anatomy, else the first volume of the run.

    Raises
    ------
    SchemaError
        If there is neither.
    """
    grey = next((layer for layer in layers if layer.kind == "grey"), None)
    if grey is None and volumes is not None:
        first = volumes[:, :, :, 0:1][..., 0]
        grey = Layer("volume-0", "first volume", first, volumes.affine, "grey", limits=volumes.limits)
    if grey is None:
        raise SchemaError("volume_figure", ["there must be a map, an anatomy or volumes to draw, found none"])
    low, high = extent(grey) + _RIM
    row = _WIDTH * (high[1] - low[1]) / (slices * (high[0] - low[0]))
    figure = Figure(figsize=(_WIDTH, row + 0.35))
    axes = figure.add_axes((0.0, 0.0, 1.0, row / (row + 0.35)))
    _draw_slices(axes, None, grey, _spread(low[2], high[2], slices), low, high)
    figure.text(0.008, 1 - 0.22 / (row + 0.35), grey.title, fontsize=10.5, fontweight="bold")
    return figure


def _cuts(layer: Layer, slices: int) -> np.ndarray:
    """World z (mm) of the slices, through what the map covers."""
    low, high = extent(layer)[:, 2]
    cuts = _spread(low, high, slices)
    if np.any(layer.values):
        peak = peak_position(layer)[2]
        cuts[np.abs(cuts - peak).argmin()] = peak
    return cuts


def _spread(low: float, high: float, slices: int) -> np.ndarray:
    margin = 0.1 * (high - low)
    return np.linspace(low + margin, high - margin, slices)


def _draw_slices(
    axes: Axes, layer: Layer | None, grey: Layer | None, cuts: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    x, y = np.arange(low[0], high[0], _STEP), np.arange(low[1], high[1], _STEP)
    grid = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], cuts[:, None, None]), -1)
    if grey is None:
        axes.imshow(np.full((y.size, x.size * len(cuts)), 0.15), cmap="gray", vmin=0, vmax=1, origin="lower")
    else:
        ground = np.hstack(list(grey.at(grid, order=1)))
        axes.imshow(ground, cmap="gray", vmin=grey.limits[0], vmax=1.1 * grey.limits[1], origin="lower")
    if layer is not None:
        value, limit = np.hstack(list(layer.at(grid))), layer.limits[1]
        passing = np.ma.masked_where(np.abs(value) < layer.threshold, value)
        axes.imshow(passing, cmap=_colours(layer), vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
    axes.set_axis_off()
    for number, cut in enumerate(cuts):
        left, middle = number * x.size, y.size / 2
        axes.text(left + 2, 2, f"z {cut:.0f}", color="white", fontsize=8)
        axes.text(left + 1, middle, "L", color="white", fontsize=8, va="center")
        axes.text(left + x.size - 2, middle, "R", color="white", fontsize=8, va="center", ha="right")


def _draw_bar(axes: Axes, layer: Layer) -> None:
    limit, threshold = layer.limits[1], layer.threshold
    mappable = ScalarMappable(Normalize(-limit, limit), _colours(layer, hidden="0.85"))
    bar = axes.figure.colorbar(mappable, cax=axes)
    ticks = [-limit, -threshold, 0.0, threshold, limit]
    if threshold > 0.85 * limit:  # the labels of threshold and limit would touch
        ticks = [-threshold, 0.0, threshold]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}".replace("-", "−") for tick in ticks], fontsize=8)
    if layer.fdr_threshold is not None and layer.fdr_threshold <= limit:
        bar.ax.hlines([-layer.fdr_threshold, layer.fdr_threshold], 0, 1, color=GREY, linewidth=1, linestyle=(0, (2, 1)))
    axes.set_title(layer.statistic, fontsize=9, pad=4)


def _colours(layer: Layer, hidden: str | None = None) -> ListedColormap:
    """The viewer's colours over -limit..limit: the weakest colour stands at the threshold."""
    value = np.linspace(-1, 1, 512) * layer.limits[1]
    strength = np.clip((np.abs(value) - layer.threshold) / max(layer.limits[1] - layer.threshold, 1e-6), 0, 1)
    table = np.where(
        (value > 0)[:, None],
        np.column_stack([np.interp(strength, (0, 0.5, 1), part) for part in np.transpose(POSITIVE)]),
        np.column_stack([np.interp(strength, (0, 0.5, 1), part) for part in np.transpose(NEGATIVE)]),
    )
    if hidden is not None:
        table[np.abs(value) < layer.threshold] = to_rgb(hidden)
    return ListedColormap(table, name="heat")


def score_figure(fit: Fit) -> Figure:
    """Draw how well the ridge predicts BOLD out of fold, against the same on BOLD that the EEG does not drive.

    Parameters
    ----------
    fit
        What `fusion.fit` found.

    Returns
    -------
    The score as a line over the range of its null.
    """
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    mean, upper = fit.null_score
    above = fit.score > upper
    axes.barh([0], [upper - mean], left=[mean], height=0.5, color="0.8", label="null: mean to 95 %")
    axes.axvline(mean, color=GREY, linewidth=1.0, linestyle=":")
    axes.axvline(fit.score, color=BLUE, linewidth=2.5, label=f"{fit.model}: {fit.score:.3f}")
    values = (0.0, mean, upper, fit.score)
    margin = 0.25 * (max(values) - min(values)) or 0.05
    axes.set(
        xlim=(min(values) - margin, max(values) + margin),
        ylim=(-0.5, 1.2),
        yticks=[],
        xlabel="correlation, mean over voxels",
    )
    axes.legend(loc="upper left", ncols=2, frameon=False, fontsize=9)
    lags = ", ".join(f"{lag:g}" for lag in fit.lags_s)
    title = (
        f"BOLD from EEG, out of fold: {'above' if above else 'within'} the null; {len(fit.split)} folds, lags {lags} s"
    )
    figure.suptitle(textwrap.shorten(title, 130), fontsize=11)
    return figure
