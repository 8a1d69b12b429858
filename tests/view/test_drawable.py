"""What a session cannot show is known before it is drawn, and said in a sentence."""

import numpy as np
import xarray as xr

from multimap_kernel.view.drawable import left_out


def _maps() -> tuple[dict[str, xr.Dataset], xr.DataArray]:
    """All five kinds, over six channels that all have a place."""
    over = {"condition": 2, "band": 3, "channel": 6, "latency": 4, "lag": 2, "region": 2}
    dims = {
        "sensor": ("condition", "band", "channel"),
        "evoked": ("condition", "channel", "latency"),
        "pattern": ("channel", "band", "lag", "region"),
    }
    maps = {kind: xr.Dataset({"statistic": (d, np.ones([over[one] for one in d]))}) for kind, d in dims.items()}
    maps["pattern"]["pattern"] = maps["pattern"]["statistic"].copy()
    return maps | {"activation": xr.Dataset(), "coupling": xr.Dataset()}, xr.DataArray(
        np.ones((6, 3)), dims=("channel", "world")
    )


def test_left_out__names_nothing_that_can_be_drawn():
    maps, position = _maps()
    assert left_out(maps, position=position) == {}
    maps["sensor"]["statistic"][1] = np.nan  # a condition that the EEG does not hold
    maps["pattern"]["pattern"][..., 1] = np.nan  # a region that the ridge does not reach
    assert left_out(maps, position=position) == {}


def test_left_out__tells_no_events_from_too_few_places():
    maps, position = _maps()
    rest = {kind: maps[kind] for kind in ("coupling", "pattern")}
    assert set(left_out(rest, position=position)) == {"activation", "sensor", "evoked"}
    assert repr(left_out(rest, position=position)["sensor"]) == "sensor maps: none, this session has no events"
    position[3:] = np.nan
    few = left_out(maps, position=position)
    assert set(few) == {"sensor", "pattern"}
    assert few["pattern"].endswith("fewer than four electrodes have a position and a value")


def test_left_out__counts_a_place_only_where_there_is_a_value():
    maps, position = _maps()
    maps["sensor"]["statistic"][:, :, 3:] = np.nan
    maps["evoked"]["statistic"][:] = np.nan
    assert set(left_out(maps, position=position)) == {"sensor", "evoked"}
