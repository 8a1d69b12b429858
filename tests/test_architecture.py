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


SCIENCE = {"align", "eeg", "fmri", "fusion", "maps"}
NO_METHOD = {"add_patches", "card"}  # cutting into windows and writing a page
VERBS = sorted(name for name, home in mm._HOME.items() if home.partition(".")[0] in SCIENCE and name not in NO_METHOD)


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
    project = tomllib.loads(text)["project"]
    wanted = [r for part in (project["dependencies"], *project["optional-dependencies"].values()) for r in part]
    block = text[text.index("\ndependencies = [") : text.index("[project.scripts]")]
    lines = [line for line in block.splitlines() if re.match(r'\s*(\w+ = \[)?"', line)]
    assert sum(line.partition("#")[0].count('"') for line in lines) == 2 * len(wanted)  # none in another form
    assert [line.strip() for line in lines if not re.search(r"#\s*\w", line)] == []
