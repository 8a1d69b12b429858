"""The rendered admission policies, their CEL evaluated: what a notebook may have made, and what it may not."""

import celpy
import pytest
from celpy.adapter import json_to_cel
from policies import CLUSTER, USERNAME, changed, refusals, request

pytestmark = pytest.mark.platform
REGISTRY = "europe-west1-docker.pkg.dev/my-project/multimap/"
IMAGE = f"{REGISTRY}lab@sha256:{'a' * 64}"
POD = {
    "metadata": {"name": "mm-alice-worker", "labels": {USERNAME: "alice", "dask.org/component": "worker"}},
    "spec": {
        "serviceAccountName": "multimap-team-lab",
        "containers": [{"name": "worker", "image": IMAGE, "env": [{"name": "A", "value": "1"}]}],
        "tolerations": [
            {"key": "k8s.dask.org_dedicated", "operator": "Equal", "value": "worker", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    },
}


@pytest.fixture
def pods(everything, find):
    return find(everything, "ValidatingAdmissionPolicy", "multimap-pods-lab")


@pytest.fixture
def clusters(everything, find):
    return find(everything, "ValidatingAdmissionPolicy", "multimap-clusters-lab")


def test_pod__of_a_worker_is_let_in(pods):
    assert refusals(pods, POD, request()) == []


HOST = {"name": "host", "hostPath": {"path": "/"}}
SECRET = {"name": "s", "secret": {"secretName": "hub"}}
PROJECTED = {"name": "p", "projected": {"sources": [{"secret": {"name": "hub"}}]}}
TOKENS = {
    "name": "t",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "c"}}]},
}
ENTIRE_SECRET = [{"secretRef": {"name": "hub"}}]
FROM_SECRET = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "k"}}}]


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (changed(POD, "spec", "serviceAccountName", to="default"), "service account of a team"),
        (changed(POD, "spec", "serviceAccountName", to=None), "service account of a team"),
        (changed(POD, "spec", "containers", 0, "image", to=f"docker.io/evil@sha256:{'a' * 64}"), "must come from"),
        (changed(POD, "spec", "containers", 0, "image", to=f"{REGISTRY}lab:latest"), "named by digest"),
        (changed(POD, "spec", "containers", 0, "image", to=IMAGE.replace("map/", "map-evil/")), "must come from"),
        (changed(POD, "spec", "initContainers", to=[{"name": "i", "image": "busybox"}]), "must come from"),
        (changed(POD, "spec", "volumes", 0, to=HOST), "must be an emptyDir"),
        (changed(POD, "spec", "volumes", 0, to=SECRET), "must be an emptyDir"),
        (changed(POD, "spec", "volumes", 0, to=PROJECTED), "must be an emptyDir"),
        (changed(POD, "spec", "containers", 0, "env", to=FROM_SECRET), "not be filled from secrets"),
        (changed(POD, "spec", "containers", 0, "envFrom", to=ENTIRE_SECRET), "not be filled from secrets"),
        (changed(POD, "spec", "tolerations", to=[{"operator": "Exists"}]), "tolerate no taint"),
        (changed(POD, "spec", "tolerations", 0, "key", to="node-role.kubernetes.io/master"), "tolerate no taint"),
        (changed(POD, "metadata", "labels", to={}), "must belong to a person"),
        (changed(POD, "metadata", "labels", to=None), "must belong to a person"),
    ],
)  # fmt: skip
def test_pod__that_asks_for_more_is_refused(pods, pod, told):
    (message,) = refusals(pods, pod, request())
    assert told in message


def test_pod__may_have_the_token_that_kubernetes_mounts(pods):
    assert refusals(pods, changed(POD, "spec", "volumes", 0, to=TOKENS), request()) == []


def test_pods_of_the_chart_itself__pass_their_own_policy(pods, everything, find):
    for name in ("multimap-reaper", "multimap-nightly"):
        template = find(everything, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]
        assert refusals(pods, template, request(pod="")) == []


def test_cluster__of_its_own_notebook_is_let_in(clusters):
    assert refusals(clusters, CLUSTER, request()) == []


@pytest.mark.parametrize(
    ("user", "pod", "let_in"),
    [
        ("alice", "jupyter-alice", True),
        ("alice", "jupyter-alice--gpu", True),
        ("alice", "jupyter-bob", False),
        ("alice", "jupyter-alicia", False),
        ("alice", "jupyter-alice---2bd806c9", False),  # the slug of "Alice", who is somebody else
        ("alice---2bd806c9", "jupyter-alice---2bd806c9", True),
        ("alice---2bd806c9", "jupyter-alice---2bd806c9--gpu", True),
        ("abcdefghijklmnopq", "jupyter-abcdefghijklmnopq--gpu---2bd806c9", False),  # the cut slug of a longer name
        ("", "jupyter-alice", False),
        ("alice", "", False),  # a token that was given to no pod
    ],
)
def test_cluster__must_be_of_the_person_whose_token_asks(clusters, user, pod, let_in):
    thing = changed(CLUSTER, "metadata", "labels", USERNAME, to=user)
    thing["metadata"]["annotations"]["multimap.org/owner"] = f"lab/{pod}/u-1"
    assert (not any(USERNAME in told for told in refusals(clusters, thing, request(pod=pod)))) is let_in


