"""The resource that is asked of the Dask operator, judged by the operator's own schema."""

import importlib.resources
import sys
from pathlib import Path

import dask
import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from multimap_kernel.compute.kubernetes import cluster_spec, start_kubernetes
from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

CHOSEN = Cluster(kind="kubernetes", workers=3, memory="2GiB")


@pytest.fixture
def image(monkeypatch):
    pytest.importorskip("dask_kubernetes", reason="the extra multimap[cloud] is not installed")
    import dask_kubernetes.operator

    with dask.config.set({"kubernetes.image": "registry.example/multimap:0.1"}):
        yield Path(dask_kubernetes.operator.__file__).parent


def retrieve(uri):
    """The operator's own definitions; those of Kubernetes itself are not shipped with it, and let all pass."""
    if uri.startswith("python://dask_kubernetes/operator/"):
        path = importlib.resources.files("dask_kubernetes.operator") / uri.removeprefix(
            "python://dask_kubernetes/operator/"
        )
        return Resource(yaml.safe_load(path.read_text()), DRAFT7)
    return Resource({"definitions": {f"io.k8s.api.core.v1.{kind}": {} for kind in ("PodSpec", "ServiceSpec")}}, DRAFT7)


def test_cluster_spec__fits_the_schema_of_the_operator(image):
    spec = cluster_spec(CHOSEN)
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


def test_cluster_spec__refuses_an_image_without_multimap(image):
    with (
        dask.config.set({"kubernetes.image": "ghcr.io/dask/dask:latest"}),
        pytest.raises(ClusterError, match="must name an image that holds multimap"),
    ):
        cluster_spec(CHOSEN)


def test_start_kubernetes__without_the_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_kubernetes", None)
    with pytest.raises(ClusterError, match=r"pip install 'multimap\[cloud\]'"):
        start_kubernetes(CHOSEN)
