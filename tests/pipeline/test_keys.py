"""Keys: what changes them, what does not, and that a step's version follows its code.

``python tests/pipeline/test_keys.py`` records the code of all steps again, after their versions were raised.
"""

import ast
import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import multimap_kernel as mm
from multimap_kernel.io.bids import Session
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import GROUP, STEPS, Step, key_of
from multimap_kernel.schema import Decision

PACKAGE = Path(mm.__file__).parent
RECORD = Path(__file__).with_name("step_code.json")


def defined_in(module: str, name: str) -> Path | None:
    """File of this package that defines what is imported as ``name`` from ``module``; None for what others define."""
    if not module.startswith("multimap_kernel"):
        return None
    found = getattr(importlib.import_module(module), name)
    where = found if inspect.ismodule(found) else sys.modules[getattr(found, "__module__", module) or module]
    return Path(where.__file__) if where.__name__.startswith("multimap_kernel.") else None


def imported(nodes: Iterable[ast.AST]) -> tuple[set[Path], set[str]]:
    """Files of this package whose content is imported, and the names of other packages."""
    files, others = set[Path](), set[str]()
    for node in nodes:
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            files |= {file for alias in node.names if (file := defined_in(str(node.module), alias.name))}
            others.add(str(node.module).partition(".")[0])
    return files, others


def called(step: Step) -> list[ast.AST]:
    """A step's function, what it uses of its own module, and the imports that these use."""
    tree = ast.parse(Path(inspect.getfile(step.run)).read_text())
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    used, todo = dict[str, ast.AST](), [step.run.__name__]
    while todo:
        name = todo.pop()
        if name in own and name not in used:
            used[name] = own[name]
            todo += [node.id for node in ast.walk(own[name]) if isinstance(node, ast.Name)]
    names = {node.id for part in used.values() for node in ast.walk(part) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in names]
    return [*(used[name] for name in sorted(used)), *(node for node in tree.body if getattr(node, "names", None))]


def reached(step: Step) -> tuple[set[Path], set[str]]:
    """All modules of this package that a step's result rests on, and the packages that these import."""
    todo, others = imported(part for node in called(step) for part in ast.walk(node))
    files = set[Path]()
    while todo:
        file = todo.pop()
        if file not in files and file.relative_to(PACKAGE).parts[0] not in {"pipeline", "config.py"}:
            files.add(file)
            more, foreign = imported(ast.walk(ast.parse(file.read_text())))
            todo, others = todo | more, others | foreign
    return files, others


