"""Real sockets of an owner and a guest, after the owner ended the sharing; the button itself is in tests/platform."""

import asyncio
from types import SimpleNamespace

import tornado.web
import tornado.websocket
from tornado.websocket import websocket_connect

from multimap_kernel.share.live import close_sockets_of_guests


class Echo(tornado.websocket.WebSocketHandler):
    def get_current_user(self):
        name = self.get_query_argument("as", "")
        return SimpleNamespace(username=name) if name else None

    def on_message(self, message):
        self.write_message(message)


def test_sockets__of_all_but_the_owner_are_closed(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "alice")

    async def talk():
        server = tornado.web.Application([("/", Echo)]).listen(0, "127.0.0.1")
        (port,) = (one.getsockname()[1] for one in server._sockets.values())
        place = f"ws://127.0.0.1:{port}/?as="
        people = {name: await websocket_connect(place + name) for name in ("alice", "bob", "")}
        for one in people.values():
            await one.write_message("there")
            assert await one.read_message() == "there"
        close_sockets_of_guests()
        for name in ("bob", ""):
            assert await people[name].read_message() is None
            assert people[name].close_code == 1008
        await people["alice"].write_message("still there")
        assert await people["alice"].read_message() == "still there"
        for one in people.values():
            one.close()
        assert await people["alice"].read_message() is None
        server.stop()
        await server.close_all_connections()

    asyncio.run(talk())
