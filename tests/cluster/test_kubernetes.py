"""The real Dask operator and KubeCluster, through `compute.cluster`, against an API server and nodes of our own."""

import asyncio
import gc
import importlib.resources
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dask
import pytest
import yaml
from charts import complete_chart, render, rights

import multimap_kernel as mm
from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

pytestmark = [
    pytest.mark.platform,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # kr8s leaves its connections to the collector
]
CALLS = Path(__file__).parents[1] / "helm" / "kubecluster_calls.json"
SPACE = "compute"
PATIENCE_S = 400
"""A busy machine takes minutes to start a process; a quiet one takes none of this time."""
HOURS_S = 3600
ACCOUNTS = {
    "notebook": ("multimap-team-lab", "lab"),
    "operator": ("multimap-dask-operator", "lab"),
    "reaper": ("multimap-reaper", "multimap-compute"),
}
"""Who asks, and the service account of the chart (name, namespace) whose rights the server gives them."""
IMAGE = "registry.example/multimap-worker@sha256:" + "0" * 64


def runtime(**options):
    return mm.Runtime(
        cluster={"kind": "kubernetes", "workers": 2, "memory": "1GiB", "patience_s": PATIENCE_S, **options}
    )


def definitions():
    """The operator's own, from its wheel."""
    chart = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    return [one for path in chart.iterdir() for one in yaml.safe_load_all(path.read_text())]


def kubeconfig(url, caller, path):
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": caller, "namespace": SPACE}}],
                "clusters": [{"name": "test", "cluster": {"server": url}}],
                "users": [{"name": caller, "user": {"token": caller}}],
            }
        )
    )
    return path


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory):
    """The control plane, its nodes and the operator; this process is the notebook."""
    pytest.importorskip("dask_kubernetes", reason="the extra multimap[cloud] is not installed")
    sys.path.insert(0, str(Path(__file__).parent))
    from apiserver import Api
    from nodes import DNS, Nodes, Operator

    folder = tmp_path_factory.mktemp("kubernetes")
    patch = pytest.MonkeyPatch()
    with Api(definitions(), (SPACE, "idle")) as api, Nodes(api, folder) as nodes:
        chart = render(complete_chart(folder))
        for caller, account in ACCOUNTS.items():
            api.roles[caller] = {tuple(call) for _, *call in rights(chart, *account)}
        operator = kubeconfig(api.url, "operator", folder / "operator.yaml")
        patch.setenv("KUBECONFIG", str(kubeconfig(api.url, "notebook", folder / "notebook.yaml")))
        patch.setenv("CLUSTER_NAMES", str(nodes.names))
        patch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ann/")
        patch.setenv("JUPYTER_IMAGE_SPEC", IMAGE)
        patch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # as it was, in the end
        runpy.run_path(str(DNS / "sitecustomize.py"))
        with Operator(operator, nodes) as process, dask.config.set({"kubernetes.namespace": SPACE}):
            api.nodes = nodes
            until(lambda: ("watch", "kubernetes.dask.org", "daskclusters") in api.calls.get("operator", ()))
            yield api
            assert process.process.poll() is None, process.log.read_text()
    patch.undo()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # kr8s leaves its connections to the garbage collector


def counted(api, caller=SPACE):
    """Objects that a cluster leaves in its namespace."""
    kinds = ("daskclusters", "daskworkergroups", "daskautoscalers", "deployments", "pods", "services")
    return {kind: len(api.of(kind, caller)) for kind in kinds}