def code_of(tree: ast.AST) -> str:
    """Code without comments and docstrings: words may change without a new version."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant("")
    return ast.dump(tree)


def step_code() -> dict[str, dict[str, object]]:
    """For each step its version and a hash of its function and of all modules that it reaches."""
    found = {}
    for step in (*STEPS, GROUP):
        trees = [*called(step), *(ast.parse(file.read_text()) for file in sorted(reached(step)[0]))]
        text = "".join(map(code_of, trees))
        found[step.name] = {"version": step.version, "code": hashlib.sha256(text.encode()).hexdigest()[:16]}
    return found


def test_step__version_follows_its_code():
    recorded, now = json.loads(RECORD.read_text()), step_code()
    assert set(recorded) == set(now)
    for name, found in now.items():
        if recorded[name]["code"] != found["code"]:
            assert found["version"] > recorded[name]["version"], (
                f"the code of step {name!r} changed: raise its version in pipeline/steps.py if results change, "
                "then record it with: python tests/pipeline/test_keys.py"
            )


def test_step__rests_on_the_modules_that_make_its_result():
    expected = {
        "fuse": {"fusion/ridge.py", "fusion/train.py", "fusion/model.py", "fusion/evaluate.py", "maps/shifts.py"},
        "map": {"maps/glm.py", "maps/joint.py", "maps/inference.py", "fusion/patterns.py"},
        "publish": {"io/export.py", "view/sections.py", "view/figures_maps.py"},
        "align": {"align/estimate.py", "schema/values.py"},
        "group": {"maps/group.py", "io/export.py"},
    }
    for step in (*STEPS, GROUP):
        found = {str(file.relative_to(PACKAGE)) for file in reached(step)[0]}
        assert expected.get(step.name, set()) <= found, step.name


@pytest.mark.parametrize(
    "step", [step for step in (*STEPS, GROUP) if step.name != "publish"], ids=lambda step: step.name
)
def test_step__names_the_numerical_libraries_that_its_modules_import(step):
    names = {"numpy": "numpy", "scipy": "scipy", "numba": "numba", "nilearn": "nilearn", "SimpleITK": "SimpleITK"}
    names |= {"torch": "torch", "sklearn": "scikit-learn"}
    needed = {names[one] for one in reached(step)[1] & set(names)}
    assert set(step.versions(mm.Recipe.parse({"fuse": {"model": "joint"}}))) >= needed


@pytest.fixture
def session(tmp_path) -> Session:
    from recordings import write_brainvision  # not to be found where this file runs as a program

    eeg = write_brainvision(tmp_path / "bids" / "sub-01" / "eeg", "sub-01_task-x_eeg")
    func = tmp_path / "bids" / "sub-01" / "func"
    func.mkdir()
    (func / "sub-01_task-x_bold.nii.gz").write_bytes(b"volumes")
    bold = func / "sub-01_task-x_bold.nii.gz"
    return Session(subject="01", task="x", eeg=str(eeg), bold=str(bold), sidecar={"RepetitionTime": 2.0})


def keys(session: Session, store: Store, recipe: mm.Recipe, decisions=()) -> dict[str, str]:
    made: dict[str, str] = {}
    for step in STEPS:
        made[step.name] = key_of(step, session, recipe, made, decisions, store)
    return made


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def test_key__an_option_changes_its_step_and_those_below(session, tmp_path):
    store = Store(str(tmp_path / "store"), "x")
    before = keys(session, store, mm.Recipe())
    after = keys(session, store, mm.Recipe.parse({"name": "other", "fuse": {"seed": 1}}))
    assert changed(before, after) == ["fuse", "map", "publish"]
    assert changed(before, keys(session, store, mm.Recipe(name="a name is no option"))) == []


def test_key__a_changed_byte_of_raw_data_changes_everything_that_reads_it(session, tmp_path):
    store = Store(str(tmp_path / "store"), "x")
    before = keys(session, store, mm.Recipe())
    Path(session.eeg).with_suffix(".vmrk").write_text("a marker")
    assert "align" in changed(before, keys(session, store, mm.Recipe()))
    again = keys(session, store, mm.Recipe())
    Path(session.bold).write_bytes(b"Volumes")
    assert "normalise" in changed(again, keys(session, store, mm.Recipe()))


def test_key__a_moved_study_keeps_its_keys(session, tmp_path):
    store = Store(str(tmp_path / "store"), "x")
    before = keys(session, store, mm.Recipe())
    (tmp_path / "bids").rename(tmp_path / "moved")
    urls = {name: getattr(session, name).replace("/bids/", "/moved/") for name in ("eeg", "bold")}
    moved = Session(subject="01", task="x", sidecar=session.sidecar, **urls)
    assert keys(moved, store, mm.Recipe()) == before


def test_key__a_decision_enters_the_step_that_it_concerns(session, tmp_path):
    store = Store(str(tmp_path / "store"), "x")
    before = keys(session, store, mm.Recipe())
    bad = Decision("1", session.label, "ann", "2026-01-01", "bad_channel", "Fp1")
    after = changed(before, keys(session, store, mm.Recipe(), (bad,)))
    assert after[0] == "clean_eeg"
    assert "align" not in after
    accepted = Decision("2", session.label, "ann", "2026-01-01", "accept")
    assert changed(before, keys(session, store, mm.Recipe(), (accepted,))) == []


def test_steps__read_only_what_stands_above_them():
    above: set[str] = set()
    for step in STEPS:
        assert set(step.reads) <= above
        above.add(step.name)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(step_code(), indent=1) + "\n")
