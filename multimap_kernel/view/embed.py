"""Maps on the screen: an interactive viewer on loopback, inside a notebook or alone, and a picture that stays."""

from __future__ import annotations

import base64
import contextlib
import html
import importlib.util
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import jinja2
import neuroglancer
import neuroglancer.server
import tornado.web
import xarray as xr
from IPython.display import publish_display_data
from jupyter_server.serverapp import list_running_servers

from multimap_kernel.schema import InputError
from multimap_kernel.view.figures import figure_png
from multimap_kernel.view.figures_maps import map_figure
from multimap_kernel.view.layers import Layer, map_layers
from multimap_kernel.view.scene import NEGATIVE, POSITIVE, peak_position, viewer_state, voxel_sizes

LOOPBACK = "127.0.0.1"
"""The viewer listens here and nowhere else: the token in its address is its only lock."""
_FOLDER = Path(__file__).parent
_KEPT = 8  # viewers; a notebook that shows hundreds of maps must not keep the arrays of all


class Viewer(NamedTuple):
    """A running viewer and the address of its page on this machine."""

    viewer: neuroglancer.Viewer
    url: str


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
    """

    png: bytes = field(repr=False)
    url: str = ""
    link: str = ""
    viewer: neuroglancer.Viewer | None = field(default=None, repr=False)

    def _ipython_display_(self) -> None:
        for output in self.outputs():
            publish_display_data(output)  # type: ignore[no-untyped-call]  # IPython

    def outputs(self) -> list[dict[str, str]]:
        """MIME bundles, one per output: Jupyter shows one form of each, and the picture must outlive the frame."""
        bundles = []
        if self.url:
            frame = f'<iframe src="{html.escape(self.url)}" width="100%" height="620" style="border:0"></iframe>'
            bundles.append({"text/html": frame, "text/plain": f"viewer: {self.url}"})
        picture = base64.b64encode(self.png).decode()
        bundles.append({"image/png": picture, "text/plain": "picture of the maps as slices"})
        if self.link:
            anchor = f'<a href="{html.escape(self.link)}" target="_blank" rel="noopener">open in the viewer</a>'
            bundles.append({"text/html": anchor, "text/plain": self.link})
        return bundles


def show(
    maps: xr.Dataset | Sequence[xr.Dataset],
    *,
    anatomy: xr.Dataset | None = None,
    link: str | None = None,
    port: int = 0,
    backend: Literal["neuroglancer", "png"] = "neuroglancer",
) -> Shown:
    """Show maps over anatomy.

    Parameters
    ----------
    maps
        Activation or coupling maps as `map_layers` takes them, on native or template grids (affine in mm).
    anatomy
        ``anatomy (z, y, x)`` with its ``affine``.
    link
        Durable address of the same maps, shown beside the picture.
    port
        Port on loopback; 0 for a free one.
    backend
        ``png`` draws the picture only; so does every run with ``MULTIMAP_BATCH=1``, because an interactive
        frame in an executed notebook is dead.

    Returns
    -------
    An object that a notebook displays.

    Raises
    ------
    SchemaError
        If a Dataset is not a map.
    InputError
        If the port is taken, or the link is no web address.
    """
    if link and urlsplit(link).scheme not in {"", "http", "https"}:
        raise InputError(f"link must be a web address (http, https or a path), found {link!r}")
    layers = map_layers(maps, anatomy=anatomy)
    png = figure_png(map_figure(layers))
    if backend == "png" or os.environ.get("MULTIMAP_BATCH") == "1":
        return Shown(png, link=link or "")
    viewer, url = serve(layers, port=port)
    return Shown(png, notebook_url(url), link or "", viewer)


def serve(layers: Sequence[Layer], *, port: int = 0) -> Viewer:
    """Start the viewer on 127.0.0.1; it runs beside the caller until the process ends.

    Parameters
    ----------
    layers
        What `map_layers` gave; at least one.
    port
        Port on loopback; 0 for a free one, or the one where this process serves already.

    Returns
    -------
    The viewer, and the address of its page: three planes, colour bar, orientation labels, choice of the map.

    Raises
    ------
    InputError
        If there is no layer, the port is taken, or this process serves on another one already.
    """
    if not layers:
        raise InputError("there must be at least one map or an anatomy to show, found none")
    server = _server(port)
    viewer = neuroglancer.Viewer()
    state = neuroglancer.ViewerState(viewer_state(layers, {layer.name: "python://volume" for layer in layers}))
    for layer in layers:
        state.layers[layer.name].source[0].url = _volume(layer)
    viewer.set_state(state)
    with viewer.config_state.txn() as config:
        config.show_layer_panel = False  # the page has its own choice of the map
    pages = server.app.settings["multimap_pages"]
    pages[viewer.token] = (viewer, viewer_page(layers, f"../../v/{viewer.token}/"))
    while len(pages) > _KEPT:
        del pages[next(iter(pages))]
    return Viewer(viewer, f"http://{LOOPBACK}:{server.port}/multimap/{viewer.token}/")


def wait_for_interrupt() -> None:
    """Keep a served viewer alive until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def notebook_url(url: str) -> str:
    """Rewrite a loopback address into the one under which the browser of this notebook reaches it.

    In a Hub or a Lab with jupyter-server-proxy that is ``<prefix>/proxy/<port>/...``, relative to the page's own
    host; elsewhere the loopback address itself, which only a browser on this machine can open.
    """
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _server_prefix()
    if not prefix or importlib.util.find_spec("jupyter_server_proxy") is None:
        return url
    return proxied_url(url, prefix)


