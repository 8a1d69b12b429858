"""A cluster as `multimap_kernel.compute` describes it in a notebook of the chart: let in, sized, placed as meant."""

import dask
import kubernetes_validate
import pytest
import yaml
from charts import CHART
from policies import USERNAME, changed, refusals, request

from multimap_kernel.compute.retire import main as retire
from multimap_kernel.compute.spec import cluster_spec
from multimap_kernel.config import Cluster

pytestmark = pytest.mark.platform
IMAGE = f"europe-west1-docker.pkg.dev/my-project/multimap/lab@sha256:{'a' * 64}"
FIELDS = {  # what the fields are that the chart fills the environment of a notebook from
    "metadata.name": "jupyter-alice",
    "metadata.namespace": "lab",
    "metadata.uid": "u-1",
    "metadata.labels['hub.jupyter.org/username']": "alice",
    "spec.serviceAccountName": "multimap-team-lab",
}
EXTRA = yaml.safe_load((CHART / "values.yaml").read_text())["jupyterhub"]["singleuser"]["extraEnv"]


@pytest.fixture
def cluster(monkeypatch):
    """The DaskCluster that a notebook of alice asks for."""
    for name, source in EXTRA.items():
        monkeypatch.setenv(name, FIELDS[source["valueFrom"]["fieldRef"]["fieldPath"]])
    names = {"kubernetes.image": IMAGE, "kubernetes.namespace": "multimap-compute", "kubernetes.name": "mm-alice"}
    with dask.config.set(names):
        return cluster_spec(Cluster(kind="kubernetes", workers=3, memory="4GiB"), {})


def pod(cluster, part):
    """As the operator makes it: labels of the cluster and of the part."""
    spec = cluster["spec"][part]
    labels = {**cluster["metadata"]["labels"], **spec["metadata"]["labels"], "dask.org/component": part}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"mm-alice-{part}", "namespace": "multimap-compute", "labels": labels},
        "spec": spec["spec"],
    }


def test_cluster__is_let_in_by_the_policies_and_only_from_its_own_notebook(cluster, everything, find):
    policy = find(everything, "ValidatingAdmissionPolicy", "multimap-clusters-lab")
    assert refusals(policy, cluster, request()) == []
    assert refusals(policy, cluster, request(pod="jupyter-bob"))
    assert cluster["metadata"]["labels"][USERNAME] == "alice"


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_pods__of_a_cluster_are_let_in_and_fit_kubernetes(cluster, everything, find, part):
    one = pod(cluster, part)
    assert refusals(find(everything, "ValidatingAdmissionPolicy", "multimap-pods-lab"), one, request(pod="")) == []
    kubernetes_validate.validate(one, "1.33", strict=True)
    limits = find(everything, "LimitRange", "multimap")["spec"]["limits"][0]["max"]
    resources = one["spec"]["containers"][0]["resources"]["limits"]
    assert float(resources["cpu"]) <= float(limits["cpu"])
    assert int(resources["memory"]) <= int(limits["memory"].removesuffix("Gi")) * 2**30


def test_workers__go_to_the_spot_nodes_of_the_chart_and_hand_over_before_they_end(cluster, everything, find):
    worker = cluster["spec"]["worker"]["spec"]
    node = find(everything, "ContainerNodePool", "multimap-workers")["spec"]["nodeConfig"]
    (taint,) = node["taint"]
    assert {"key": taint["key"], "operator": "Equal", "value": taint["value"], "effect": "NoSchedule"} in worker[
        "tolerations"
    ]
    (wanted,) = worker["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert wanted["matchExpressions"] == [{"key": "cloud.google.com/gke-spot", "operator": "In", "values": ["true"]}]
    assert node["spot"] is True
    hook = worker["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook == ["python", "-m", "multimap_kernel.compute.retire"]
    assert retire() == 20  # it is there, and asks for the environment of a worker


def test_policy__sees_the_cluster_and_not_a_copy_with_more(cluster, everything, find):
    policy = find(everything, "ValidatingAdmissionPolicy", "multimap-clusters-lab")
    more = changed(cluster, "spec", "worker", "replicas", to=100)
    assert "40 workers at most" in refusals(policy, more, request())[0]
