"""The routes of a link, the same on a hub and on a laptop: page, state, bytes, executed notebook, list of shares.

Who is logged in comes from the class that a handler is joined with: the hub's or Jupyter's. What may be read is asked
at each request. A refused page says why, with status 401; refused data answer 401 and never 403, which the viewer
would paint as a map without activation.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import tornado.web

from multimap_kernel.schema import InputError
from multimap_kernel.share.access import Access
from multimap_kernel.share.places import Location, locate, may_share
from multimap_kernel.share.ranges import blocks, parse_range, size_of
from multimap_kernel.share.records import Share, new_share

CLIENT = Path(__file__).parent / "client" / "dist"
"""Neuroglancer as static files, built by ``make client``."""
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; media-src data:"
"""A stranger's notebook: no script, no form, no request, an origin of its own."""
AUDIT = logging.getLogger("multimap.share")
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
)
_RUN = re.compile(r"[^/]+/runs/([^/]+/[^/]+)/attempt-\d+")  # <study>/runs/<run>/<session>/attempt-<n>


@dataclass(frozen=True)
class Routes:
    """What all handlers need.

    Parameters
    ----------
    access
        Decides.
    prefix
        Path under which the routes lie, with a slash at its end.
    read_scene
        `multimap_kernel.share.scene.read_scene`; handed in, because a Lab must not import the viewer at its start.
    open_run
        Address under which a reader opens a run in a Lab of her own; the run's name is put behind it.
    """

    access: Access
    prefix: str
    read_scene: Callable[[str], Any]
    open_run: str

    def handlers(self, login: type, plain: type) -> list[tuple[str, type, dict[str, Any]]]:
        """Tornado's table of routes.

        Parameters
        ----------
        login
            Handler class that knows who is logged in: ``current_user`` is set, ``reader`` gives the name.
        plain
            Class for the static client, which holds no secret and needs no login.
        """
        token, given = "([0-9a-zA-Z_-]+)", {"routes": self}
        table = [
            (f"s/{token}", _Link),
            (f"view/{token}", _View),
            (f"state/{token}", _State),
            (f"data/{token}/(.+)", _Data),
            (f"page/{token}", _Page),
            ("shares", _Shares),
            (r"shares/([0-9a-f]{12})", _Shares),
        ]
        joined = [(self.prefix + path, type(one.__name__, (one, login), {}), given) for path, one in table]
        return [*joined, (f"{self.prefix}client/(.*)", plain, {"path": str(CLIENT), "default_filename": "index.html"})]


def refused_page(why: str, user: str) -> str:
    """A page that says why something cannot be opened, and as whom one is logged in."""
    return _PAGES.get_template("refused.html").render(why=why, user=user)


def _words(given: dict[str, Any]) -> str:
    """What a reader may know about a fault."""
    fault = (given.get("exc_info") or (None, None))[1]
    if isinstance(fault, _Refused):
        return fault.words
    if isinstance(fault, InputError):
        return "The data behind this link are damaged or gone. Ask the person who sent it to share them again."
    return "The service could not read this; its log says why."