def proxied_url(url: str, prefix: str) -> str:
    """Path of a loopback address behind jupyter-server-proxy, under the prefix of the Jupyter server."""
    parts = urlsplit(url)
    return f"{prefix.rstrip('/')}/proxy/{parts.port}{parts.path}"


def _server_prefix() -> str:
    """Base path of the Jupyter server that started this kernel; empty if there is none."""
    parent = int(os.environ.get("JPY_PARENT_PID", "0"))
    return next((str(one["base_url"]) for one in list_running_servers() if parent and one["pid"] == parent), "")


def _server(port: int) -> Any:
    """The one server of this process, with the route to our page."""
    if not neuroglancer.is_server_running():
        neuroglancer.set_server_bind_address(LOOPBACK, port)
        try:
            neuroglancer.server.start()
        except OSError as fault:
            raise InputError(f"port {port} of {LOOPBACK} must be free, found: {fault}; choose another or 0") from fault
    server = neuroglancer.server.global_server
    if port not in {0, server.port}:
        raise InputError(f"this process serves on port {server.port} already, found {port}; give that port or 0")
    if "multimap_pages" not in server.app.settings:
        installed: Future[None] = Future()

        def install() -> None:
            server.app.settings["multimap_pages"] = {}
            server.app.add_handlers(".*", [(r"/multimap/([0-9a-zA-Z]+)/", _PageHandler)])
            installed.set_result(None)

        server.loop.call_soon_threadsafe(install)  # the server's own thread reads the routes
        installed.result(timeout=10)
    return server


class _PageHandler(tornado.web.RequestHandler):
    """The page around one viewer; its token is the only key."""

    def get(self, token: str) -> None:
        pages = self.application.settings["multimap_pages"]
        if token not in pages:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish(pages[token][1])


def _volume(layer: Layer) -> neuroglancer.LocalVolume:
    dimensions = neuroglancer.CoordinateSpace(
        names=["i", "j", "k"], units="m", scales=(voxel_sizes(layer.affine) * 1e-3).tolist()
    )
    # no pyramid: an averaged statistic would pass under a threshold that its voxels reach
    return neuroglancer.LocalVolume(layer.values, dimensions=dimensions, volume_type="image", downsampling=None)


def viewer_page(layers: Sequence[Layer], source: str) -> str:
    """Make the page around a Neuroglancer client at ``source``: choice of the map, colours, names of the planes."""
    described = [
        {
            "name": layer.name,
            "title": layer.title,
            "passes": layer.passes,
            "statistic": layer.statistic,
            "limits": list(layer.limits),
            "legend": "; ".join(filter(None, (layer.legend, layer.note, f"null: {layer.null}"))),
            "peak": peak_position(layer).tolist(),
            "positive": POSITIVE,
            "negative": NEGATIVE,
        }
        for layer in layers
        if layer.kind == "heat"
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("viewer.html").render(title="multimap", source=source, layers=described)
