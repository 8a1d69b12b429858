"""The pods that the hub asks for: the real KubeSpawner, the code that the chart mounts, and an API server over HTTP."""

import asyncio
import json
from types import SimpleNamespace

import kubernetes_asyncio.client
import kubernetes_asyncio.config.kube_config
import kubernetes_validate
import kubespawner.clients
import pytest
import yaml
from aiohttp import web
from charts import CHART
from jupyterhub.objects import Hub
from jupyterhub.orm import Spawner as Row
from kubespawner import KubeSpawner
from networks import reaches
from policies import CLUSTER, USERNAME, changed, refusals, request
from traitlets.config import Config

from multimap_kernel.share.places import EVERYBODY, configured_places, may_share

pytestmark = pytest.mark.platform
CODE = CHART / "files" / "kubernetes" / "spawner.py"
LINKS = CHART / "files" / "hub" / "00_multimap.py"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.fixture
def settings(everything, find, tmp_path, monkeypatch):
    """The settings as the chart renders them, where the hub would find them."""
    rendered = find(everything, "ConfigMap", "multimap-settings")["data"]["settings.json"]
    (tmp_path / "settings.json").write_text(rendered)
    monkeypatch.setenv("MULTIMAP_SETTINGS", str(tmp_path))
    monkeypatch.setattr(kubernetes_asyncio.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    return tmp_path / "settings.json"


@pytest.fixture
def mounted(settings):
    """The names of the mounted code after it ran, with the `c` that it filled."""
    c = Config()
    c.KubeSpawner.environment = VALUES["jupyterhub"]["singleuser"]["extraEnv"]
    c.KubeSpawner.tolerations = [{"key": "hub.jupyter.org_dedicated", "operator": "Exists", "effect": "NoSchedule"}]
    names = {"c": c}
    exec(compile(CODE.read_text(), CODE, "exec"), names)
    return names


def spawner(mounted, user="alice", groups=(), name=""):
    person = SimpleNamespace(
        name=user, id=1, url="/user/x/", groups=[SimpleNamespace(name=g) for g in groups], settings={}, spawners={}
    )
    return KubeSpawner(
        _mock=True, config=mounted["c"], user=person, hub=Hub(), orm_spawner=Row(name=name), namespace="lab"
    )


def kubeconfig(server):
    """Where KubeSpawner finds its API server outside a cluster."""
    names = {"cluster": "c", "user": "u"}
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": names}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }


async def spawned(mounted, settings, chosen, **who):
    """The pod that the API server would be asked for, as plain data, and the policies that it was."""
    made, answers = [], iter((201, 409, 200))

    async def answer(request):
        made.append((request.method, request.path, await request.json()))
        return web.json_response(made[-1][2], status=next(answers))

    api = web.Application()
    api.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(api)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kubespawner.clients.load_config.cache_clear()
    settings.with_name("config").write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{runner.addresses[0][1]}")))
    try:
        one = spawner(mounted, **who)
        one.user_options = {"profile": chosen}
        await one.load_user_options()
        pod = await one.modify_pod_hook(one, await one.get_pod_manifest())
        pod = await one.modify_pod_hook(one, await one.get_pod_manifest())  # a second server finds the policy there
        async with kubernetes_asyncio.client.ApiClient() as client:
            return client.sanitize_for_serialization(pod), made
    finally:
        await runner.cleanup()


def environment(pod):
    return {
        entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] if "valueFrom" in entry else entry.get("value", "")
        for entry in pod["spec"]["containers"][0]["env"]
    }


