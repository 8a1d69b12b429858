"""The viewer service of a JupyterHub: links behind the hub's login. ``python -m multimap_kernel.share`` starts it.

The hub's configuration gives, in the environment, its own ``JUPYTERHUB_*``, ``MULTIMAP_PLACES`` (which roots belong to
which groups) and ``MULTIMAP_SHARES`` (a folder that nobody else may write). The service's role needs the scopes
``read:users:name`` and ``read:users:groups``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from urllib.parse import quote

import tornado.web
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from multimap_kernel.schema import InputError
from multimap_kernel.share.access import FRESH_S, Access
from multimap_kernel.share.places import EVERYBODY, PLACES, configured_places
from multimap_kernel.share.records import Records
from multimap_kernel.share.routes import AUDIT, Routes
from multimap_kernel.share.scene import read_scene


class _Login(HubOAuthenticated, tornado.web.RequestHandler):  # type: ignore[misc]  # JupyterHub carries no types
    """Who is logged in at the hub."""

    @property
    def reader(self) -> str:
        """Name of the user."""
        return str(self.current_user["name"])


async def groups_of(user: str) -> frozenset[str]:
    """Ask the hub for the groups of a user, with `EVERYBODY`; none for a user who is gone."""
    address = f"{os.environ['JUPYTERHUB_API_URL']}/users/{quote(user, safe='')}"
    asked = HTTPRequest(address, headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"})
    try:
        answer = await AsyncHTTPClient().fetch(asked)
    except HTTPClientError as fault:
        if fault.code == 404:
            return frozenset()
        raise
    return frozenset({EVERYBODY, *json.loads(answer.body)["groups"]})


def add_routes(app: tornado.web.Application) -> None:
    """Let an application serve links, as its environment describes it.

    Raises
    ------
    InputError
        If the environment does not name places and a folder of shares.
    """
    missing = [name for name in (PLACES, "MULTIMAP_SHARES") if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"the viewer service must have {', '.join(missing)} in its environment, found none; see values"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    AUDIT.setLevel(logging.INFO)
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    access = Access(Records(os.environ["MULTIMAP_SHARES"]), configured_places(), groups_of)
    routes = Routes(access, prefix, read_scene, "/hub/user-redirect/multimap/open?run=")
    app.settings["hub_auth"] = HubOAuth.instance(cache_max_age=int(FRESH_S))
    fixed = [(f"{prefix}oauth_callback", HubOAuthCallbackHandler), (f"{prefix}health", _Health)]
    app.add_handlers(".*", [*fixed, *routes.handlers(_Login, tornado.web.StaticFileHandler)])


class _Health(tornado.web.RequestHandler):
    """For probes of a cluster."""

    def get(self) -> None:
        self.finish("ok")
