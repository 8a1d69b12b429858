"""Start a server through the hub, run a notebook in it cell by cell, and stop it again: ``smoke.py NOTEBOOK``.

``HUB`` is the address of the proxy, ``TOKEN`` one that may start and use the server of ``SMOKE_USER``. Exit codes: 0
done; 1 with the step that failed and what was found.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

HUB = os.environ["HUB"].rstrip("/")
USER = os.environ["SMOKE_USER"]
SIGN = {"Authorization": f"token {os.environ['TOKEN']}"}
SPAWN_S = 900  # a node may have to be made
CELL_S = 600


async def ask(method, path, body=None, allowed=()):
    """Answer of the hub or the server as data; codes in `allowed` are no faults."""
    content = None if method in {"GET", "DELETE"} else json.dumps(body or {})
    headers = {**SIGN, "Content-Type": "application/json"}
    request = HTTPRequest(HUB + path, method=method, body=content, headers=headers, request_timeout=60)
    try:
        answer = await AsyncHTTPClient().fetch(request)
    except HTTPClientError as fault:
        if fault.code in allowed:
            return {}
        said = fault.response.body.decode()[:300] if fault.response else ""
        raise RuntimeError(f"{method} {path} must be answered, found {fault}: {said}") from fault
    return json.loads(answer.body or b"{}")


async def start():
    """Make the user and its server, and wait until it is ready."""
    await ask("POST", f"/hub/api/users/{USER}", allowed=(409,))
    await ask("POST", f"/hub/api/users/{USER}/server", {"profile": "small"}, allowed=(400,))  # 400: it runs already
    end = time.monotonic() + SPAWN_S
    while time.monotonic() < end:
        servers = (await ask("GET", f"/hub/api/users/{USER}"))["servers"]
        if "" not in servers:
            raise RuntimeError("the server must start, found that the hub gave it up; look at the log of the hub")
        if servers[""]["ready"]:
            return
        await asyncio.sleep(2)
    raise RuntimeError(f"the server must be ready within {SPAWN_S} s, found {json.dumps(servers)}")


async def run(notebook):
    """Execute the code cells of a notebook in a new kernel of the server."""
    named = notebook["metadata"].get("kernelspec", {}).get("name", "python3")
    kernel = (await ask("POST", f"/user/{USER}/api/kernels", {"name": named}))["id"]
    url = f"{HUB}/user/{USER}/api/kernels/{kernel}/channels".replace("http", "ws", 1)
    channel = await websocket_connect(HTTPRequest(url, headers=SIGN))
    try:
        for number, cell in enumerate(notebook["cells"], 1):
            if cell["cell_type"] == "code":
                await asyncio.wait_for(execute(channel, number, "".join(cell["source"])), CELL_S)
    finally:
        channel.close()
        await ask("DELETE", f"/user/{USER}/api/kernels/{kernel}", allowed=(404,))


async def execute(channel, number, code):
    """Run one cell and print what it prints."""
    sent = uuid.uuid4().hex
    header = {"msg_id": sent, "msg_type": "execute_request", "username": USER, "session": sent, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await channel.write_message(json.dumps(message))
    while True:
        told = await channel.read_message()
        if told is None:
            raise RuntimeError(f"cell {number} must end, found the connection closed")
        if isinstance(told, bytes):
            continue  # pictures of widgets
        told = json.loads(told)
        if told["parent_header"].get("msg_id") != sent:
            continue
        if told["msg_type"] == "stream":
            sys.stdout.write(told["content"]["text"])
        if told["msg_type"] == "execute_reply":
            if told["content"]["status"] != "ok":
                raise RuntimeError(
                    f"cell {number} must run, found {told['content'].get('ename')}: {told['content'].get('evalue')}"
                )
            return


async def main(path):
    """Start, run, stop; the server is stopped also after a fault."""
    try:
        await start()
        await run(json.loads(Path(path).read_text()))
    finally:
        await ask("DELETE", f"/hub/api/users/{USER}/server", allowed=(400, 404))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except (RuntimeError, TimeoutError, OSError) as found:
        sys.exit(f"smoke test: {found}")
    print("smoke test: a server was started through the hub, the notebook ran, the server was stopped")
