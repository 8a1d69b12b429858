"""What the Dockerfiles run, run in an environment of its own: the packages of a worker, the settings of a server."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pytest
from charts import ROOT
from traitlets.config import Config

pytestmark = pytest.mark.platform
TOLD = """
import importlib.metadata, importlib.util, json
names = "dask distributed xarray zarr torch papermill kr8s".split()
print(json.dumps({name: importlib.metadata.version(name) for name in names}
                 | {name: bool(importlib.util.find_spec(name)) for name in ("jupyterlab", "jupyterhub", "pip", "uv")}))
"""

KERNELS = "from jupyter_client.kernelspec import KernelSpecManager; print(*KernelSpecManager().find_kernel_specs())"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """The environment of the worker image."""
    prefix = tmp_path_factory.mktemp("images") / "multimap"
    done = subprocess.run(
        [ROOT / "images" / "install", "worker", "cpu", prefix], capture_output=True, text=True, check=False, timeout=550
    )
    assert done.returncode == 0, done.stderr
    return prefix


def test_worker__has_the_versions_of_the_lock_and_no_lab(worker):
    told = json.loads(subprocess.run([worker / "bin" / "python", "-c", TOLD], capture_output=True, check=True).stdout)
    lock = (ROOT / "constraints.txt").read_text() + (ROOT / "images" / "torch.txt").read_text()
    pins = dict(line.split("==") for line in lock.splitlines() if "==" in line)
    for name in ("dask", "distributed", "xarray", "zarr", "papermill", "kr8s"):
        assert told[name] == pins[name]
    assert told["torch"].partition("+")[0] == pins["torch"]
    assert not told["jupyterlab"]
    assert not told["jupyterhub"]
    assert not told["uv"]


def test_worker__runs_what_the_chart_starts_in_it(worker, tmp_path):
    clean = {"PATH": f"{worker / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)}
    helped = subprocess.run(["multimap", "--help"], env=clean, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "batch" in helped.stdout
    kernels = subprocess.run(
        ["python", "-c", KERNELS],
        env=clean, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "multimap" in kernels.stdout.split()


@pytest.fixture
def settings(monkeypatch):
    """What `jupyter_server_config.py` sets on a server of the chart."""
    monkeypatch.setenv("DASK_KUBERNETES__NAMESPACE", "multimap-compute")
    c = Config()
    path = ROOT / "images" / "lab" / "jupyter_server_config.py"
    exec(compile(path.read_text(), path, "exec"), {"c": c})
    return c


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mm-alice-0f3a-scheduler.multimap-compute", True),
        ("mm-alice-0f3a-scheduler.multimap-compute.svc.cluster.local", True),
        ("mm-alice-0f3a-scheduler.lab", False),
        ("127.0.0.1", True),  # the viewer
        ("localhost", True),
        ("hub.lab", False),
        ("169.254.169.254", False),
        ("mm-alice-scheduler.multimap-compute.evil.org", False),
        ("evil.org/mm-alice-scheduler.multimap-compute", False),
    ],
)
def test_proxy__shows_this_machine_and_schedulers_and_nothing_else(settings, host, shown):
    assert settings.ServerProxy.host_allowlist(None, host) is shown


def test_collaboration__is_off_unless_the_profile_says_so(settings):
    assert settings.YDocExtension.disable_rtc is True


def ask(base, path, token, **data):
    request = urllib.request.Request(base + path, headers={"Authorization": f"token {token}"})
    if data:
        request.data, request.method = json.dumps(data).encode(), "POST"
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def server(tmp_path):
    """A real Jupyter server with the extension, that looks twice a second."""
    extension = (ROOT / "images" / "lab" / "keepalive.py").read_text()
    (tmp_path / "keepalive.py").write_text(extension.replace("PERIOD_S = 60", "PERIOD_S = 0.5"))
    words = [
        *(sys.executable, "-m", "jupyter_server", "--allow-root", "--port=0", "--ip=127.0.0.1"),
        *(
            "--IdentityProvider.token=t",
            "--ServerApp.jpserver_extensions={'jupyterlab': False}",
        ),  # as the hub names one
        f"--ServerApp.root_dir={tmp_path}",
    ]
    enabled = tmp_path / "config" / "jupyter_server_config.d"
    enabled.mkdir(parents=True)
    (enabled / "keepalive.json").write_text((ROOT / "images" / "lab" / "keepalive.json").read_text())
    places = {
        "JUPYTER_CONFIG_PATH": str(tmp_path / "config"),
        "PYTHONPATH": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
        "HOME": str(tmp_path),
    }
    log = (tmp_path / "log").open("w")
    running = subprocess.Popen(words, env={**os.environ, **places}, cwd=tmp_path, stdout=log, stderr=log)
    try:
        for _ in range(2400):
            if found := re.search(r"http://127\.0\.0\.1:\d+/", (tmp_path / "log").read_text()):
                break
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield SimpleNamespace(base=found[0], folder=tmp_path)
    finally:
        running.terminate()
        running.wait(30)
        log.close()


def activity(server):
    return ask(server.base, "api/status", "t")["last_activity"]


def is_kept(server):
    """Whether the time of the last activity goes on by itself; asking for the status does not count as activity."""
    before = activity(server)
    time.sleep(2)
    return activity(server) > before


def test_keepalive__a_batch_keeps_a_server_and_silence_does_not(server):
    batch = server.folder / "multimap"
    batch.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    batch.chmod(0o755)
    assert not is_kept(server)
    kernel = ask(server.base, "api/kernels", "t", name="python3")
    time.sleep(3)
    ask(server.base, f"api/kernels/{kernel['id']}", "t")
    code = f"import subprocess; p = subprocess.Popen(['{batch}'])"
    run_in_kernel(server, kernel["id"], code)
    assert is_kept(server)
    run_in_kernel(server, kernel["id"], "p.terminate(); p.wait()")
    time.sleep(1)
    assert not is_kept(server)
    run_in_kernel(server, kernel["id"], "import time; time.sleep(8)", wait=False)
    time.sleep(1)
    assert is_kept(server)  # computes and says nothing


def run_in_kernel(server, kernel, code, *, wait=True):
    """Execute code over the kernel's own connection file, as a notebook would over the server's channels."""
    from jupyter_client import BlockingKernelClient

    (connection,) = (server.folder / "run").glob(f"kernel-{kernel}.json")
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        sent = client.execute(code)
        if wait:
            while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != sent:
                pass
    finally:
        client.stop_channels()
