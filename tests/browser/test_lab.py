"""explore.ipynb in a real JupyterLab, run from its menu, seen in a real browser."""

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.line]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
KERNEL_IS_THERE = """() => {
  const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  const session = widget && widget.context && widget.context.sessionContext.session;
  return session && session.kernel && session.kernel.connectionStatus === "connected";
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(
  (cell) => cell.model.type === "code" ? [cell.model.outputs.toJSON()] : [])"""


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on loopback, behind a prefix as in a Hub, on a copy of the notebooks; gives the address of explore."""
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    runtime, token, prefix = tmp_path / "runtime", secrets.token_hex(), "/some/prefix/"
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
        *("--ServerApp.port=0", f"--ServerApp.base_url={prefix}", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={tmp_path / 'notebooks'}", "--LabApp.expose_app_in_browser=True"),
    ]
    private = {name: str(tmp_path / name) for name in ("config", "data", "runtime", "store")}
    environment = {
        **os.environ,
        **{f"JUPYTER_{name.upper()}_DIR": folder for name, folder in private.items() if name != "store"},
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "MULTIMAP_STORE": private["store"],
    }
    with (
        (tmp_path / "lab.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            yield f"{_address(server, runtime)}explore.ipynb?token={token}"
        finally:
            server.terminate()


def _address(server, runtime: Path) -> str:
    for _ in range(600):
        for found in runtime.glob("jpserver-*.json"):
            return json.loads(found.read_text())["url"] + "lab/tree/"
        assert server.poll() is None, "JupyterLab ended; see lab.log"
        time.sleep(0.1)
    raise AssertionError("JupyterLab must write where it listens within 60 s")


def test_explore__runs_in_lab_and_shows_its_pictures(lab, chromium, tmp_path):
    page = chromium.new_page(viewport={"width": 1500, "height": 1050})
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.wait_for_function(KERNEL_IS_THERE, timeout=90_000)
    page.evaluate(RUN_ALL)
    cells = page.evaluate(OUTPUTS)
    faults = [output for cell in cells for output in cell if output["output_type"] == "error"]
    assert faults == []
    assert [output["text"] for cell in cells for output in cell if output.get("name") == "stderr"] == []
    assert page.locator(".jp-Notebook iframe").count() == 1  # the viewer, beside its picture
    pictures = page.locator(".jp-Notebook .jp-RenderedImage img")
    assert pictures.count() == 5  # EEG, volumes, clocks, cleaning, map
    for number in range(pictures.count()):
        picture = pictures.nth(number)
        picture.scroll_into_view_if_needed()
        pixels = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L"), float)
        assert pixels.shape[0] > 100
        assert pixels.std() > 10, f"picture {number} is blank"
    page.screenshot(path=tmp_path / "lab.png")
    page.close()
