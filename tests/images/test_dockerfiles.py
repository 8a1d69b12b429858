"""The Dockerfiles: linted, from one lock, pinned, not as root."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from charts import ROOT

IMAGES = ROOT / "images"
NAMES = ("lab", "worker", "train", "tools")
OURS = ("lab", "worker", "train")
HADOLINT = Path(sys.executable).parent / "hadolint"


def dockerfile(name):
    return (IMAGES / name / "Dockerfile").read_text()


def test_images__are_the_ones_of_the_chart():
    assert {path.parent.name for path in IMAGES.glob("*/Dockerfile")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_dockerfile__passes_hadolint(name):
    done = subprocess.run([HADOLINT, IMAGES / name / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert not done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_dockerfile__has_one_base_by_exact_tag_and_ends_as_a_numbered_user(name):
    text = dockerfile(name)
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+-\S+", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE_IMAGE}"}  # takes a digest as well
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "1000"
    for label in ("title", "description", "licenses", "revision"):
        assert f"org.opencontainers.image.{label}=" in text


def test_images__install_by_one_script_from_one_lock():
    runs = {name: re.findall(r"^RUN /src/images/install (\S+) (\S+) ", dockerfile(name), re.MULTILINE) for name in OURS}
    assert runs == {"lab": [("lab", "cpu")], "worker": [("worker", "cpu")], "train": [("train", "cu126")]}
    assert len({re.search(r"^ARG BASE_IMAGE=.*", dockerfile(name), re.MULTILINE)[0] for name in OURS}) == 1
    for name in OURS:
        assert "pip install" not in dockerfile(name)


def requirements(name):
    words = [sys.executable, IMAGES / "requirements.py", name]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines())


def test_requirements__differ_by_lab_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert requirements("lab") == requirements("train") == {
        *project["dependencies"], *extras["cloud"], *extras["hub"], *extras["lab"],
    }  # fmt: skip
    assert requirements("lab") - requirements("worker") == {
        *(line for line in project["dependencies"] if line.startswith("jupyterlab")), *extras["hub"], *extras["lab"],
    }  # fmt: skip
    assert not requirements("worker") - requirements("lab")


def test_lock__pins_each_requirement_and_torch_once():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for line in requirements("lab"):
        assert re.split(r"[<>=!~;\[ ]", line)[0].lower() in pins, line
    assert pins["jupyterhub"].startswith("5.")  # as the hub of the chart
    (torch,) = (IMAGES / "torch.txt").read_text().splitlines()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    low, high = re.fullmatch(r"torch>=(\d+\.\d+),<(\d+\.\d+)", wanted[0]).groups()
    version = re.fullmatch(r"torch==(\d+\.\d+)\.\d+", torch)[1]
    assert tuple(map(int, low.split("."))) <= tuple(map(int, version.split("."))) < tuple(map(int, high.split(".")))


def test_context__holds_what_the_dockerfiles_copy():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in OURS:
        for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile(name), re.MULTILINE):
            assert source == "." or ((ROOT / source).exists() and source.partition("/")[0] in kept), source
    assert {"constraints.txt", "pyproject.toml", "README.md", "LICENSE", "multimap_kernel", "images"} <= kept