class _Refused(tornado.web.HTTPError):
    """A status with a sentence for the reader; a status line could not carry it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status)
        self.words = words


class _Handler(tornado.web.RequestHandler):
    """What every route does: quiet headers, one line in the audit, 401 for who is not logged in."""

    routes: Routes
    reader: str
    share: Share | None = None

    def initialize(self, routes: Routes) -> None:
        self.routes = routes

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "private, no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "frame-ancestors 'self'")

    async def allowed(self, token: str) -> Share:
        """The share, if it may be read now; ends the request with 401 otherwise."""
        if self.request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
            self.refuse("These data are read by the viewer's own page only.")
        if not self.current_user:
            self.refuse("Log in first.")
        answer = await self.routes.access.ask(token, self.reader)
        if answer.share is None:
            self.refuse(answer.refusal)
        self.share = answer.share
        return answer.share

    def refuse(self, why: str) -> NoReturn:
        """Answer 401 and say why."""
        raise _Refused(401, why)

    def compute_etag(self) -> None:
        """None: answers are not kept, and the hash of a part would not be that of the whole."""

    def write_error(self, status_code: int, **given: Any) -> None:  # noqa: ARG002  # tornado has set it
        """A fault as JSON: these routes are asked by programs."""
        self.set_default_headers()
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps({"message": _words(given)}))

    def on_finish(self) -> None:
        """Every read with its reader, but never the token."""
        super().on_finish()
        line = {
            "user": self.reader if self.current_user else "",
            "share": self.share.identifier if self.share else "",
            "method": self.request.method,
            "what": self.request.path.removeprefix(self.routes.prefix).partition("/")[0],
            "path": self.path_args[1] if len(self.path_args) > 1 and self.path_args[1] else "",
            "range": self.request.headers.get("Range", ""),
            "status": self.get_status(),
        }
        AUDIT.info("%s", json.dumps(line))


class _Link(_Handler):
    """What a person opens: a page that looks first whether all is well, and says so if it is not."""

    @tornado.web.authenticated
    async def get(self, token: str) -> None:
        share = await self._navigated(token)
        run = _RUN.fullmatch(share.folder.partition("/")[2])
        page = _PAGES.get_template("link.html").render(
            share=share,
            inner=f"../{'view' if share.kind == 'maps' else 'page'}/{token}",
            probe=await self._probe(share, token),
            open_run=self.routes.open_run + run[1] if share.kind == "run" and run else "",
        )
        self.finish(page)

    async def _navigated(self, token: str) -> Share:
        """A link is followed from anywhere: a mail, a chat; its page holds no data."""
        answer = await self.routes.access.ask(token, self.reader)
        if answer.share is None:
            self.refuse(answer.refusal)
        self.share = answer.share
        return answer.share

    async def _probe(self, share: Share, token: str) -> str:
        """Address of one chunk that must be there: an empty answer to it would look like an empty map."""
        if share.kind == "run":
            return f"../page/{token}"
        scene = await _scene(self, share)
        return f"../data/{token}/viewer.zarr/{scene.names[-1]}/c/0/0/0"

    def write_error(self, status_code: int, **given: Any) -> None:  # noqa: ARG002  # tornado has set it
        """A fault as a page, for a person."""
        self.set_default_headers()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(refused_page(_words(given), self.reader if self.current_user else ""))


class _View(_Handler):
    """The page around the client, inside the page of the link."""

    async def get(self, token: str) -> None:
        scene = await _scene(self, await self.allowed(token))
        origin = f"{self.request.protocol}://{self.request.host}"
        client = f"../client/index.html#!{origin}{self.routes.prefix}state/{token}"
        self.finish(scene.page.replace("{client}", client))


class _State(_Handler):
    """The client's state; only here the addresses of data come in."""

    async def get(self, token: str) -> None:
        scene = await _scene(self, await self.allowed(token))
        data = f"{self.request.protocol}://{self.request.host}{self.routes.prefix}data/{token}"
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(scene.state.replace("{data}", data))


class _Data(_Handler):
    """Bytes of the share's folder."""

    async def get(self, token: str, path: str) -> None:
        share = await self.allowed(token)
        if share.kind != "maps" or not path.startswith("viewer.zarr/"):
            raise tornado.web.HTTPError(404)
        location = locate(share.folder, self.routes.access.places, path)
        size = None if location is None else await size_of(location)
        if location is None or size is None:
            # every chunk is written: one that is gone must not be painted as a map without activation
            raise tornado.web.HTTPError(500 if "/c/" in path and location is not None else 404)
        self.set_header("Content-Type", "application/octet-stream")
        await self._send(location, size)

    async def head(self, token: str, path: str) -> None:
        """The size only."""
        await self.get(token, path)

    async def _send(self, location: Location, size: int) -> None:
        wanted = parse_range(self.request.headers.get("Range"), size)
        self.set_header("Accept-Ranges", "bytes")
        if wanted is None:
            self.set_header("Content-Range", f"bytes */{size}")
            raise tornado.web.HTTPError(416)
        if wanted != (0, size):
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{size}")
        self.set_header("Content-Length", str(wanted.stop - wanted.start))
        if self.request.method != "HEAD":
            async for block in blocks(location, wanted):
                self.write(block)
                await self.flush()


