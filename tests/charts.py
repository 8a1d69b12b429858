"""Where the chart, its dependencies and the programs that read it are."""

import importlib.util
import sys
from pathlib import Path

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
