"""A hub on this machine, on loopback: `make hub`. Three users to try it with, and the code that the chart mounts.

``MULTIMAP_HUB_FOLDER`` holds everything it writes. For a lab with one server: take another authenticator and spawner
here, put TLS before the proxy, and leave the rest.
"""

import json
import os
import secrets
import sys
from pathlib import Path

c = get_config()  # noqa: F821  # JupyterHub gives it
HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ["MULTIMAP_HUB_FOLDER"]).resolve()
PORT = int(os.environ.get("MULTIMAP_HUB_PORT", "8000"))
PROGRAMS = Path(sys.executable).parent


def private(name, make):
    """A secret of this hub: made once, readable by its user only."""
    file = FOLDER / name
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(make())
    return file.read_text()


FOLDER.mkdir(parents=True, exist_ok=True)
for name in ("lab", "shared"):
    (FOLDER / name).mkdir(exist_ok=True)
viewer = {
    "url": f"http://127.0.0.1:{PORT + 3}",
    "command": [sys.executable, "-m", "multimap_kernel.share"],
    "environment": {"MULTIMAP_SHARES": str(FOLDER / "shares")},
}
teams = [{"name": "lab", "prefix": "lab", "groups": ["lab"]}]
(FOLDER / "settings.json").write_text(json.dumps({"root": str(FOLDER), "teams": teams, "viewer": viewer}))
os.environ["MULTIMAP_SETTINGS"] = str(FOLDER)

c.JupyterHub.bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{PORT + 1}"
c.ConfigurableHTTPProxy.command = [os.environ.get("MULTIMAP_PROXY", "configurable-http-proxy")]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PORT + 2}"
c.ConfigurableHTTPProxy.pid_file = str(FOLDER / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{FOLDER / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(FOLDER / "cookie_secret")
c.JupyterHub.cleanup_servers = True

# alice and bob are in the group of the team, eve is not; they share the password of this hub's folder
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = private("password", lambda: secrets.token_urlsafe(12))
c.Authenticator.allowed_users = {"alice", "bob", "eve"}
c.JupyterHub.load_groups = {"lab": {"users": ["alice", "bob"]}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(FOLDER / "home" / "{username}")
c.Spawner.cmd = [str(PROGRAMS / "jupyterhub-singleuser")]
c.Spawner.args = ["--allow-root", "--ServerApp.ip=127.0.0.1"]
c.Spawner.default_url = "/lab"
# a second server by the name "collaborative" lets several people type in one notebook; see `profiles` of the chart
c.JupyterHub.allow_named_servers = True
c.Spawner.environment = {
    "JUPYTER_CONFIG_PATH": str(HERE.parents[1] / "images" / "lab"),
    "MULTIMAP_COLLABORATIVE": lambda spawner: str(int(spawner.name == "collaborative")),
}
c.Spawner.http_timeout = c.Spawner.start_timeout = 300


def settle(spawner):
    """Let everybody see the folder ``shared``; it is the hub's, so whoever has an account of her own only reads it."""
    introduce(spawner)  # noqa: F821  # of files/hub
    home = Path(spawner.home_dir)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "shared").is_symlink():
        (home / "shared").symlink_to(FOLDER / "shared")


for fragment in sorted((HERE.parent / "multimap" / "files" / "hub").glob("*.py")):
    exec(compile(fragment.read_text(), fragment, "exec"))  # noqa: S102  # as JupyterHub's chart runs them, with c at hand
c.Spawner.pre_spawn_hook = settle
