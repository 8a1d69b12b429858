"""Heads drawn where the sensors are, and evoked responses in microvolts at their latencies."""

import mne
import numpy as np
import pytest
import xarray as xr

from multimap_kernel.schema import SchemaError
from multimap_kernel.view.figures_sensors import evoked_figure, pattern_figure, sensor_figure

NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2", "T7", "T8", "Cz"]


def _sensors() -> xr.Dataset:
    montage = mne.channels.make_standard_montage("colin27_1020").get_positions()["ch_pos"]
    position = np.array([montage[name] for name in NAMES]) * 1e3
    statistic = np.zeros((1, 2, len(NAMES)))
    statistic[0, 1, NAMES.index("O1")] = -6.0
    p_fwe = np.where(statistic < -5, 0.01, 1.0)
    dims = ("condition", "band", "channel")
    variables = {"statistic": (dims, statistic), "p_fwe": (dims, p_fwe), "position": (("channel", "world"), position)}
    return xr.Dataset(variables, {"condition": ["rest"], "band": ["theta", "alpha"], "channel": NAMES})


def test_sensor_figure__left_occipital_is_left_and_low():
    figure = sensor_figure(_sensors())
    theta, alpha = (axes.images[0].get_array().filled(0.0) for axes in figure.axes[:2])
    assert np.abs(theta).max() == 0
    row, column = np.argwhere(alpha < -3).mean(0) / alpha.shape  # row 0 is drawn at the bottom
    assert row < 0.3
    assert 0.1 < column < 0.45
    assert figure.get_suptitle() == "Sensors: 1 of 18 with p_fwe < 0.05 (white dots)"


def test_sensor_figure__refuses_too_few_positions():
    ds = _sensors()
    ds["position"][3:] = np.nan
    with pytest.raises(SchemaError, match="at least 4 sensors must have a position and a value, found 3"):
        sensor_figure(ds)


def _patterns() -> xr.Dataset:
    at = (NAMES.index("O1"), 1, 0, 1)
    pattern, p_fwe = np.zeros((len(NAMES), 2, 3, 2)), np.ones((len(NAMES), 2, 3, 2))
    pattern[at], p_fwe[at] = -0.4, 0.01
    dims = ("channel", "band", "lag", "region")
    ds = xr.Dataset({"pattern": (dims, pattern), "statistic": (dims, 0.5 * pattern), "p_fwe": (dims, p_fwe)})
    ds = ds.assign_coords(
        channel=NAMES, band=["theta", "alpha"], lag=[4.0, 6.0, 8.0], region=["x+0 y+0 z+0", "x+9 y+0 z+0"]
    )
    return ds.assign(position=_sensors()["position"])


def test_pattern_figure__strongest_region_with_a_head_for_each_band_and_lag():
    figure = pattern_figure(_patterns())
    *heads, bar = figure.axes
    assert [axes.get_title() for axes in heads[:3]] == ["4 s before", "6 s before", "8 s before"]
    assert [axes.get_ylabel() for axes in heads[::3]] == ["theta", "alpha"]
    moving = [np.abs(axes.images[0].get_array().filled(0.0)).max() > 0.3 for axes in heads]
    assert moving == [False, False, False, True, False, False]
    assert "log power" in bar.get_ylabel()
    assert figure.get_suptitle().startswith("EEG pattern of BOLD at x+9 y+0 z+0 mm\n1 of 54 go with measured BOLD")


def test_pattern_figure__refuses_what_it_cannot_draw():
    with pytest.raises(SchemaError, match=r"region must be one of x\+0 y\+0 z\+0, x\+9 y\+0 z\+0, found amygdala"):
        pattern_figure(_patterns(), region="amygdala")
    with pytest.raises(SchemaError, match="position must be there"):
        pattern_figure(_patterns().drop_vars("position"))
    with pytest.raises(SchemaError, match="at least 4 sensors must have a position and a value, found 3"):
        pattern_figure(_patterns().isel(channel=slice(3)))


def _evoked() -> xr.Dataset:
    latency = np.linspace(-0.2, 0.8, 101)
    t = np.random.default_rng(0).uniform(-1, 1, (2, len(NAMES), latency.size))
    t[0, NAMES.index("O1")] += 8 * np.exp(-0.5 * ((latency - 0.15) / 0.02) ** 2)
    t[1] = np.nan
    dims = ("condition", "channel", "latency")
    ds = xr.Dataset({"statistic": (dims, t), "effect": (dims, 1e-6 * t), "p_fwe": (dims, np.where(t > 5, 0.01, 1.0))})
    ds = ds.assign(trials=("condition", [30, 1]), position=_sensors()["position"])
    return ds.assign_coords(condition=["flicker", "tapping"], channel=NAMES, latency=latency)


def test_evoked_figure__thick_where_it_passes_and_heads_at_the_peaks():
    figure = evoked_figure(_evoked())
    response, *heads, bar = figure.axes
    assert response.get_title(loc="left") == "flicker: 30 trials; p_fwe < 0.05 thick"
    assert len(response.lines) == 2 * len(NAMES) + 3 + 1
    thick = np.array([line.get_ydata() for line in response.lines if line.get_linewidth() == 2.0])
    assert np.nanmax(thick) == pytest.approx(np.nanmax(_evoked()["effect"]) * 1e6)  # microvolts
    assert bar.get_ylabel() == "µV"
    assert "0.15 s" in [axes.get_title() for axes in heads]
    assert len(heads) == 3


def test_evoked_figure__without_positions_has_no_heads_and_without_values_is_refused():
    assert len(evoked_figure(_evoked().drop_vars("position")).axes) == 1
    with pytest.raises(SchemaError, match="no value in any condition"):
        evoked_figure(_evoked().isel(condition=[1]))
    with pytest.raises(SchemaError, match="without trials"):
        evoked_figure(_evoked().drop_vars("trials"))