def test_server__has_the_account_of_its_team_and_knows_its_place(mounted, settings):
    pod, _ = asyncio.run(spawned(mounted, settings, "small"))
    assert pod["spec"]["serviceAccountName"] == "multimap-team-lab"
    assert pod["spec"]["automountServiceAccountToken"] is True
    known = environment(pod)
    assert known["DASK_KUBERNETES__NAMESPACE"] == "multimap-compute"
    assert known["MULTIMAP_STORE"] == "gs://my-bucket/lab"
    assert known["MULTIMAP_POD_USER"] == "metadata.labels['hub.jupyter.org/username']"
    assert known["JUPYTER_IMAGE_SPEC"] == pod["spec"]["containers"][0]["image"]
    assert "@sha256:" in known["JUPYTER_IMAGE_SPEC"]
    assert json.loads(known["MULTIMAP_PRICES"]) == VALUES["prices"]
    assert known["MULTIMAP_COLLABORATIVE"] == "0"
    assert known["MULTIMAP_CLUSTERS"] == "3"
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == 8 * 2**30
    assert "cpu" not in resources["limits"]
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    kubernetes_validate.validate(pod, "1.33", strict=True)


def test_server__of_a_member_of_another_team_has_its_rights(mounted, settings):
    pod, _ = asyncio.run(spawned(mounted, settings, "small", user="bob", groups=("sleep",)))
    assert pod["spec"]["serviceAccountName"] == "multimap-team-sleep"
    assert environment(pod)["MULTIMAP_STORE"] == "gs://my-bucket/groups/sleep"


