"""A JupyterLab of its own for a browser test: on loopback, behind a prefix as in a Hub, with private settings."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KERNEL_IS_THERE = """() => {
  const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  const session = widget && widget.context && widget.context.sessionContext.session;
  return session && session.kernel && session.kernel.connectionStatus === "connected";
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(
  (cell) => cell.model.type === "code" ? [cell.model.outputs.toJSON()] : [])"""
THEME = "(name) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"


@contextmanager
def started(
    folder: Path,
    notebooks: Path,
    store: Path,
    *,
    theme: str = "Light",
    prefix: str = "/some/prefix/",
    environment: dict[str, str] | None = None,
) -> Iterator[str]:
    """Run JupyterLab on a folder of notebooks; gives an address with room for the notebook's name."""
    token = secrets.token_hex()
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
        *("--ServerApp.port=0", f"--ServerApp.base_url={prefix}", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={notebooks}", "--LabApp.expose_app_in_browser=True"),
        "--YDocExtension.disable_rtc=True",  # as `multimap lab` says
    ]
    environment = {
        **os.environ,
        **(environment or {}),
        **{f"JUPYTER_{name.upper()}_DIR": str(folder / name) for name in ("config", "data", "runtime")},
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "MULTIMAP_STORE": str(store),
    }
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {theme}"}))
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    with (
        (folder / "lab.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            yield f"{_address(server, folder / 'runtime')}{{}}?token={token}"
        finally:
            server.terminate()


def _address(server: subprocess.Popen, runtime: Path) -> str:
    for _ in range(1800):
        assert server.poll() is None, "JupyterLab ended; see lab.log"
        for found in runtime.glob("jpserver-*.json"):
            # the file is there a moment before it holds something, and before anybody listens
            with suppress(OSError, json.JSONDecodeError):
                about = json.loads(found.read_text())
                with socket.create_connection(("127.0.0.1", about["port"]), timeout=1):
                    return about["url"] + "lab/tree/"
        time.sleep(0.1)
    raise AssertionError("JupyterLab must listen within 180 s")


def run_all(page, address: str) -> None:
    """Open a notebook and run it from its menu; no cell may fail."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=180_000)
    page.wait_for_function(KERNEL_IS_THERE, timeout=180_000)
    page.evaluate(RUN_ALL)
    outputs = [output for cell in page.evaluate(OUTPUTS) for output in cell]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
