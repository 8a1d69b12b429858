"""The house: arrows, sizes, docstrings, light imports, one list of requirements."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import multimap_kernel as mm

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "multimap_kernel"
MODULES = sorted(PACKAGE.rglob("*.py"))
LIGHT = {"argparse", "importlib", "multimap_kernel"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module__has_one_floor(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or body[-1].end_lineno - body[0].lineno < 45, f"{node.name} is longer than 45 lines"


@pytest.mark.parametrize("name", mm.__all__)
def test_facade__name_is_there_and_documented(name):
    verb = getattr(mm, name)
    assert verb.__doc__
    assert name in dir(mm)


VERBS = (
    "estimate_alignment apply_alignment correct_timing realign remove_gradient_artifact decimate remove_pulse_artifact "
    "clean normalise confounds spectrum average_volume carpet band_power series fit smooth "
    "activation_map subject_map coupling_map sensor_map group_map fixed_effects pattern_map"
).split()


@pytest.mark.parametrize("name", VERBS)
def test_verb__docstring_gives_dims_errors_and_source(name):
    text = getattr(mm, name).__doc__
    for section in ("Parameters\n", "Returns\n", "Raises\n"):
        assert section in text, f"{name} has no section {section.strip()}"
    assert re.search(r"References\n|Notes\n", text), f"{name} does not say where its method comes from"


def test_facade__refuses_an_unknown_name():
    with pytest.raises(AttributeError, match="multimap_kernel has no 'brain'"):
        _ = mm.brain


def test_help__imports_the_standard_library_only():
    code = (
        "import sys, multimap_kernel.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "COMMAND" in done.stdout
    foreign = {
        name for name in done.stderr.split() if not name.startswith(("_", "__editable__", "sitecustomize", "distutils"))
    }
    assert foreign == {"multimap_kernel"}


def _names(requirements):
    return {re.split(r"[<>=!~;\[ ]", line.strip())[0].lower().replace("_", "-") for line in requirements}


def test_environment__asks_for_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = set(project["dependencies"]) | {
        r for part in ("train", "cloud") for r in project["optional-dependencies"][part]
    }
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = [item for item in conda if isinstance(item, str) and not item.startswith(("python", "pip"))]
    renamed = {"pytorch": "torch", "simpleitk": "simpleitk"}
    found = {
        re.sub(r"^([\w.-]+)", lambda m: renamed.get(m[1].lower(), m[1]), item).replace(" ", "").lower()
        for item in listed
    }
    assert found == {item.replace(" ", "").lower() for item in wanted}


def test_constraints__pin_each_direct_requirement_but_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = _names((ROOT / "constraints.txt").read_text().splitlines())
    wanted = _names(
        project["dependencies"]
        + [r for part in ("cloud", "hub", "test") for r in project["optional-dependencies"][part]]
    )
    assert wanted <= pinned
    assert not {name for name in pinned if name == "torch" or name.startswith("nvidia")}


def test_pyproject__each_requirement_says_why():
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    bare = [line for line in block.splitlines() if line.strip().startswith('"') and "#" not in line]
    assert not bare
