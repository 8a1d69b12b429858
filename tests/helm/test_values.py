"""The values that we set of charts we cannot have here, and the versions that must go together; needs no helm."""

import ast
import json
import re
from importlib.metadata import version
from pathlib import Path

import jsonschema
import yaml
from charts import CHART, ROOT, VERSIONS

KEYS = json.loads((Path(__file__).parent / "z2jh_keys.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def leaves(value, path=()):
    """Paths down to what `z2jh_keys.json` lists, with the value there."""
    if ".".join(path) in KEYS["keys"] or not isinstance(value, dict):
        yield ".".join(path), value
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, key))


def test_jupyterhub__each_value_is_known_to_the_schema_of_its_chart():
    assert KEYS["chart"] == VERSIONS["jupyterhub"]
    ours = dict(leaves(VALUES["jupyterhub"]))
    assert ours.keys() == KEYS["keys"].keys()
    for path, value in ours.items():
        jsonschema.validate(value, KEYS["keys"][path])


def test_jupyterhub__goes_with_the_hub_of_its_chart():
    """Chart 4.4.0 runs hub 5.5; a server of another major version does not talk to it."""
    assert VERSIONS["jupyterhub"] == "4.4.0"
    assert re.search(r'"jupyterhub>=5,<6"', (ROOT / "pyproject.toml").read_text())
    pinned = re.search(r"^jupyterhub==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert pinned.startswith("5.")
    assert version("jupyterhub") == pinned


def test_operator__is_the_release_of_its_client():
    pinned = re.search(r"^dask-kubernetes==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert VERSIONS["dask-kubernetes-operator"] == pinned == version("dask-kubernetes")
    assert VALUES["dask-kubernetes-operator"]["image"]["tag"] == pinned


def test_files__of_the_hub_are_told_apart_by_name():
    """Both folders are mounted in one."""
    folders = [CHART / "files" / name for name in ("hub", "kubernetes")]
    names = [path.name for folder in folders for path in folder.glob("*.py")]
    assert len(names) == len(set(names)) > 0


def top_names(path):
    """What the code of a file defines at its top, which all mounted files share."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_files__of_the_hub_do_not_take_each_other_s_names():
    """JupyterHub's chart executes them all in one namespace: a second `settings` would replace the first."""
    files = [path for name in ("hub", "kubernetes") for path in (CHART / "files" / name).glob("*.py")]
    names = [(name, path.name) for path in files for name in set(top_names(path))]
    taken = {name for name, _ in names}
    assert len(names) == len(taken), sorted(names)
