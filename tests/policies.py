"""The CEL of admission policies evaluated as the API server would, and a cluster that a notebook may make."""

import copy

import celpy
from celpy.adapter import json_to_cel

USERNAME = "hub.jupyter.org/username"
TOKEN = "authentication.kubernetes.io/pod-"
CLUSTER = {
    "metadata": {
        "name": "mm-alice-1",
        "labels": {USERNAME: "alice"},
        "annotations": {"multimap.org/expires": "1800000000", "multimap.org/owner": "lab/jupyter-alice/u-1"},
    },
    "spec": {
        "idleTimeout": 1800,
        "worker": {"replicas": 4, "spec": {"serviceAccountName": "multimap-team-lab", "containers": []}},
        "scheduler": {"spec": {"serviceAccountName": "multimap-team-lab", "containers": []}},
    },
}


def request(pod="jupyter-alice", uid="u-1", account="system:serviceaccount:lab:multimap-team-lab", operation="CREATE"):
    extra = {f"{TOKEN}name": [pod], f"{TOKEN}uid": [uid]} if pod else {}
    return {"operation": operation, "userInfo": {"username": account, "extra": extra}}


def refusals(policy, thing, asked, old=None):
    """Messages of the validations of a policy that are not true; none if its conditions do not hold."""
    known = {"object": json_to_cel(thing), "oldObject": json_to_cel(old), "request": json_to_cel(asked)}
    spec = policy["spec"]
    if not all(evaluate(condition["expression"], known) for condition in spec.get("matchConditions", [])):
        return []
    variables = {}
    for variable in spec.get("variables", []):
        variables[celpy.celtypes.StringType(variable["name"])] = evaluate(variable["expression"], known)
        known["variables"] = celpy.celtypes.MapType(variables)
    return [one["message"] for one in spec["validations"] if not evaluate(one["expression"], known)]


def evaluate(expression, known):
    environment = celpy.Environment()
    return environment.program(environment.compile(expression)).evaluate(known)


def changed(thing, *path, to):
    """A copy with one part exchanged; None removes it."""
    new = copy.deepcopy(thing)
    inner = new
    for step in path[:-1]:
        inner = inner[step]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return new
