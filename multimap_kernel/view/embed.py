"""Maps on the screen: an interactive viewer inside a notebook, and a picture that stays.

Views that step through time together share a `PickedTime`: one object, made by the notebook, given to `show` as
``picked`` and to any widget that has a time of its own.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import neuroglancer
import xarray as xr
from IPython.display import display, publish_display_data
from jupyter_server.serverapp import list_running_servers

from multimap_kernel.schema import InputError
from multimap_kernel.view.figures import figure_png
from multimap_kernel.view.figures_maps import map_figure, volume_figure
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.picked import PickedTime
from multimap_kernel.view.serving import serve
from multimap_kernel.view.volumes import make_volumes


@dataclass(frozen=True)
class Shown:
    """What `show` gives; a notebook displays the viewer, the picture and the link, a batch run only the latter two.

    Parameters
    ----------
    png
        The maps as slices, PNG.
    url
        Address of the interactive viewer as the browser must ask for it; empty without one.
    link
        Address that stays when this kernel is gone; empty if there is none.
    viewer
        The Neuroglancer viewer, whose state can be read and changed; None without one.
    widget
        The NiiVue widget; None without one.
    height
        Height of the frame, pixels.
    """

    png: bytes = field(repr=False)
    url: str = ""
    link: str = ""
    viewer: neuroglancer.Viewer | None = field(default=None, repr=False)
    widget: Any = field(default=None, repr=False)
    height: int = 620

    def _ipython_display_(self) -> None:
        if self.widget is not None:
            display(self.widget)  # type: ignore[no-untyped-call]  # IPython
        for output in self.outputs():
            publish_display_data(output)  # type: ignore[no-untyped-call]  # IPython

    def outputs(self) -> list[dict[str, str]]:
        """MIME bundles, one per output: Jupyter shows one form of each, and the picture must outlive the frame."""
        bundles = []
        if self.url:
            style = f'width="100%" height="{self.height}" style="border:0"'
            frame = f'<iframe src="{html.escape(self.url)}" title="multimap viewer" {style}></iframe>'
            bundles.append({"text/html": frame, "text/plain": f"viewer: {self.url}"})
        picture = base64.b64encode(self.png).decode()
        bundles.append({"image/png": picture, "text/plain": "picture of the maps as slices"})
        if self.link:
            anchor = f'<a href="{html.escape(self.link)}" target="_blank" rel="noopener">open in the viewer</a>'
            bundles.append({"text/html": anchor, "text/plain": self.link})
        return bundles


def show(
    maps: xr.Dataset | Sequence[xr.Dataset] = (),
    *,
    anatomy: xr.Dataset | None = None,
    series: xr.Dataset | None = None,
    volumes: xr.Dataset | None = None,
    picked: PickedTime | None = None,
    link: str | None = None,
    port: int = 0,
    backend: Literal["neuroglancer", "niivue", "png"] = "neuroglancer",
) -> Shown:
    """Show maps over anatomy, and with them what lies behind them.

    Parameters
    ----------
    maps
        Activation or coupling maps as `map_layers` takes them, on native or template grids (affine in mm).
    anatomy
        ``anatomy (z, y, x)`` with its ``affine``.
    series
        ``series (time, voxel)`` with ``mask``, ``affine`` and ``time``, best with ``prediction`` and events beside it:
        a click on a point then shows what its voxel did.
    volumes
        ``bold (time, z, y, x)`` with ``affine`` and ``repetition_time``, in the space of the maps, to step through.
    picked
        Time that this viewer shares with other views; needs ``volumes``.
    link
        Durable address of the same maps, shown beside the picture.
    port
        Port on loopback; 0 for a free one.
    backend
        ``niivue`` is a quick look that needs no proxy: one map, without series and volumes. ``png`` draws the picture
        only; so does every run with ``MULTIMAP_BATCH=1``, because an interactive frame in an executed notebook is dead.

    Returns
    -------
    An object that a notebook displays.

    Raises
    ------
    SchemaError
        If a Dataset is not a map, or not what it is given for.
    InputError
        If the port is taken, there is nothing to show, the link is no web address, or ``niivue`` is asked for and not
        installed.
    """
    if link and urlsplit(link).scheme not in {"", "http", "https"}:
        raise InputError(f"link must be a web address (http, https or a path), found {link!r}")
    layers = map_layers(maps, anatomy=anatomy)
    stack = None if volumes is None else make_volumes(volumes)
    heat = any(layer.kind == "heat" for layer in layers)
    png = figure_png(map_figure(layers) if heat else volume_figure(layers, stack))
    if backend == "png" or os.environ.get("MULTIMAP_BATCH") == "1":
        return Shown(png, link=link or "")
    if backend == "niivue":
        from multimap_kernel.view.niivue import niivue_view  # noqa: PLC0415  # ipyniivue is an optional extra

        return Shown(png, link=link or "", widget=niivue_view(layers))
    viewer, url = serve(layers, series=series, volumes=stack, picked=picked, port=port)
    height = 600 + (190 if series is not None else 0) + (36 if stack is not None else 0)
    return Shown(png, notebook_url(url), link or "", viewer, height=height)


def notebook_url(url: str) -> str:
    """Rewrite a loopback address into the one under which the browser of this notebook reaches it.

    In a Hub or a Lab that is ``<prefix>/proxy/<port>/...``, relative to the page's own host, through
    jupyter-server-proxy; outside of Jupyter the loopback address itself, for a browser on this machine.
    """
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _server_prefix()
    return proxied_url(url, prefix) if prefix else url


def proxied_url(url: str, prefix: str) -> str:
    """Path of a loopback address behind jupyter-server-proxy, under the prefix of the Jupyter server."""
    parts = urlsplit(url)
    return f"{prefix.rstrip('/')}/proxy/{parts.port}{parts.path}"


def _server_prefix() -> str:
    """Base path of the Jupyter server that started this kernel; empty if there is none."""
    parent = int(os.environ.get("JPY_PARENT_PID", "0"))
    return next((str(one["base_url"]) for one in list_running_servers() if parent and one["pid"] == parent), "")
