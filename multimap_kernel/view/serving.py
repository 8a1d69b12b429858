"""The server of the viewer: on loopback, one page per viewer, each behind a token of its own."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import neuroglancer
import neuroglancer.server
import tornado.web
import xarray as xr

from multimap_kernel.schema import InputError, require
from multimap_kernel.view.course import voxel_course
from multimap_kernel.view.layers import Layer
from multimap_kernel.view.page import viewer_page
from multimap_kernel.view.picked import PickedTime
from multimap_kernel.view.scene import viewer_state, voxel_sizes
from multimap_kernel.view.volumes import Volumes

LOOPBACK = "127.0.0.1"
"""The viewer listens here and nowhere else: the token in its address is its only lock."""
_KEPT = 8  # viewers; a notebook that shows hundreds of maps must not keep the arrays of all
_SAME_S = 1e-3  # the client keeps positions as float32


class Viewer(NamedTuple):
    """A running viewer and the address of its page on this machine."""

    viewer: neuroglancer.Viewer
    url: str


class _Served(NamedTuple):
    viewer: neuroglancer.Viewer  # the server itself holds it weakly
    page: str
    series: xr.Dataset | None
    leave: Callable[[], None]


def serve(
    layers: Sequence[Layer],
    *,
    series: xr.Dataset | None = None,
    volumes: Volumes | None = None,
    picked: PickedTime | None = None,
    port: int = 0,
) -> Viewer:
    """Start the viewer on 127.0.0.1; it runs beside the caller until the process ends.

    Parameters
    ----------
    layers
        What `map_layers` gave; may be empty if there are volumes.
    series
        What `voxel_course` takes: the course of the voxel under the cross-hair is shown.
    volumes
        What `make_volumes` gave: a person can step through them.
    picked
        Time that the viewer follows and sets; needs volumes.
    port
        Port on loopback; 0 for a free one, or the one where this process serves already.

    Returns
    -------
    The viewer, and the address of its page: three planes, colour bar, orientation labels, choice of the map.

    Raises
    ------
    SchemaError
        If the series lack their mask.
    InputError
        If there is nothing to show, a picked time but no volumes, the port is taken, or this process serves on
        another one already.
    """
    if not layers and volumes is None:
        raise InputError("there must be at least one map, an anatomy or volumes to show, found none")
    if picked is not None and volumes is None:
        raise InputError("a picked time needs volumes to step through, found none; give volumes=")
    if series is not None:
        require(series, "series", "mask", where="serve")
    server = _server(port)
    viewer = neuroglancer.Viewer()
    images = [layer.name for layer in layers] + ([volumes.name] if volumes is not None else [])
    state = neuroglancer.ViewerState(viewer_state(layers, dict.fromkeys(images, "python://volume"), volumes=volumes))
    for layer in layers:
        state.layers[layer.name].source[0].url = _local(layer.values, layer)
    if volumes is not None:
        state.layers[volumes.name].source[0].url = _local(volumes, volumes)
    viewer.set_state(state)
    with viewer.config_state.txn() as config:
        config.show_layer_panel = False  # the page has its own choice of the map
    leave = _follow(viewer, volumes, picked) if picked is not None and volumes is not None else _stay
    courses = "course" if series is not None else ""
    page = viewer_page(layers, f"../../v/{viewer.token}/", courses=courses, volumes=volumes)
    pages = server.app.settings["multimap_pages"]
    pages[viewer.token] = _Served(viewer, page, series, leave)
    while len(pages) > _KEPT:
        pages.pop(next(iter(pages))).leave()
    return Viewer(viewer, f"http://{LOOPBACK}:{server.port}/multimap/{viewer.token}/")


def wait_for_interrupt() -> None:
    """Keep a served viewer alive until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _stay() -> None:
    """A viewer that follows nobody has nobody to leave."""


def _follow(viewer: neuroglancer.Viewer, volumes: Volumes, picked: PickedTime) -> Callable[[], None]:
    """Tie the time of the viewer to the picked one, both ways; the answer unties them."""
    axis = len("xyz")

    def from_viewer() -> None:
        position = viewer.state.position
        if position is not None and len(position) > axis:
            seconds = float(position[axis]) * volumes.repetition_time
            if abs(seconds - picked.time) > _SAME_S:
                picked.time = seconds

    def to_viewer(_: object = None) -> None:
        if abs(float(viewer.state.position[axis]) * volumes.repetition_time - picked.time) > _SAME_S:
            with viewer.txn() as state:
                state.position = [*state.position[:axis], picked.time / volumes.repetition_time]

    to_viewer()
    viewer.shared_state.add_changed_callback(from_viewer)
    picked.observe(to_viewer, "time")

    def leave() -> None:
        picked.unobserve(to_viewer, "time")
        viewer.shared_state.remove_changed_callback(from_viewer)

    return leave


def _server(port: int) -> Any:
    """The one server of this process, with the routes to our pages."""
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
        routes = [(r"/multimap/([0-9a-zA-Z]+)/", _PageHandler), (r"/multimap/([0-9a-zA-Z]+)/course", _CourseHandler)]

        def install() -> None:
            server.app.settings["multimap_pages"] = {}
            server.app.settings["multimap_executor"] = server.executor
            server.app.add_handlers(".*", routes)
            installed.set_result(None)

        server.loop.call_soon_threadsafe(install)  # the server's own thread reads the routes
        installed.result(timeout=10)
    return server


class _Handler(tornado.web.RequestHandler):
    """What belongs to one viewer; its token is the only key."""

    def served(self, token: str) -> _Served:
        """The viewer of a token; 404 if there is none."""
        pages = self.application.settings["multimap_pages"]
        if token not in pages:
            raise tornado.web.HTTPError(404)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        return pages[token]  # type: ignore[no-any-return]


class _PageHandler(_Handler):
    """The page around one viewer."""

    def get(self, token: str) -> None:
        page = self.served(token).page
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page)


class _CourseHandler(_Handler):
    """The course of the voxel at ``?x=&y=&z=``, read beside the server's own thread."""

    async def get(self, token: str) -> None:
        series = self.served(token).series
        if series is None:
            raise tornado.web.HTTPError(404)
        try:
            position = [float(self.get_query_argument(axis)) for axis in "xyz"]
            executor = self.application.settings["multimap_executor"]
            told = await tornado.ioloop.IOLoop.current().run_in_executor(executor, voxel_course, series, position)
        except (ValueError, InputError) as fault:
            raise tornado.web.HTTPError(400) from fault
        self.finish(json.dumps(told))


def _local(data: Any, image: Layer | Volumes) -> neuroglancer.LocalVolume:
    names, units, scales = list("ijk"), ["m"] * 3, (voxel_sizes(image.affine) * 1e-3).tolist()
    if isinstance(image, Volumes):
        names, units, scales = [*names, "t"], [*units, "s"], [*scales, image.repetition_time]
    dimensions = neuroglancer.CoordinateSpace(names=names, units=units, scales=scales)
    # no pyramid: an averaged statistic would pass under a threshold that its voxels reach
    return neuroglancer.LocalVolume(data, dimensions=dimensions, volume_type="image", downsampling=None)
