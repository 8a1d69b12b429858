"""A server shared while it runs, so that others work on it as its owner: what the Share button of the Lab asks.

For maps and executed notebooks make a link instead (`multimap_kernel.share.links`): its readers run nothing.
"""

from __future__ import annotations

import gc
import json
import os
from typing import Any
from urllib.parse import quote

import tornado.web
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httputil import url_concat
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketHandler

CODE_S = 24 * 3600
"""How long a link can be used; it may reach more people than it was sent to."""


class Sharing(APIHandler):
    """Who works on this server beside its owner (GET); a link for one more (POST); an end to all of it (DELETE)."""

    async def prepare(self) -> None:  # type: ignore[override]  # as Jupyter's own API handlers
        """For the owner alone."""
        await super().prepare()
        if self.current_user and self.current_user.username != _owner():
            self._refuse(403, f"Only {_owner()} can share this server.")

    @tornado.web.authenticated
    async def get(self) -> None:
        """``guests``: names of people and groups; ``links``: how many can still be used."""
        await self._tell()

    @tornado.web.authenticated
    async def post(self) -> None:
        """``{"path": PATH}``: what the link opens, a path among this server's files; empty for the Lab."""
        path = str((self.get_json_body() or {}).get("path", ""))
        begun = await self._ask("POST", "share-codes", {"expires_in": CODE_S})
        opens = url_path_join(self.base_url, "lab", f"tree/{quote(path)}" if path else "")
        self.set_status(201)
        await self._tell(link=url_concat(begun.get("full_accept_url") or begun["accept_url"], {"next": opens}))

    @tornado.web.authenticated
    async def delete(self) -> None:
        """The hub lets no guest in any more, from 10 s later on.

        What guests started goes on. They ran code as the owner: who read the token of this server there has it until
        the server is stopped.
        """
        await self._ask("DELETE", "share-codes")  # first: nobody comes in behind our back
        await self._ask("DELETE", "shares")
        close_sockets_of_guests()
        # a Lab that was hung up on comes back at once, and so long the hub's last answer is believed
        hub = self.identity_provider.hub_auth  # type: ignore[attr-defined]  # JupyterHub's own provider
        IOLoop.current().call_later(hub.cache_max_age + 1, close_sockets_of_guests)
        await self._tell()

    async def _tell(self, **more: str) -> None:
        shares = (await self._ask("GET", "shares"))["items"]
        codes = (await self._ask("GET", "share-codes"))["items"]
        guests = sorted((one["user"] or one["group"])["name"] for one in shares)
        self.finish(json.dumps({"guests": guests, "links": len(codes), **more}))

    async def _ask(self, method: str, kind: str, content: dict[str, Any] | None = None) -> Any:
        """Ask the hub about this server, with the server's own token."""
        api, name = os.environ["JUPYTERHUB_API_URL"], os.environ.get("JUPYTERHUB_SERVER_NAME", "")
        address = f"{api}/{kind}/{quote(_owner(), safe='')}/{quote(name, safe='')}"
        headers = {"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content)
        try:
            answer = await AsyncHTTPClient().fetch(HTTPRequest(address, method, headers, body))
        except (HTTPClientError, OSError) as fault:
            self.log.warning("%s %s: %s", method, address, fault)
            self._refuse(502, f"The hub did not do it ({fault}). Try again; if it stays so, tell who runs the hub.")
        return json.loads(answer.body or b"null")

    def _refuse(self, status: int, words: str) -> None:
        raise tornado.web.HTTPError(status, words)


def close_sockets_of_guests() -> None:
    """Hang up on everybody but the owner.

    The hub is asked at each request, but a kernel's or a terminal's socket is one request that lasts: through it a
    guest would go on after the end. Kernels, terminals and documents each keep their sockets in a list of their own,
    or in none; all of them are objects of this process.
    """
    # by the type itself: to ask an object for its class can wake a lazy one
    handlers = [one for one in gc.get_objects() if issubclass(type(one), WebSocketHandler)]
    for one in handlers:
        if one.ws_connection is not None and getattr(one.current_user, "username", "") != _owner():
            one.close(code=1008, reason="the owner of this server ended the sharing")


def _owner() -> str:
    return os.environ.get("JUPYTERHUB_USER", "")
