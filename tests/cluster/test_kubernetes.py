"""The real Dask operator and KubeCluster, through `compute.cluster`, against an API server and nodes of our own."""

import asyncio
import gc
import importlib.resources
import runpy
import socket
import sys
import time
import warnings
from pathlib import Path

import dask
import pytest
import yaml

import multimap_kernel as mm
from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

pytestmark = [
    pytest.mark.platform,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # kr8s leaves its connections to the collector
]
SPACE = "compute"
PATIENCE_S = 400
"""A busy machine takes minutes to start a process; a quiet one takes none of this time."""
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


def test_reap__deletes_what_is_too_old_or_has_lost_its_notebook(kubernetes):
    from multimap_kernel.compute.reap import reap

    def asked(name, **annotations):
        metadata = {"name": name, "namespace": "idle", "annotations": annotations}
        value = {"kind": "DaskCluster", "apiVersion": "kubernetes.dask.org/v1", "metadata": metadata}
        key = ("kubernetes.dask.org/v1", "daskclusters", "idle", name)
        asyncio.run_coroutine_threadsafe(added(kubernetes, key, value), kubernetes.loop).result()

    asked("old", **{"multimap.org/expires": "1000"})
    asked("young", **{"multimap.org/expires": "3000"})
    asked("lonely", **{"multimap.org/expires": "3000", "multimap.org/owner": "hub/jupyter-bob/7"})
    ended = asyncio.run(reap("idle", 2000.0))
    assert ended == {"old": "its age", "lonely": "its notebook jupyter-bob is gone"}
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
