"""What helm makes of the chart: valid for each Kubernetes, closed to unknown values, and where it belongs."""

import json

import jsonschema
import kubernetes_validate
import pytest
import yaml
from charts import CHART, EVERYTHING, ROOT, operator_chart

pytestmark = pytest.mark.platform
KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
CUSTOM = yaml.safe_load((ROOT / "tests/helm/custom_resources.yaml").read_text())
OPERATORS = {"ServiceMonitor", "PodMonitor"}  # made by the operator's own chart, for Prometheus


def is_custom(thing):
    group = thing["apiVersion"].partition("/")[0]
    return group.endswith((".cloud.google.com", ".gke.io", ".coreos.com")) or group == "cloud.google.com"


def test_lint__finds_nothing_to_refuse(helm):
    for options in ((), ("--values", EVERYTHING)):
        done = helm("lint", "--strict", *options)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("what", ["defaults", "everything"])
def test_objects__fit_the_schema_of_kubernetes(request, what, version):
    objects = [thing for thing in request.getfixturevalue(what) if not is_custom(thing)]
    assert len(objects) > 35
    for thing in objects:
        kubernetes_validate.validate(thing, version, strict=True)


def test_schema_of_kubernetes__catches_a_fault(defaults, find):
    quota = json.loads(json.dumps(find(defaults, "ResourceQuota", "multimap")))
    quota["spec"]["hardd"] = quota["spec"].pop("hard")
    with pytest.raises(kubernetes_validate.ValidationError, match="hardd"):
        kubernetes_validate.validate(quota, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("what", ["defaults", "everything"])
def test_custom_resources__fit_their_definitions(request, what):
    objects = [t for t in request.getfixturevalue(what) if is_custom(t) and t["kind"] not in OPERATORS]
    assert {thing["kind"] for thing in objects} == {
        kind
        for kind, about in CUSTOM.items()
        if what == "everything" or (about["group"].endswith(("gke.io", "google.com")) and "cnrm" not in about["group"])
    }
    for thing in objects:
        about = CUSTOM[thing["kind"]]
        assert thing["apiVersion"] == f"{about['group']}/{about['version']}"
        jsonschema.validate(thing["spec"], about["spec"])


def test_crds__of_the_operator_come_along(everything):
    found = {t["metadata"]["name"] for t in everything if t["kind"] == "CustomResourceDefinition"}
    assert found == {
        d["metadata"]["name"] for p in (operator_chart() / "crds").iterdir() for d in yaml.safe_load_all(p.read_text())
    }


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("domian=x.org", "additional properties 'domian' not allowed"),
        ("compute.idleTimeout=60", "'idleTimeoutSeconds'"),  # what is allowed is listed
        ("images.lab.tag=latest", "additional properties 'tag' not allowed"),
        ("images.lab.digest=latest", "does not match pattern"),
        ("bucket=gs://my-bucket", "does not match pattern"),
        ("teams[0].prefix=lab", "does not match pattern"),
        ("gcp.configConnector.deletionPolicy=keep", "value must be one of 'abandon', 'delete'"),
        ("compute.idleTimeoutSeconds=0", "minimum: got 0, want 60"),
    ],
)
def test_values__refuses_what_it_does_not_know(helm, value, told):
    done = helm("template", "--set", value)
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_values__the_three_must_be_given(helm, missing):
    three = ["domain=lab.example.org", "project=my-project", "bucket=my-bucket"]
    name = three.pop(missing).partition("=")[0]
    done = helm("template", three=three)
    assert f"{name} must be" in done.stderr
    assert f"--set {name}=" in done.stderr


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("compute.namespace=lab", "must not be the namespace of the hub"),
        ("compute.namespace=elsewhere", "the Dask operator must watch compute.namespace"),
        ("gcp.configConnector.enabled=true", "projectNumber must be the number"),
        ("viewer.prefix=lab/shares/", "must lie outside of every team's prefix"),
        ("batch.nightly.schedule=0 1 * * *", "batch.nightly.notebook must be a gs:// URL"),
    ],
)
def test_values__refuses_what_does_not_go_together(helm, value, told):
    done = helm("template", "--set", value)
    assert done.returncode != 0
    assert told in done.stderr


def closed_objects(schema, path="values"):
    if schema.get("additionalProperties") is False:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from closed_objects(inner, f"{path}.{name}")
    if "items" in schema:
        yield from closed_objects(schema["items"], f"{path}[]")


def test_schema__lists_what_is_allowed_and_knows_each_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    closed = dict(closed_objects(schema))
    for path, part in closed.items():
        assert part["propertyNames"]["enum"] == list(part["properties"]), path
    assert set(schema["properties"]) == {*values, "global"}
    assert set(closed["values.compute"]["properties"]) == set(values["compute"])
    assert set(closed["values.profiles[]"]["properties"]) == set(values["profiles"][0])