def until(told, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def nothing_left(api):
    until(lambda: not any(counted(api).values()) and not api.nodes.processes)


def holder(client, api):
    """Name of the pod of a worker that holds results."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    address = next(address for address, keys in client.has_what().items() if keys)
    return next(name for name in api.nodes.processes if name.startswith(workers[address]["id"]))


def number(client):
    return len(client.scheduler_info(n_workers=-1)["workers"])


def test_run__a_step_on_kubernetes_gives_what_threads_give(kubernetes, tiny_study, tmp_path):
    recipe = mm.Recipe.parse({"ingest": {"eeg_state": "raw"}, "normalise": {"space": "native"}})
    found = {}
    for name, chosen in (("kubernetes", runtime()), ("threads", mm.Runtime(cluster={"kind": "threads"}))):
        place = chosen.model_copy(update={"store": str(tmp_path / name)})
        (result,) = mm.run(str(tiny_study), study="s", recipe=recipe, runtime=place, upto="realign")
        result.require_done()
        step = result.steps[-1]
        found[name] = mm.io.store.digest(mm.Store(place.store, "s").open(step.place, step.key))
    assert found["kubernetes"] == found["threads"]
    nothing_left(kubernetes)


def test_cluster__grows_shrinks_and_survives_a_kill_and_a_spot_notice(kubernetes):
    def slow(value):
        time.sleep(0.1)
        return value * value, time.time()

    with mm.cluster(runtime()) as client:
        started = client.cluster
        assert client.scheduler.address.startswith("tls://")
        name = started.name
        assert client.dashboard_link == f"/user/ann/proxy/{name}-scheduler.{SPACE}:8787/status"
        client.wait_for_workers(2, timeout=PATIENCE_S)
        started.scale(3)
        client.wait_for_workers(3, timeout=PATIENCE_S)

        futures = client.map(slow, range(60), pure=False)
        time.sleep(0.5)
        killed = holder(client, kubernetes)
        os.kill(kubernetes.nodes.processes[killed].pid, signal.SIGKILL)
        assert [square for square, _ in client.gather(futures)] == [value * value for value in range(60)]
        until(lambda: killed in kubernetes.nodes.processes and number(client) == 3)

        stamps = [when for _, when in client.gather(futures)]
        noticed = holder(client, kubernetes)
        kubernetes.loop.call_soon_threadsafe(kubernetes.remove, ("v1", "pods", SPACE, noticed))
        until(lambda: noticed not in kubernetes.nodes.processes)
        assert "handed over its results" in kubernetes.logs[noticed].read_text()
        assert [when for _, when in client.gather(futures)] == stamps  # none was computed again

        until(lambda: number(client) == 3)  # the operator retires nobody while one of them is starting again
        started.scale(1)
        until(lambda: number(client) == 1 and counted(kubernetes)["pods"] == 2)
        assert [when for _, when in client.gather(futures)] == stamps
        assert f"{name}-scheduler" in " ".join(started.get_logs())
    nothing_left(kubernetes)
    assert "Scaled worker group" in kubernetes.nodes.folder.joinpath("operator.log").read_text()


def test_cluster__grows_with_its_work_inside_its_bounds(kubernetes):
    with mm.cluster(runtime(workers=1, max_workers=2)) as client:
        futures = client.map(time.sleep, [1.0] * 60, pure=False)
        until(lambda: number(client) == 2)
        (scaler,) = kubernetes.of("daskautoscalers")
        assert scaler["spec"] == {"cluster": client.cluster.name, "minimum": 1, "maximum": 2}
        client.cancel(futures)
    nothing_left(kubernetes)


def test_cluster__ends_with_its_notebook(kubernetes, monkeypatch):
    key = ("v1", "pods", SPACE, "jupyter-ann")
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": key[3], "namespace": SPACE}, "spec": {}}
    uid = asyncio.run_coroutine_threadsafe(added(kubernetes, key, pod), kubernetes.loop).result()
    for name, value in {"NAME": key[3], "NAMESPACE": SPACE, "UID": uid, "USER": "ann"}.items():
        monkeypatch.setenv(f"MULTIMAP_POD_{name}", value)
    with mm.cluster(runtime(workers=1)):
        labels = [one["metadata"]["labels"] for one in kubernetes.of("deployments") + kubernetes.of("pods")[1:]]
        assert {each["hub.jupyter.org/username"] for each in labels} == {"ann"}
        kubernetes.loop.call_soon_threadsafe(kubernetes.remove, key)
        until(lambda: not any(counted(kubernetes).values()))
    nothing_left(kubernetes)


def test_cluster__without_work_is_deleted(kubernetes):
    with mm.cluster(runtime(workers=1, idle_s=900)) as client:
        assert client.submit(abs, -3).result() == 3
        (asked,) = kubernetes.of("daskclusters")
        assert asked["spec"]["idleTimeout"] == 900
        asked["spec"]["idleTimeout"] = 1  # a busy machine is idle for longer while it starts
        key = ("kubernetes.dask.org/v1", "daskclusters", SPACE, asked["metadata"]["name"])
        kubernetes.loop.call_soon_threadsafe(kubernetes.tell, "MODIFIED", key)
        until(lambda: not any(counted(kubernetes).values()))
    nothing_left(kubernetes)


def test_reap__deletes_what_is_too_old_or_has_lost_its_notebook(kubernetes, tmp_path):
    def asked(name, **annotations):
        metadata = {"name": name, "namespace": "idle", "annotations": annotations}
        value = {"kind": "DaskCluster", "apiVersion": "kubernetes.dask.org/v1", "metadata": metadata}
        key = ("kubernetes.dask.org/v1", "daskclusters", "idle", name)
        asyncio.run_coroutine_threadsafe(added(kubernetes, key, value), kubernetes.loop).result()

    past, later = str(int(time.time()) - 1), str(int(time.time()) + HOURS_S)
    asked("old", **{"multimap.org/expires": past})
    asked("young", **{"multimap.org/expires": later})
    asked("lonely", **{"multimap.org/expires": later, "multimap.org/owner": "hub/jupyter-bob/7"})
    account = {"KUBECONFIG": str(kubeconfig(kubernetes.url, "reaper", tmp_path / "reaper.yaml"))}
    command = [sys.executable, "-m", "multimap_kernel.compute.reap", "idle"]
    told = subprocess.run(command, env=os.environ | account, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    lines = {"deleted old: its age", "deleted lonely: its notebook jupyter-bob is gone"}
    assert set(told.stdout.splitlines()) == lines
    assert [one["metadata"]["name"] for one in kubernetes.of("daskclusters", "idle")] == ["young"]


async def added(api, key, value):
    return api.add(key, value)["metadata"]["uid"]


def test_cluster__a_wrong_resource_is_refused_in_words(kubernetes):
    wrong = Cluster.model_construct(**{**Cluster(kind="kubernetes").model_dump(), "workers": "three"})
    with (
        pytest.raises(ClusterError, match=r"replicas: 'three' is not of type 'integer'.*may this account create"),
        mm.cluster(mm.Runtime.model_construct(cluster=wrong, scratch="")),
    ):
        pass
    nothing_left(kubernetes)


def test_calls__are_those_that_the_roles_of_the_chart_allow(kubernetes):
    """Over this whole file, in which the server obeyed the rendered roles."""
    stored = json.loads(CALLS.read_text())
    recorded = {tuple(call) for phase, calls in stored.items() if phase != "recorded" for call in calls}
    assert kubernetes.calls["notebook"] == kubernetes.roles["notebook"] == recorded
    for caller in ("operator", "reaper"):
        assert kubernetes.calls[caller] <= kubernetes.roles[caller]
