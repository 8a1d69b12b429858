"""Start the viewer service of a hub: ``python -m multimap_kernel.share``.

JupyterHub gives a service ten seconds to answer; it answers before what it needs is imported.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from importlib import import_module
from urllib.parse import urlsplit

import tornado.web


async def main() -> None:
    """Serve until the hub stops it."""
    app = tornado.web.Application(
        cookie_secret=secrets.token_bytes(32),
        # fetch() of our own pages sends no token: reads ask for the same origin, writes for a token in the header
        disable_check_xsrf=True,
        log_function=_quiet,
    )
    where = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    server = app.listen(where.port or 80, where.hostname or "127.0.0.1", xheaders=True)
    try:
        service = await asyncio.to_thread(import_module, "multimap_kernel.share.service")
        service.add_routes(app)
        await asyncio.Event().wait()
    finally:
        server.stop()


def _quiet(_handler: tornado.web.RequestHandler) -> None:
    """The audit has each request; tornado's own line would show the token of the link."""


if __name__ == "__main__":
    asyncio.run(main())