def test_images__are_named_by_digest_when_digests_are_known(everything, defaults):
    def images(objects):
        for thing in objects:
            spec = thing.get("spec", {})
            for pod in (
                spec.get("jobTemplate", {}).get("spec", {}).get("template", {}).get("spec"),
                spec if thing["kind"] == "Pod" else None,
                spec["template"]["spec"]
                if thing["metadata"]["name"] == "multimap-viewer" and "template" in spec
                else None,
            ):
                if pod:
                    yield from (container["image"] for container in pod["containers"])

    assert len(list(images(everything))) == 4
    assert all("@sha256:" in image for image in images(everything))
    assert all(image.endswith(":0.1.0") for image in images(defaults))


def test_objects__lie_in_the_two_namespaces(everything):
    cluster_wide = {
        "Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip
    for thing in everything:
        if thing["kind"] in cluster_wide:
            assert "namespace" not in thing["metadata"]
        elif thing["metadata"]["name"].startswith("multimap-dask-kubernetes-operator") or thing["kind"] in OPERATORS:
            assert thing["metadata"].get("namespace") in {None, "lab"}  # helm puts it where the release is
        elif thing["metadata"]["name"] != "multimap-dask-operator" or thing["kind"] != "ServiceAccount":
            assert thing["metadata"]["namespace"] in {"lab", "multimap-compute"}


def test_scheduler_and_bucket__of_google_outlive_the_chart(everything, find):
    bucket = find(everything, "StorageBucket", "my-bucket")
    key = find(everything, "KMSCryptoKey", "multimap")
    scratch = find(everything, "StorageBucket", "my-bucket-scratch")
    kept = {"cnrm.cloud.google.com/deletion-policy": "abandon", "helm.sh/resource-policy": "keep"}
    assert kept.items() <= bucket["metadata"]["annotations"].items()
    assert kept.items() <= key["metadata"]["annotations"].items()
    assert not kept.keys() & scratch["metadata"]["annotations"].keys()
    assert scratch["spec"]["softDeletePolicy"] == {"retentionDurationSeconds": 0}
    for one in (bucket, scratch):
        assert one["spec"]["publicAccessPrevention"] == "enforced"
        assert one["spec"]["uniformBucketLevelAccess"] is True
        assert one["spec"]["encryption"] == {"kmsKeyRef": {"name": "multimap"}}
    assert bucket["spec"]["versioning"] == {"enabled": True}


def test_node_pools__spot_is_for_workers_alone(everything, find):
    pools = {
        name: find(everything, "ContainerNodePool", f"multimap-{name}")["spec"] for name in ("labs", "workers", "gpus")
    }
    assert {name: pool["nodeConfig"]["spot"] for name, pool in pools.items()} == {
        "labs": False, "workers": True, "gpus": False,
    }  # fmt: skip
    (taint,) = pools["workers"]["nodeConfig"]["taint"]
    assert taint == {"key": "k8s.dask.org_dedicated", "value": "worker", "effect": "NO_SCHEDULE"}
    assert all(pool["nodeConfig"]["workloadMetadataConfig"] == {"mode": "GKE_METADATA"} for pool in pools.values())


def notes(helm, *options):
    """What is printed after an installation; nothing is installed."""
    done = helm("install", "--dry-run=client", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_notes__print_the_commands_for_each_google_resource(helm, everything):
    told = notes(helm, "--values", EVERYTHING, "--set", "gcp.configConnector.enabled=false")
    for thing in everything:
        name, spec = thing["metadata"]["name"], thing["spec"] if is_custom(thing) else {}
        if thing["kind"] == "StorageBucket":
            assert f"gcloud storage buckets create gs://{name} " in told
            for rule in spec["lifecycleRule"]:
                assert all(str(days) in told for days in rule["condition"].values() if isinstance(days, int))
        elif thing["kind"] == "IAMServiceAccount":
            assert f"gcloud iam service-accounts create {name} " in told
        elif thing["kind"] == "ContainerNodePool":
            (line,) = (line for line in told.splitlines() if f"node-pools create {name} " in line)
            assert ("--spot" in line) is spec["nodeConfig"]["spot"]
            assert f"--total-max-nodes {spec['autoscaling']['totalMaxNodeCount']}" in line
        elif thing["kind"] == "IAMPartialPolicy":
            for binding in spec["bindings"]:
                assert binding["role"].removeprefix("roles/") in told
                assert binding.get("condition", {}).get("expression", "") in told


def test_notes__are_a_checklist_without_commands_that_are_not_needed(helm):
    told = notes(helm, "--values", EVERYTHING)
    assert told.count("[ ]") == 6
    assert "gcloud storage" not in told
    assert "Images are named by the tag" not in told
    assert "lab.example.org must point to" in told