class _Page(_Data):
    """An executed notebook as HTML, in a sandbox: what it holds was written by somebody else."""

    async def get(self, token: str) -> None:  # type: ignore[override]
        share = await self.allowed(token)
        location = locate(share.folder, self.routes.access.places, "notebook.html") if share.kind == "run" else None
        size = None if location is None else await size_of(location)
        if location is None or size is None:
            raise _Refused(404, "This run left no page; its log says why.")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", f"{SANDBOX}; frame-ancestors 'self'")
        await self._send(location, size)

    async def head(self, token: str) -> None:  # type: ignore[override]
        """The size only."""
        await self.get(token)


class _Shares(_Handler):
    """Shares of the user: made, listed and withdrawn by programs of hers."""

    async def prepare(self) -> None:
        """No cookie is enough here: a page of another user's server on the same host could send it."""
        waiting = super().prepare()
        if waiting is not None:
            await waiting
        if not self.current_user or not self.request.headers.get("Authorization", ""):
            self.refuse("Shares are made with a token: use mm.share or multimap link.")

    async def get(self, identifier: str = "") -> None:
        if identifier:
            raise tornado.web.HTTPError(405)
        access = self.routes.access
        found = await asyncio.to_thread(access.records.of, self.reader)
        live, groups = await asyncio.to_thread(access.records.live_folders), await access.groups(self.reader)
        # whose links they are is not told: only that these folders are still shown
        shown = sorted(folder for folder in live if may_share(folder, groups, access.places))
        self.finish({"shares": [self._plain(share) for share in found], "live": shown})

    async def post(self, identifier: str = "") -> None:
        if identifier:
            raise tornado.web.HTTPError(405)
        try:
            asked = json.loads(self.request.body)
            names = ("kind", "folder", "with_", "expires", "title")
            made = new_share(owner=self.reader, **{name: asked[name] for name in names})
        except (ValueError, TypeError, KeyError, InputError) as fault:
            raise _Refused(400, f"This is no share: {fault}") from fault
        access = self.routes.access
        access.forget()
        if not may_share(made.folder, await access.groups(self.reader), access.places):
            self.refuse(
                f"{self.reader} may not share {made.folder.partition('/')[0]}: no group of that place is yours."
            )
        location = locate(made.folder, access.places)
        if location is None or not await asyncio.to_thread(location.fs.isdir, location.path):
            raise _Refused(400, f"There is no folder {made.folder}.")
        self.share = await asyncio.to_thread(access.records.add, made)
        self.set_status(201)
        self.finish(self._plain(self.share))

    async def delete(self, identifier: str = "") -> None:
        try:
            self.share = await asyncio.to_thread(self.routes.access.records.revoke, identifier, owner=self.reader)
        except InputError as fault:
            raise _Refused(404, str(fault)) from fault
        self.routes.access.forget()
        self.finish(self._plain(self.share))

    def _plain(self, share: Share) -> dict[str, Any]:
        told = ("kind", "folder", "users", "groups", "title", "created", "expires", "revoked")
        link = {"identifier": share.identifier, "link": f"{self.routes.prefix}s/{share.token}"}
        return link | {name: getattr(share, name) for name in told}


async def _scene(handler: _Handler, share: Share) -> Any:
    location = locate(share.folder, handler.routes.access.places) if share.kind == "maps" else None
    if location is None:
        raise tornado.web.HTTPError(404)
    return await asyncio.to_thread(handler.routes.read_scene, location.url)
