"""Extension of the Jupyter server: links on a laptop, the Share button's routes behind a hub, runs of others in both.

``multimap lab`` and the hub's configuration load it. Readers come in with the login of that server. Without a hub the
one who has its token is the owner of everything in the store.
"""

from __future__ import annotations

import asyncio
import html
import os
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tornado.web
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join

from multimap_kernel.schema import InputError
from multimap_kernel.share.access import Access
from multimap_kernel.share.live import Sharing
from multimap_kernel.share.opened import copy_run, find_runs
from multimap_kernel.share.places import LOCAL, configured_places, local_store, local_user
from multimap_kernel.share.records import RECORDS, Records
from multimap_kernel.share.routes import Routes, refused_page


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the routes to a Jupyter server, under ``<base_url>multimap/``."""
    prefix = url_path_join(server.web_app.settings["base_url"], "multimap/")
    handlers: list[Any] = [(f"{prefix}open", _Open, {"home": Path(server.root_dir)})]
    if os.environ.get("JUPYTERHUB_API_URL"):
        handlers.append((f"{prefix}sharing", Sharing))
    else:
        access = Access(Records(f"{local_store()}/{RECORDS}"), configured_places(), _everything)
        routes = Routes(access, prefix, _read_scene, f"{prefix}open?run=")
        handlers += routes.handlers(_Login, tornado.web.StaticFileHandler)
    server.web_app.add_handlers(".*$", handlers)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "multimap_kernel.share.extension"}]


async def _everything(_user: str) -> frozenset[str]:
    return frozenset({LOCAL})


def _read_scene(folder: str) -> Any:
    """The viewer is imported when the first link is opened: a Lab must not wait for it at its start."""
    return import_module("multimap_kernel.share.scene").read_scene(folder)


class _Login(JupyterHandler):
    """Whoever has the token of this server."""

    reader = local_user()


class _Open(JupyterHandler):
    """``open?run=RUN[/SESSION]``: copies the notebook to this user and opens it; its maker's server is not asked."""

    def initialize(self, home: Path) -> None:
        self.home = home

    @tornado.web.authenticated
    async def get(self) -> None:
        name = self.get_query_argument("run", "")
        roots = [place.url for place in configured_places().values()]
        try:
            found = await asyncio.to_thread(find_runs, name, roots)
        except InputError as fault:
            self.set_status(404)
            self.finish(refused_page(f"{fault}.", ""))
            return
        if len(found) > 1:
            self.finish(_choice(name, [record.session for record in found]))
            return
        place = await asyncio.to_thread(copy_run, found[0], self.home)
        self.redirect(url_path_join(self.base_url, "lab/tree", quote(place)))


def _choice(run: str, sessions: list[str]) -> str:
    rows = (f'<li><a href="open?run={quote(f"{run}/{one}")}">{html.escape(one)}</a></li>' for one in sessions)
    return f"<!doctype html><title>Run {html.escape(run)}</title><h1>Which session?</h1><ul>{''.join(rows)}</ul>"