def labelled(part):
    return changed(CLUSTER, "spec", part, "metadata", to={"labels": {USERNAME: "bob"}})


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (labelled("worker"), "the worker must not carry the label"),
        (labelled("scheduler"), "the scheduler must not carry the label"),
        (
            changed(CLUSTER, "spec", "worker", "spec", "serviceAccountName", to="multimap-team-sleep"),
            "the worker must have",
        ),
        (changed(CLUSTER, "spec", "scheduler", "spec", "serviceAccountName", to=None), "the scheduler must have"),
        (changed(CLUSTER, "spec", "idleTimeout", to=0), "must end itself when idle"),
        (changed(CLUSTER, "spec", "idleTimeout", to=None), "must end itself when idle"),
        (changed(CLUSTER, "spec", "idleTimeout", to=86400), "must end itself when idle"),
        (changed(CLUSTER, "spec", "worker", "replicas", to=41), "40 workers at most"),
        (
            changed(CLUSTER, "metadata", "annotations", "multimap.org/owner", to="lab/jupyter-bob/u-2"),
            "must name its end",
        ),
        (changed(CLUSTER, "metadata", "annotations", to=None), "must name its end"),
    ],
)
def test_cluster__that_asks_for_more_is_refused(clusters, thing, told):
    (message,) = refusals(clusters, thing, request())
    assert told in message


def test_group_and_autoscaler__stay_within_the_size_and_the_pods_of_their_cluster(everything, find):
    sizes = find(everything, "ValidatingAdmissionPolicy", "multimap-sizes-lab")
    group = {"spec": {"cluster": "mm", "worker": {"replicas": 40, "spec": {"containers": [{"image": IMAGE}]}}}}
    operator = request(pod="", account="system:serviceaccount:lab:multimap-dask-operator")
    assert refusals(sizes, group, operator) == []
    assert "only their number may change" in refusals(sizes, group, request())[0]  # made by a notebook
    more = changed(group, "spec", "worker", "replicas", to=41)
    assert "40 workers at most" in refusals(sizes, more, request(operation="UPDATE"), old=group)[0]
    other = changed(group, "spec", "worker", "spec", "containers", 0, "image", to="busybox")
    assert "only their number may change" in refusals(sizes, other, request(operation="UPDATE"), old=group)[0]
    fewer = changed(group, "spec", "worker", "replicas", to=1)
    assert refusals(sizes, fewer, request(operation="UPDATE"), old=group) == []
    scaler = {"spec": {"cluster": "mm", "minimum": 1, "maximum": 40}}
    assert refusals(sizes, scaler, request()) == []
    assert "stay at 40" in refusals(sizes, changed(scaler, "spec", "maximum", to=41), request())[0]


def test_cluster_of_somebody_else__is_neither_deleted_nor_changed(everything, find):
    owners = find(everything, "ValidatingAdmissionPolicy", "multimap-owners-lab")
    own, foreign = request(operation="DELETE"), request(pod="jupyter-bob", operation="DELETE")
    operator = request(pod="", account="system:serviceaccount:lab:multimap-dask-operator", operation="DELETE")
    assert refusals(owners, None, own, old=CLUSTER) == []
    assert refusals(owners, None, operator, old=CLUSTER) == []
    assert "only the clusters of its own person" in refusals(owners, None, foreign, old=CLUSTER)[0]


def test_policies__deny_and_fail_closed_in_the_compute_namespace_alone(everything):
    policies = {t["metadata"]["name"]: t for t in everything if t["kind"] == "ValidatingAdmissionPolicy"}
    bindings = {t["spec"]["policyName"]: t for t in everything if t["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert policies.keys() == bindings.keys()
    for name, policy in policies.items():
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert "Deny" in bindings[name]["spec"]["validationActions"]
        assert bindings[name]["spec"]["matchResources"]["namespaceSelector"] == {
            "matchLabels": {"kubernetes.io/metadata.name": "multimap-compute"}
        }


@pytest.mark.parametrize(
    ("name", "listed", "allowed"),
    [
        ("objects/lab/raw/sub-01.nii.gz", "", True),
        ("objects/lab-two/raw/sub-01.nii.gz", "", False),
        ("objects/groups/sleep/raw/sub-01.nii.gz", "", False),
        ("", "lab/raw/", True),  # a list of the bucket, under one's own prefix
        ("", "", False),
        ("", "groups/", False),
    ],
)
def test_bucket__is_open_to_a_team_under_its_prefix_alone(everything, find, name, listed, allowed):
    policy = find(everything, "IAMPartialPolicy", "my-bucket")
    binding = next(b for b in policy["spec"]["bindings"] if b["condition"]["title"] == "team-lab")
    resource = f"projects/_/buckets/my-bucket/{name}".rstrip("/")

    def attribute(_, wanted, otherwise):
        assert wanted == "storage.googleapis.com/objectListPrefix"
        return celpy.celtypes.StringType(listed or otherwise)

    environment = celpy.Environment()
    program = environment.program(
        environment.compile(binding["condition"]["expression"]), functions={"getAttribute": attribute}
    )
    known = {"resource": json_to_cel({"name": resource}), "api": json_to_cel({})}
    assert bool(program.evaluate(known)) is allowed
