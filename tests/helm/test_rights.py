"""What the accounts of the chart may ask of the API server: the recorded calls of KubeCluster exactly, and no more."""

import json
from pathlib import Path

import pytest
from charts import rights

pytestmark = pytest.mark.platform
CALLS = json.loads((Path(__file__).parent / "kubecluster_calls.json").read_text())
RECORDED = {tuple(call) for phase, calls in CALLS.items() if phase != "recorded" for call in calls}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = {(group, resource) for _, group, resource in RECORDED} | {
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods/exec"),
    ("", "pods/portforward"),
    ("", "serviceaccounts"),
    ("apps", "deployments"),
    ("batch", "jobs"),
    ("kubernetes.dask.org", "daskjobs"),
    ("networking.k8s.io", "networkpolicies"),
    ("rbac.authorization.k8s.io", "roles"),
}


@pytest.mark.parametrize("team", ["multimap-team-lab", "multimap-team-sleep"])
def test_notebook__may_do_what_kubecluster_was_seen_to_do_and_nothing_else(everything, team):
    assert {phase for phase in CALLS if phase != "recorded"} == {"create", "scale", "logs", "adapt", "delete"}
    found = set(rights(everything, team, "lab"))
    assert found == {("multimap-compute", *call) for call in RECORDED}
    others = {(verb, *thing) for verb in VERBS for thing in RESOURCES} - RECORDED
    assert len(others) > 100
    assert not {("multimap-compute", *call) for call in others} & found


def test_workers__have_no_rights_and_no_token(everything, find):
    for team in ("multimap-team-lab", "multimap-team-sleep"):
        assert not list(rights(everything, team, "multimap-compute"))
        account = find(everything, "ServiceAccount", team, "multimap-compute")
        assert account["automountServiceAccountToken"] is False


def test_hub__may_only_make_policies_where_clusters_are(everything):
    assert set(rights(everything, "hub", "lab")) == {
        ("multimap-compute", verb, "networking.k8s.io", "networkpolicies") for verb in ("create", "update")
    }


def test_reaper__sees_notebooks_and_deletes_clusters(everything):
    clusters = {("multimap-compute", verb, "kubernetes.dask.org", "daskclusters") for verb in ("get", "list", "delete")}
    notebooks = {("lab", verb, "", "pods") for verb in ("get", "list")}
    assert set(rights(everything, "multimap-reaper", "multimap-compute")) == clusters | notebooks


def test_operator__ends_at_the_border_of_its_namespace(everything, find):
    account = find(everything, "ServiceAccount", "multimap-dask-operator")
    assert account["metadata"].get("namespace", "lab") == "lab"
    found = set(rights(everything, "multimap-dask-operator", "lab"))
    assert {call for call in found if call[0] != "multimap-compute"} == {
        ("", verb, *names)
        for names in (("apiextensions.k8s.io", "customresourcedefinitions"), ("", "namespaces"))
        for verb in ("list", "watch")
    }
    assert not {resource for _, _, _, resource in found} & {"secrets", "serviceaccounts", "roles", "pods/exec"}
    for resource in ("pods", "services"):
        assert ("multimap-compute", "create", "", resource) in found


def test_no_role__has_a_star(everything):
    for thing in everything:
        for rule in thing.get("rules", []):
            assert "*" not in [*rule.get("verbs", []), *rule.get("resources", []), *rule.get("apiGroups", [])]
