"""The pod of `helm test` against a real hub: with the roles of the chart's values, and JupyterHub's own proxy."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml
from charts import CHART, HELM

pytestmark = pytest.mark.platform
PROXY = HELM.parents[1] / "node" / "node_modules" / ".bin" / "configurable-http-proxy"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())["jupyterhub"]
TOKEN = "smoke-token-of-the-test-0123456789abcdef"
SCRIPT = CHART / "files" / "smoke" / "smoke.py"
CONFIG = """
import json
c.JupyterHub.load_roles = [{{"name": name, **role}} for name, role in json.loads({roles!r}).items()]
c.JupyterHub.services = [{{"name": "smoke", "api_token": {token!r}}}]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.http_timeout = c.Spawner.start_timeout = 300
c.Spawner.args = ["--allow-root", "--ServerApp.root_dir={folder}"]
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
"""


def free_ports(number):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def ask(base, path, method="GET"):
    request = urllib.request.Request(base + path, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Address of a running hub."""
    if not PROXY.exists() or not shutil.which("node"):
        message = f"configurable-http-proxy must be at {PROXY}: make .venv/.proxy"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    folder = tmp_path_factory.mktemp("hub")
    public, inner, api = free_ports(3)
    roles = json.dumps(VALUES["hub"]["loadRoles"])
    given = {"roles": roles, "token": TOKEN, "folder": folder, "public": public, "hub": inner, "api": api}
    (folder / "config.py").write_text(CONFIG.format(proxy=str(PROXY), **given))
    base = f"http://127.0.0.1:{public}"
    places = {"PATH": f"{HELM.parent}:{os.environ['PATH']}", "CONFIGPROXY_AUTH_TOKEN": "t" * 32}
    with (folder / "log").open("w") as log:
        words = [sys.executable, "-m", "jupyterhub", "-f", folder / "config.py"]
        running = subprocess.Popen(words, cwd=folder, env={**os.environ, **places}, stdout=log, stderr=log)
        try:
            for _ in range(900):
                assert running.poll() is None, (folder / "log").read_text()
                try:
                    ask(base, "/hub/api/")
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            yield base
        finally:
            running.terminate()
            running.wait(60)


def smoke(hub, notebook):
    places = {**os.environ, "HUB": hub, "TOKEN": TOKEN, "SMOKE_USER": "multimap-smoke"}
    words = [sys.executable, SCRIPT, notebook]
    return subprocess.run(words, env=places, capture_output=True, text=True, check=False, timeout=550)


def test_smoke__runs_its_notebook_through_the_hub_and_stops_the_server(hub):
    done = smoke(hub, CHART / "files" / "smoke" / "smoke.ipynb")
    assert done.returncode == 0, done.stderr
    assert "alignment of sub-01_task-flicker: " in done.stdout
    assert "the notebook ran, the server was stopped" in done.stdout
    assert ask(hub, "/hub/api/users/multimap-smoke")["servers"] == {}


def test_smoke__tells_which_cell_failed_and_stops_the_server_too(hub, tmp_path):
    cells = [{"cell_type": "code", "source": "1 / 0"}]
    (tmp_path / "broken.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))
    done = smoke(hub, tmp_path / "broken.ipynb")
    assert done.returncode == 1
    assert "cell 1 must run, found ZeroDivisionError: division by zero" in done.stderr
    assert ask(hub, "/hub/api/users/multimap-smoke")["servers"] == {}


@pytest.mark.parametrize(("method", "path"), [("POST", "/hub/api/users/alice"), ("GET", "/hub/api/proxy")])
def test_token__of_the_smoke_test_is_good_for_its_user_alone(hub, method, path):
    with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
        ask(hub, path, method)
