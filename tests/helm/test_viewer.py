"""The viewer service of the chart: what it may reach, read and write, and how the hub knows it."""

import celpy
import kubernetes_validate
import pytest
import yaml
from charts import CHART
from networks import reaches
from traitlets.config import Config

from multimap_kernel.share.places import configured_places

pytestmark = pytest.mark.platform
CODE = CHART / "files" / "hub" / "00_multimap.py"
VIEWER = ("lab", {"app.kubernetes.io/name": "multimap", "app.kubernetes.io/component": "viewer"})


def of_jupyterhub(component):
    return "lab", {"component": component}


@pytest.fixture
def pod(everything, find):
    deployment = find(everything, "Deployment", "multimap-viewer")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert find(everything, "Service", "multimap-viewer")["spec"]["selector"] == VIEWER[1]
    assert VIEWER[1].items() <= template["metadata"]["labels"].items()
    return template["spec"]


def test_pod__has_no_rights_in_kubernetes_and_no_place_to_write_but_its_scratch(pod, everything, find):
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "v"}, "spec": pod}, "1.30")
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/tmp"]
    account = find(everything, "ServiceAccount", pod["serviceAccountName"])
    bound = {
        subject["name"]
        for thing in everything
        if thing["kind"].endswith("RoleBinding")
        for subject in thing["subjects"]
    }
    assert account["metadata"]["name"] not in bound
    probes = [container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert set(probes) == {"/services/viewer/health"}


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        (of_jupyterhub("proxy"), VIEWER, 8080, True),
        (of_jupyterhub("hub"), VIEWER, 8080, True),
        (of_jupyterhub("singleuser-server"), VIEWER, 8080, True),
        (of_jupyterhub("singleuser-server"), VIEWER, 22, False),
        (("multimap-compute", {"dask.org/component": "worker"}), VIEWER, 8080, False),
        (("default", {"component": "proxy"}), VIEWER, 8080, False),
        (VIEWER, of_jupyterhub("singleuser-server"), 8888, False),
        (VIEWER, ("multimap-compute", {"dask.org/component": "scheduler"}), 8786, False),
    ],
)
def test_network__lets_in_the_hub_its_proxy_and_notebooks(everything, source, target, port, expected):
    policies = [thing for thing in everything if thing["kind"] == "NetworkPolicy"]
    assert reaches(policies, source, target, port) is expected


def test_network__of_the_service_ends_at_the_hub_and_the_bucket(everything, find):
    """That the hub lets it in is said by JupyterHub's own chart, for pods with this label."""
    deployment = find(everything, "Deployment", "multimap-viewer")
    assert deployment["spec"]["template"]["metadata"]["labels"]["hub.jupyter.org/network-access-hub"] == "true"
    rules = find(everything, "NetworkPolicy", "multimap-viewer")["spec"]["egress"]
    inside = [rule for rule in rules if any("ipBlock" not in peer for peer in rule["to"])]
    assert [port["port"] for rule in inside for port in rule["ports"]] == [8081, 53, 53]


@pytest.mark.parametrize(
    ("name", "listed", "roles"),
    [
        ("objects/lab/shared/ab/layers.json", "", {"objectViewer"}),
        ("objects/groups/sleep/shared/ab/layers.json", "", {"objectViewer"}),
        ("objects/groups/other/shared/ab/layers.json", "", set()),
        ("objects/multimap-shares/ab.json", "", {"objectUser"}),
        ("", "multimap-shares/", {"objectUser"}),
        ("", "lab/study/runs/", {"objectViewer"}),
        ("", "", set()),
    ],
)
def test_bucket__is_read_where_teams_are_and_written_where_records_are(everything, find, name, listed, roles):
    bindings = find(everything, "IAMPartialPolicy", "my-bucket")["spec"]["bindings"]
    own = [
        b
        for b in bindings
        if b["members"] == [{"member": "serviceAccount:mm-viewer@my-project.iam.gserviceaccount.com"}]
    ]
    given = {b["role"].removeprefix("roles/storage.") for b in own if _holds(b, name, listed)}
    assert given == roles
    others = [b for b in bindings if b not in own]
    if name.startswith("objects/multimap-shares"):
        assert not any(_holds(b, name, listed) for b in others)  # no team decides who may read what


def _holds(binding, name, listed):
    resource = {"name": f"projects/_/buckets/my-bucket/{name}".rstrip("/")}
    environment = celpy.Environment()
    program = environment.program(
        environment.compile(binding["condition"]["expression"]),
        functions={"getAttribute": lambda _, __, otherwise: celpy.celtypes.StringType(listed or otherwise)},
    )
    return bool(program.evaluate(celpy.json_to_cel({"resource": resource, "api": {}})))


def test_hub__registers_the_service_with_the_token_of_its_chart(pod, everything, find, tmp_path, monkeypatch):
    settings = find(everything, "ConfigMap", "multimap-settings")["data"]["settings.json"]
    (tmp_path / "settings.json").write_text(settings)
    monkeypatch.setenv("MULTIMAP_SETTINGS", str(tmp_path))
    c = Config()
    values = yaml.safe_load((CHART / "values.yaml").read_text())["jupyterhub"]["hub"]
    # as JupyterHub's chart begins them
    c.JupyterHub.services = [{"name": name, "api_token": f"token of {name}"} for name in values["services"]]
    c.JupyterHub.load_roles = [{"name": name, **role} for name, role in values["loadRoles"].items()]
    exec(compile(CODE.read_text(), CODE, "exec"), {"c": c})
    (service,) = [one for one in c.JupyterHub.services if one["name"] == "viewer"]
    assert service["api_token"] == "token of viewer"
    assert service["url"] == "http://multimap-viewer.lab:8080"
    assert "command" not in service
    roles = {role["name"]: role for role in c.JupyterHub.load_roles}
    assert roles["viewer"] == {
        "name": "viewer",
        "services": ["viewer"],
        "scopes": ["read:users:name", "read:users:groups"],
    }
    assert "access:services!service=viewer" in roles["user"]["scopes"]
    assert roles["smoke"]["services"] == ["smoke"]


def test_environment__names_the_places_and_the_records(pod):
    given = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    places = configured_places(given)
    assert {name: place.url for name, place in places.items()} == {
        "lab": "gs://my-bucket/lab",
        "sleep": "gs://my-bucket/groups/sleep",
    }
    assert places["sleep"].groups == frozenset({"sleep"})
    assert given["MULTIMAP_SHARES"] == "gs://my-bucket/multimap-shares"
