"""The chart, rendered by the real helm: its own templates and the operator's; JupyterHub's chart is a stub.

That one is in no package registry and is not committed; `test_values.py` checks our values of it against what its
schema says.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from charts import CHART, EVERYTHING, HELM, THREE, VERSIONS, operator_chart


@pytest.fixture(scope="session")
def chart(tmp_path_factory) -> Path:
    """A copy of the chart with its dependencies in place."""
    if not HELM.exists():
        message = f"helm must be at {HELM}: make .venv/bin/helm"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    copy = tmp_path_factory.mktemp("chart") / "multimap"
    shutil.copytree(CHART, copy)
    stub = copy / "charts" / "jupyterhub"
    stub.mkdir(parents=True)
    (stub / "Chart.yaml").write_text(f"apiVersion: v2\nname: jupyterhub\nversion: {VERSIONS['jupyterhub']}\n")
    operator = copy / "charts" / "dask-kubernetes-operator"
    shutil.copytree(operator_chart(), operator)
    about = (operator / "Chart.yaml").read_text()
    (operator / "Chart.yaml").write_text(about.replace("0.0.1-set.by.chartpress", VERSIONS[operator.name]))
    return copy


@pytest.fixture(scope="session")
def helm(chart):
    """Run helm with the chart; the namespace of the hub is `lab`."""

    def run(command, *options, three=THREE):
        names = ("multimap", str(chart)) if command in {"template", "install"} else (str(chart),)
        sets = [part for value in three for part in ("--set", value)]
        words = [HELM, command, *names, "--namespace", "lab", *sets, *map(str, options)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm):
    """Objects of the chart for the given options."""

    def objects(*options):
        done = helm("template", *options)
        assert done.returncode == 0, done.stderr
        return [thing for thing in yaml.safe_load_all(done.stdout) if thing]

    return objects


@pytest.fixture(scope="session")
def defaults(render):
    """With the three values alone."""
    return render()


@pytest.fixture(scope="session")
def everything(render):
    """With all that can be switched on."""
    return render("--values", EVERYTHING, "--include-crds")


@pytest.fixture(scope="session")
def find():
    """The one object of a kind and name."""

    def one(objects, kind, name, namespace=None):
        (found,) = (
            thing
            for thing in objects
            if thing["kind"] == kind
            and thing["metadata"]["name"] == name
            and namespace in {None, thing["metadata"].get("namespace")}
        )
        return found

    return one
