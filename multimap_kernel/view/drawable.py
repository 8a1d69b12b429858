"""Which maps of a session can be drawn, and in a sentence why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

_OF_EVENTS = {"activation": "activation maps", "sensor": "sensor maps", "evoked": "evoked responses"}
_ON_THE_HEAD = {"sensor": "sensor maps", "pattern": "EEG pattern of BOLD"}
_LEAST = 4
"""Sensors without which a head cannot be drawn."""


class Reason(str):
    """A sentence that a notebook shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def left_out(maps: Mapping[str, xr.Dataset], *, position: xr.DataArray) -> dict[str, Reason]:
    """Tell which kinds of maps a session cannot show.

    Parameters
    ----------
    maps
        The maps that there are, by kind: ``activation``, ``coupling``, ``sensor``, ``evoked``, ``pattern``.
    position
        ``position (channel, world; mm)``, NaN where unknown.

    Returns
    -------
    A sentence for each kind that is not there because the session has no events, or that has too few values or places
    to be drawn; a kind that can be drawn is not named.
    """
    told = {
        kind: f"{title}: none, this session has no events" for kind, title in _OF_EVENTS.items() if kind not in maps
    }
    for kind, title in _ON_THE_HEAD.items():
        if kind in maps and _places(maps[kind], position) < _LEAST:
            told[kind] = f"{title}: not drawn, fewer than four electrodes have a position and a value"
    if "evoked" in maps and not maps["evoked"]["statistic"].notnull().any():
        told["evoked"] = "evoked responses: not drawn, no condition has three trials that can be used"
    return {kind: Reason(why) for kind, why in told.items()}


def _places(ds: xr.Dataset, position: xr.DataArray) -> int:
    """Number of channels with a position and all values, in the conditions and the regions that have any."""
    known = ds["pattern" if "pattern" in ds else "statistic"].notnull()
    known = known.any("region") if "region" in known.dims else known
    told = known.any([dim for dim in known.dims if dim != "condition"])
    whole = (known | ~told).all([dim for dim in known.dims if dim != "channel"]) & told.any()
    return int((whole & position.notnull().all("world")).sum())