def test_server__with_a_gpu_goes_where_one_is(mounted, settings):
    pod, _ = asyncio.run(spawned(mounted, settings, "gpu"))
    assert pod["spec"]["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {t["key"] for t in pod["spec"]["tolerations"]} == {"nvidia.com/gpu", "hub.jupyter.org_dedicated"}
    assert "/train@sha256:" in pod["spec"]["containers"][0]["image"]


def test_server__shows_the_folder_of_its_team_for_reading(mounted, settings):
    pod, _ = asyncio.run(spawned(mounted, settings, "small", groups=["sleep"]))
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod}, "1.30", strict=True)
    (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "multimap-shared")
    assert volume["csi"]["readOnly"] is True
    assert volume["csi"]["volumeAttributes"]["bucketName"] == "my-bucket"
    assert "only-dir=groups/sleep/shared-files," in volume["csi"]["volumeAttributes"]["mountOptions"]
    (mount,) = (one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "multimap-shared")
    assert mount == {"name": "multimap-shared", "mountPath": "/home/jovyan/shared", "readOnly": True}
    assert pod["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    now = json.loads(settings.read_text())
    settings.write_text(json.dumps({**now, "sharedFolder": {"enabled": False}}))
    pod, _ = asyncio.run(spawned(mounted, settings, "small"))
    assert "multimap-shared" not in json.dumps(pod)


def test_server__collaborates_only_if_that_was_chosen(mounted, settings):
    pod, _ = asyncio.run(spawned(mounted, settings, "together"))
    assert environment(pod)["MULTIMAP_COLLABORATIVE"] == "1"


@pytest.mark.parametrize(("user", "name"), [("alice", ""), ("alice", "gpu"), ("Alice@example.org", "")])
def test_server__is_named_as_the_admission_policy_believes(mounted, settings, everything, find, user, name):
    pod, _ = asyncio.run(spawned(mounted, settings, "small", user=user, name=name))
    own, label = pod["metadata"]["name"], pod["metadata"]["labels"][USERNAME]
    cluster = changed(CLUSTER, "metadata", "labels", USERNAME, to=label)
    cluster["metadata"]["annotations"]["multimap.org/owner"] = f"lab/{own}/u-1"
    policy = find(everything, "ValidatingAdmissionPolicy", "multimap-clusters-lab")
    assert refusals(policy, cluster, request(pod=own)) == []


def test_profiles__are_read_anew_at_each_spawn(mounted, settings):
    def offered(*groups):
        person = SimpleNamespace(groups=[SimpleNamespace(name=name) for name in groups])
        return mounted["profiles"](SimpleNamespace(user=person))

    assert [one["slug"] for one in offered()] == ["small", "large", "gpu", "together"]
    assert [one["default"] for one in offered()] == [True, False, False, False]
    now = json.loads(settings.read_text())
    now["profiles"] = [dict(now["profiles"][0], teams=["sleep"]), now["profiles"][1]]
    settings.write_text(json.dumps(now))
    assert [one["slug"] for one in offered()] == ["large"]
    assert [one["slug"] for one in offered("sleep")] == ["small", "large"]


def test_team__of_nobody_is_refused_if_no_team_is_for_everybody(mounted):
    stranger = SimpleNamespace(user=SimpleNamespace(name="eve", groups=[]))
    teams = [{"name": "sleep", "groups": ["sleep"]}, {"name": "rest", "groups": []}]
    assert mounted["team_of"](stranger, teams)["name"] == "rest"
    with pytest.raises(PermissionError, match="eve must be in a group of a team, found no group"):
        mounted["team_of"](stranger, teams[:1])


@pytest.mark.parametrize("groups", [(), ("sleep",), ("other",), ("other", "sleep")])
def test_team__of_a_server_is_that_of_its_links(mounted, settings, groups):
    """What a kernel is told, what the viewer service lets it share, and the prefix that its account can read."""
    names = {"c": Config()}
    exec(compile(LINKS.read_text(), LINKS, "exec"), names)
    person = SimpleNamespace(user=SimpleNamespace(groups=[SimpleNamespace(name=name) for name in groups]))
    team = mounted["team_of"](person, json.loads(settings.read_text())["teams"])
    told = names["places"](set(groups))
    assert told == {team["name"]: {"url": f"gs://my-bucket/{team['prefix'].rstrip('/')}", "groups": team["groups"]}}
    known = configured_places({"MULTIMAP_PLACES": json.dumps(names["places"]())})
    assert set(known) == {"lab", "sleep"}
    assert [name for name in known if may_share(f"{name}/shared/ab", {EVERYBODY, *groups}, known)] == [team["name"]]


def test_policy__is_made_with_the_first_server_of_a_person_and_renewed_with_the_next(mounted, settings):
    _, made = asyncio.run(spawned(mounted, settings, "small"))
    place = "/apis/networking.k8s.io/v1/namespaces/multimap-compute/networkpolicies"
    assert [(method, path) for method, path, _ in made] == [
        ("POST", place),
        ("POST", place),
        ("PUT", f"{place}/multimap-user-alice"),
    ]
    assert made[0][2] == made[2][2]
    kubernetes_validate.validate(made[0][2], "1.30", strict=True)


def pod(place, user, component, **more):
    names = {"component": component} if component == "singleuser-server" else {"dask.org/component": component}
    return place, {"hub.jupyter.org/username": user, **names, **more}


def test_scheduler__is_reached_by_its_person_its_workers_and_the_operator_alone(mounted, everything, settings):
    now = json.loads(settings.read_text())
    policies = [thing for thing in everything if thing["kind"] == "NetworkPolicy"]
    for user in ("alice", "bob"):
        own = mounted["policy"](user, now)
        policies.append({**own, "metadata": {**own["metadata"], "namespace": "multimap-compute"}})
    scheduler = pod("multimap-compute", "alice", "scheduler")
    worker = pod("multimap-compute", "alice", "worker")
    operator = ("lab", {"app.kubernetes.io/name": "dask-kubernetes-operator"})
    for source, port, expected in (
        (pod("lab", "alice", "singleuser-server"), 8786, True),
        (pod("lab", "alice", "singleuser-server"), 8787, True),
        (pod("lab", "alice", "singleuser-server"), 22, False),
        (worker, 8786, True),
        (operator, 8787, True),
        (pod("lab", "bob", "singleuser-server"), 8786, False),
        (pod("multimap-compute", "bob", "worker"), 8786, False),
        (("default", {}), 8786, False),
        (("lab", {"component": "hub"}), 8786, False),
        (("multimap-compute", {"app.kubernetes.io/component": "batch"}), 8786, False),
    ):
        assert reaches(policies, source, scheduler, port) is expected, (source, port)
    assert reaches(policies, worker, pod("multimap-compute", "alice", "worker"), 40001)
    assert not reaches(policies, pod("multimap-compute", "bob", "worker"), worker, 40001)
    assert not reaches(policies, pod("lab", "alice", "singleuser-server"), worker, 40001)
    assert not reaches(policies, worker, ("lab", {"component": "hub"}), 8081)
    assert not reaches(policies, ("default", {}), ("lab", {"anything": "else"}), 80)
