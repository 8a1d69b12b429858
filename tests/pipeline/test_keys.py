"""Keys: what changes them, what does not, and that a step's version follows its code.

``python tests/pipeline/test_keys.py`` records the code of all steps again, after their versions were raised.
"""

import ast
import hashlib
import inspect
import json
from pathlib import Path

import pytest

import multimap_kernel as mm
from multimap_kernel.io.bids import Session
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import GROUP, STEPS, key_of, steps
from multimap_kernel.schema import Decision

PACKAGE = Path(mm.__file__).parent
RECORD = Path(__file__).with_name("step_code.json")


def own_imports(path: Path) -> set[Path]:
    """Files of this package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("multimap_kernel."):
                stem = PACKAGE.joinpath(*name.split(".")[1:])
                found |= {file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()}
    return found


def code_of(path: Path) -> str:
    """The code of a file without comments and docstrings: words may change without a new version."""
    tree = ast.parse(path.read_text())
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
    """For each step its version and a hash of its function and all modules of verbs that it reaches."""
    found = {}
    for step in (*STEPS, GROUP):
        used = filter(inspect.isfunction, inspect.getclosurevars(step.run).globals.values())
        verbs = [verb for verb in used if verb.__module__.startswith("multimap_kernel.")]
        files, todo = set(), {Path(inspect.getfile(verb)) for verb in verbs}
        while todo:
            file = todo.pop()
            relative = file.relative_to(PACKAGE).parts[0]
            if file not in files and relative not in {"pipeline", "config.py", "schema"}:
                files.add(file)
                todo |= own_imports(file)
        own = Path(inspect.getfile(step.run))
        files |= {own} - {Path(steps.__file__)}  # steps.py holds all of them: only the function itself counts
        text = inspect.getsource(step.run) + "".join(code_of(file) for file in sorted(files))
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
