"""The chart, rendered by the real helm: its own templates and the operator's; JupyterHub's chart is a stub.

That one is in no package registry and is not committed; `helm/test_values.py` checks our values of it against what its
schema says.
"""

import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "multimap"
HELM = Path(sys.executable).parent / "helm"
THREE = ("domain=lab.example.org", "project=my-project", "bucket=my-bucket")
EVERYTHING = ROOT / "tests" / "helm" / "everything.yaml"
VERSIONS = {
    dependency["name"]: dependency["version"]
    for dependency in yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
}


def operator_chart() -> Path:
    """The chart that the package dask-kubernetes brings."""
    package = Path(importlib.util.find_spec("dask_kubernetes").origin).parent
    return package / "operator/deployment/helm/dask-kubernetes-operator"


def complete_chart(folder: Path) -> Path:
    """A copy of the chart with its dependencies in place."""
    if not HELM.exists():
        message = f"helm must be at {HELM}: make .venv/bin/helm"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    copy = folder / "multimap"
    shutil.copytree(CHART, copy)
    stub = copy / "charts" / "jupyterhub"
    stub.mkdir(parents=True)
    (stub / "Chart.yaml").write_text(f"apiVersion: v2\nname: jupyterhub\nversion: {VERSIONS['jupyterhub']}\n")
    operator = copy / "charts" / "dask-kubernetes-operator"
    shutil.copytree(operator_chart(), operator)
    about = (operator / "Chart.yaml").read_text()
    (operator / "Chart.yaml").write_text(about.replace("0.0.1-set.by.chartpress", VERSIONS[operator.name]))
    return copy


def helm(chart: Path, command: str, *options: object, three=THREE) -> subprocess.CompletedProcess:
    """Run helm with a complete chart; the namespace of the hub is `lab`."""
    names = ("multimap", chart) if command in {"template", "install"} else (chart,)
    sets = [part for value in three for part in ("--set", value)]
    words = [HELM, command, *names, "--namespace", "lab", *sets, *options]
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)


def render(chart: Path, *options: object) -> list[dict]:
    """Objects of the chart for the given options."""
    done = helm(chart, "template", *options)
    assert done.returncode == 0, done.stderr
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing]


def rights(objects, account, namespace):
    """(namespace, verb, group, resource) that an account has, by the rules of RBAC; `*` stands as it is."""
    roles = {(t["kind"], t["metadata"].get("namespace", ""), t["metadata"]["name"]): t for t in objects if "rules" in t}
    who = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    for binding in objects:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"} or who not in binding["subjects"]:
            continue
        where = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        role = roles[reference["kind"], where if reference["kind"] == "Role" else "", reference["name"]]
        for rule in role["rules"]:
            for verb, group, resource in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"]):
                yield where, verb, group, resource
