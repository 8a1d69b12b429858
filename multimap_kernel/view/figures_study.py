"""Pictures of a whole study: the quality of all sessions, and one map of each side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from multimap_kernel.schema import SchemaError
from multimap_kernel.view.figures import BLUE, GREY, VERDICTS
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.scene import NEGATIVE, POSITIVE

_MEASURES = (
    ("residual_ms", "marker residual\n(rms, ms)"),
    ("drift_ppm", "clock drift\n(ppm)"),
    ("displacement_mm", "framewise displ.\n(mean, mm)"),
    ("tsnr", "temporal SNR\n(median)"),
    ("gradient_residual", "gradient residual\n(1: none left)"),
    ("score", "BOLD from EEG\n(r out of fold)"),
)
_DECIMALS = 4  # of each measure in its unit
_STEP = 1.5  # mm per pixel of the tiles
_COLUMNS, _TILE = 6, 1.6  # tiles in a row; inches


def study_figure(quality: pd.DataFrame) -> Figure:
    """Draw the quality of each session of a study, one column per measure.

    Parameters
    ----------
    quality
        What `study_quality` gave.

    Returns
    -------
    One row per session: its dot in the colour of the alignment's verdict, a cross if it was excluded or held; the
    line is the median over the sessions that count. In the last panel the grey bar reaches to the 95 % point of the
    null.
    """
    place = np.arange(len(quality))
    out = quality["decision"].isin(["exclude", "hold"]).to_numpy()
    figure = Figure(figsize=(11, 1.5 + 0.26 * len(quality)), layout="constrained")
    panels = figure.subplots(1, len(_MEASURES), sharey=True)
    colours = np.array([VERDICTS.get(verdict, GREY) for verdict in quality.get("verdict", [""] * len(quality))])
    for axes, (name, label) in zip(panels, _MEASURES, strict=True):
        values = quality[name].to_numpy(float) if name in quality else np.full(len(quality), np.nan)
        values = values.round(_DECIMALS)  # below it a spread is that of arithmetic
        if name == "score" and "null_upper" in quality:
            axes.barh(place, quality["null_upper"], height=0.7, color="0.88")
        axes.scatter(values[~out], place[~out], c=colours[~out], s=26, zorder=3)
        axes.scatter(values[out], place[out], c=GREY, marker="x", s=26, zorder=3)
        if np.isfinite(values[~out]).any():
            axes.axvline(np.nanmedian(values[~out]), color=BLUE, linewidth=1.0)
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
        axes.margins(x=0.15)
        axes.locator_params(axis="x", nbins=3)
        low, high = axes.get_xlim()
        if high - low < 10**-_DECIMALS:  # all the same
            axes.set_xlim(low - 1, high + 1)
    told = [f"{label} ({fate})" if fate else str(label) for label, fate in quality["decision"].items()]
    panels[0].set_yticks(place, told, fontsize=8)
    panels[0].set_ylim(len(quality) - 0.5, -0.5)
    figure.suptitle(f"Quality of {len(quality)} sessions; × is left out, the line is the median", fontsize=11)
    return figure


def side_by_side(maps: Mapping[str, Layer], *, anatomy: Layer | None = None) -> Figure:
    """Draw the same slice of one map of each session, side by side on one scale.

    Parameters
    ----------
    maps
        Session label to its heat layer; all in one space.
    anatomy
        Grey layer below them.

    Returns
    -------
    Axial tiles at the height where the mean over sessions of |statistic| is largest. Weak values fade out instead of
    vanishing at a threshold; a line surrounds what passes the session's own family-wise threshold.

    Raises
    ------
    SchemaError
        If there is no map, or the maps lie in different spaces.

    References
    ----------
    .. [1] Taylor et al. (2023), Highlight results, don't hide them. NeuroImage 274, 120138.
    """
    spaces = {layer.space for layer in maps.values()}
    if len(spaces) != 1 or (len(maps) > 1 and "native" in spaces):
        raise SchemaError("side_by_side", [f"maps must lie in one template space, found {sorted(spaces) or 'no map'}"])
    layers = list(maps.values())
    grid, height = _slice(layers, anatomy)
    limit = float(np.median([layer.limits[1] for layer in layers]))
    columns = min(_COLUMNS, max(3, len(layers)))
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(columns * _TILE + 0.9, rows * 1.35 * _TILE + 0.5), layout="constrained")
    tiles = figure.subplots(rows, columns, squeeze=False)
    for axes in tiles.ravel():
        axes.set_axis_off()
    for axes, (label, layer) in zip(tiles.ravel(), maps.items(), strict=False):
        _draw_tile(axes, layer, anatomy, grid, limit)
        axes.set_title(f"{label}\n{'' if layer.passes else 'nothing passes'}", fontsize=7.5, pad=2)
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), _colours()), ax=tiles, shrink=0.7, aspect=25)
    bar.set_label(layers[0].statistic, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f"{layers[0].title}, axial slice at {height:.0f} mm; a line surrounds p_fwe < {layers[0].alpha:g}", fontsize=10
    )
    return figure


def _slice(layers: list[Layer], anatomy: Layer | None) -> tuple[np.ndarray, float]:
    """World positions (y, x, world; mm) of the slice, and its height."""
    first = layers[0]
    strength = np.mean([np.abs(layer.values).max((0, 1)) for layer in layers], axis=0)
    height = float(first.affine[2, 2] * strength.argmax() + first.affine[2, 3])
    ground = anatomy or first
    corners = np.argwhere(ground.values != 0) if np.any(ground.values) else np.array([[0, 0, 0], ground.values.shape])
    world = corners @ ground.affine[:3, :3].T + ground.affine[:3, 3]
    x, y = (np.arange(world[:, axis].min() - 4, world[:, axis].max() + 4, _STEP) for axis in (0, 1))
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None], height), -1)
    inside = np.argwhere(np.abs(ground.at(grid)) > 0.1 * ground.limits[1])
    (top, left), (bottom, right) = (inside.min(0), inside.max(0) + 1) if inside.size else ((0, 0), grid.shape[:2])
    return grid[top:bottom, left:right], height


def _draw_tile(axes: Axes, layer: Layer, anatomy: Layer | None, grid: np.ndarray, limit: float) -> None:
    value = layer.at(grid)
    if anatomy is not None:
        ground = anatomy.at(grid, order=1)
        axes.imshow(ground, cmap="gray", vmin=anatomy.limits[0], vmax=1.1 * anatomy.limits[1], origin="lower")
    fade = np.clip(np.abs(value) / max(layer.threshold, 1e-6), 0, 1) ** 2
    axes.imshow(value, cmap=_colours(), vmin=-limit, vmax=limit, alpha=fade, origin="lower", interpolation="nearest")
    passing = np.abs(value) >= layer.threshold
    if layer.passes and passing.any():
        axes.contour(passing, levels=[0.5], colors="white", linewidths=0.8)
    axes.text(0.02, 0.03, "L", transform=axes.transAxes, fontsize=7, color=GREY)


def _colours() -> LinearSegmentedColormap:
    """The viewer's colours over -limit..limit, the weakest in the middle."""
    return LinearSegmentedColormap.from_list("heat", [*reversed(NEGATIVE), *POSITIVE])
