"""The hub of `make hub` as a process of the tests."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = """
load_subconfig({local!r})
c.Authenticator.allow_all = False
c.JupyterHub.services = [*c.JupyterHub.services, {{"name": "test", "api_token": {token!r}}}]
scopes = ["admin:users", "admin:groups", "admin:servers", "tokens", "groups"]
c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, {{"name": "test", "services": ["test"], "scopes": scopes}}]
"""


class Hub:
    """`make hub` with a folder and ports of its own, and an administrator's token for the tests."""

    def __init__(self, folder: Path):
        self.folder, self.token = folder, secrets.token_hex()
        self.port = free_ports()
        config = folder / "config.py"
        config.write_text(CONFIG.format(local=str(ROOT / "helm" / "local" / "jupyterhub_config.py"), token=self.token))
        self.environment = {
            **os.environ,
            "MULTIMAP_HUB_FOLDER": str(folder),
            "MULTIMAP_HUB_PORT": str(self.port),
            "MULTIMAP_PROXY": str(ROOT / ".venv/node/node_modules/.bin/configurable-http-proxy"),
        }
        self.log = folder / "hub.log"
        self.output = self.log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            env=self.environment,
            cwd=folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self, method: str, path: str, content=None, token: str = ""):
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {token or self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/hub/api/{path}", body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def wait(self, ready, what: str, seconds: float = 400):
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            try:
                if found := ready():
                    return found
            except OSError:
                pass
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.3)
        raise AssertionError(f"{what} must come within {seconds} s; {self.log.read_text()[-3000:]}")

    def login(self, page, user: str):
        page.fill("#username_input", user)
        page.fill("#password_input", (self.folder / "password").read_text())
        page.click("#login_submit")

    def server(self, user: str, name: str = ""):
        return self.api("GET", f"users/{user}")["servers"].get(name, {})

    def start(self, user: str, name: str = ""):
        self.api("POST", f"users/{user}/server{f's/{name}' if name else ''}")
        self.wait(lambda: self.server(user, name).get("ready"), f"{user}'s server")

    def stop(self, user: str, name: str = ""):
        self.api("DELETE", f"users/{user}/server{f's/{name}' if name else ''}")
        self.wait(lambda: not self.server(user, name).get("ready"), f"the end of {user}'s server")

    def environment_of_kernels(self, user: str, name: str = "") -> dict[str, str]:
        """They inherit it from their server."""
        lines = Path(f"/proc/{self.server(user, name)['state']['pid']}/environ").read_text().split("\0")
        return dict(line.split("=", 1) for line in lines if "=" in line)


def free_ports() -> int:
    for port in range(20000, 40000, 10):
        try:
            for offset in range(4):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return port
    raise AssertionError("four free ports in a row")
