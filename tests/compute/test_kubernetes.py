"""The resource that is asked of the Dask operator, judged by the operator's own schema."""

import importlib.metadata
import importlib.resources
import importlib.util
import json
import sys
import time
from pathlib import Path

import dask
import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from multimap_kernel.compute.kubernetes import start_kubernetes
from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

CHOSEN = Cluster(kind="kubernetes", workers=3, memory="2GiB")


@pytest.fixture
def image(monkeypatch):
    pytest.importorskip("dask_kubernetes", reason="the extra multimap[cloud] is not installed")
    import dask_kubernetes.operator

    monkeypatch.delenv("JUPYTER_IMAGE_SPEC", raising=False)
    with dask.config.set({"kubernetes.image": "registry.example/multimap:0.1", "kubernetes.namespace": "compute"}):
        yield Path(dask_kubernetes.operator.__file__).parent


def retrieve(uri):
    """The operator's own definitions; those of Kubernetes itself are not shipped with it, and let all pass."""
    if uri.startswith("python://dask_kubernetes/operator/"):
        path = importlib.resources.files("dask_kubernetes.operator") / uri.removeprefix(
            "python://dask_kubernetes/operator/"
        )
        return Resource(yaml.safe_load(path.read_text()), DRAFT7)
    return Resource({"definitions": {f"io.k8s.api.core.v1.{kind}": {} for kind in ("PodSpec", "ServiceSpec")}}, DRAFT7)


def cluster_spec(chosen=CHOSEN):
    from multimap_kernel.compute import spec

    return spec.cluster_spec(chosen, {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"})


def env(part):
    (container,) = part["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_cluster_spec__fits_the_schema_of_the_operator(image):
    spec = cluster_spec()
    definition = yaml.safe_load((image / "customresources" / "daskcluster.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    jsonschema.Draft7Validator(schema, registry=Registry(retrieve=retrieve)).validate(spec)
    worker = spec["spec"]["worker"]
    (container,) = worker["spec"]["containers"]
    assert worker["replicas"] == 3
    assert container["image"] == "registry.example/multimap:0.1"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": str(2 * 1024**3)}
    assert "{" not in str(spec["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"])


def test_cluster_spec__starts_programs_that_the_image_has(image):
    """`dask-worker` and `dask-scheduler`, which dask-kubernetes still asks for, are no longer installed."""
    commands = {script.name for script in importlib.metadata.entry_points(group="console_scripts")}
    parts = {script.name for script in importlib.metadata.entry_points(group="dask_cli")}
    for part in (cluster_spec()["spec"][name] for name in ("scheduler", "worker")):
        (container,) = part["spec"]["containers"]
        assert container["command"][0] in commands
        assert container["args"][0] in parts
    (hook,) = [container["lifecycle"]["preStop"]["exec"]["command"]]
    assert importlib.util.find_spec(hook[hook.index("-m") + 1])


def test_cluster_spec__workers_on_spot_nodes_and_the_scheduler_never(image):
    def expressions(part):
        affinity = part["spec"].get("affinity", {}).get("nodeAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []})
        return [one for term in terms["nodeSelectorTerms"] for one in term["matchExpressions"]]

    spot, steady = (cluster_spec(CHOSEN.model_copy(update={"spot": spot}))["spec"] for spot in (True, False))
    label = "cloud.google.com/gke-spot"
    assert expressions(spot["worker"]) == [{"key": label, "operator": "In", "values": ["true"]}]
    assert expressions(steady["worker"]) == []
    for spec in (spot, steady):
        assert expressions(spec["scheduler"]) == [{"key": label, "operator": "DoesNotExist"}]
        assert "tolerations" not in spec["scheduler"]["spec"]
        assert spec["worker"]["spec"]["terminationGracePeriodSeconds"] == 15
    assert [one["key"] for one in spot["worker"]["spec"]["tolerations"]] == ["k8s.dask.org_dedicated", label]


def test_cluster_spec__has_no_rights_and_speaks_tls(image, monkeypatch):
    monkeypatch.setenv("MULTIMAP_COMPUTE_ACCOUNT", "team-a")
    spec = cluster_spec()
    name = spec["metadata"]["name"]
    for part in (spec["spec"]["scheduler"], spec["spec"]["worker"]):
        (container,) = part["spec"]["containers"]
        assert part["spec"]["serviceAccountName"] == "team-a"
        assert part["spec"]["automountServiceAccountToken"] is False
        assert part["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert env(part)["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
    host = f"{name}-scheduler.compute.svc.cluster.local"
    assert env(spec["spec"]["worker"])["DASK_SCHEDULER_ADDRESS"] == f"tls://{host}:8786"
    routes = json.loads(env(spec["spec"]["scheduler"])["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"])
    asked = dask.config.get("distributed.scheduler.http.routes")
    assert routes == [*asked, "distributed.http.scheduler.api"]


def test_cluster_spec__belongs_to_its_notebook(image, monkeypatch):
    for key, value in {"NAME": "jupyter-ann", "NAMESPACE": "compute", "UID": "7", "USER": "ann"}.items():
        monkeypatch.setenv(f"MULTIMAP_POD_{key}", value)
    metadata = cluster_spec()["metadata"]
    assert metadata["labels"]["hub.jupyter.org/username"] == "ann"
    assert metadata["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "jupyter-ann", "uid": "7"}]
    assert int(metadata["annotations"]["multimap.org/expires"]) == pytest.approx(time.time() + 43200, abs=60)
    monkeypatch.setenv("MULTIMAP_POD_NAMESPACE", "hub")  # an owner in another namespace would delete it at once
    metadata = cluster_spec()["metadata"]
    assert "ownerReferences" not in metadata
    assert metadata["annotations"]["multimap.org/owner"] == "hub/jupyter-ann/7"


def test_cluster_spec__makes_a_name_that_kubernetes_takes(image, monkeypatch):
    from dask_kubernetes.operator.validation import validate_cluster_name

    monkeypatch.setenv("JUPYTERHUB_USER", "Ann.O'Neill_with-a-name-longer-than-any-label@example.org")
    with dask.config.set({"kubernetes.name": "mm-{JUPYTERHUB_USER}-{uuid}"}):
        names = {cluster_spec()["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    for name in names:
        validate_cluster_name(name)
        assert name.startswith("mm-ann-o-neill-")


def test_cluster_spec__takes_the_notebooks_own_image_or_refuses(image, monkeypatch):
    with dask.config.set({"kubernetes.image": "ghcr.io/dask/dask:latest"}):
        with pytest.raises(ClusterError, match="must name an image that holds multimap"):
            cluster_spec()
        monkeypatch.setenv("JUPYTER_IMAGE_SPEC", "registry.example/lab@sha256:1")
        (container,) = cluster_spec()["spec"]["worker"]["spec"]["containers"]
    assert container["image"] == "registry.example/lab@sha256:1"


def test_start_kubernetes__without_the_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_kubernetes", None)
    with pytest.raises(ClusterError, match=r"pip install 'multimap\[cloud\]'"), start_kubernetes(CHOSEN):
        pass
