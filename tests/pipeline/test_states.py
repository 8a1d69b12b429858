"""The state of each step, against what really ran, was decided, and is wrong with the files."""

import shutil

import pytest

import multimap_kernel as mm
from multimap_kernel.pipeline import STEPS, Attempt
from multimap_kernel.simulate import simulate_session

FIRST, SECOND = "sub-01_task-flicker", "sub-02_task-flicker"
NAMES = [step.name for step in STEPS]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two sessions, the first with its alignment; the second has lost its volumes."""
    folder = tmp_path_factory.mktemp("states")
    simulate_session(folder / "bids", size="tiny", artifacts=False)
    shutil.copytree(folder / "bids" / "sub-01", folder / "bids" / "sub-02")
    for path in sorted((folder / "bids" / "sub-02").rglob("sub-01*")):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    next((folder / "bids" / "sub-02").rglob("*_bold.nii.gz")).unlink()
    runtime = mm.Runtime(store=str(folder / "store"), cluster=mm.Cluster(kind="threads"))
    given = {"study": "mine", "recipe": mm.Recipe.parse({"ingest": {"eeg_state": "clean"}}), "runtime": runtime}
    assert all(
        set(one.steps.values()) <= {"missing", "failed"} for one in mm.session_states(str(folder / "bids"), **given)
    )
    mm.run(str(folder / "bids"), sessions=[FIRST], upto="align", **given)[0].require_done()
    return str(folder / "bids"), given, mm.Store(runtime.store, "mine")


def states(study, **more):
    bids, given, _ = study
    return {one.session: one for one in mm.session_states(bids, **given, **more)}


def expected(**known):
    return dict.fromkeys(NAMES, "missing") | known


def test_session_states__are_what_ran(study):
    found = states(study)
    assert list(found) == [FIRST, SECOND]
    assert found[FIRST].steps == expected(ingest="done", align="done")
    assert found[SECOND].steps == expected(ingest="failed")
    assert "bold" in found[SECOND].told.lower()


def test_session_states__a_decision_makes_stale_and_an_undo_done_again(study):
    store = study[2]
    made = mm.decide(store, FIRST, "shift", value="0.004")
    assert states(study)[FIRST].steps == expected(ingest="done", align="stale")
    mm.decide(store, FIRST, "undo", supersedes=made.identifier)
    assert states(study)[FIRST].steps == expected(ingest="done", align="done")


def test_session_states__an_excluded_session_says_why(study):
    store = study[2]
    made = mm.decide(store, FIRST, "exclude", reason="moved out of the coil")
    found = states(study)[FIRST]
    mm.decide(store, FIRST, "undo", supersedes=made.identifier)
    assert set(found.steps.values()) == {"excluded"}
    assert "moved out of the coil" in found.told


def test_session_states__an_attempt_tells_of_the_first_step_that_is_not_done(study):
    bids, given, _ = study
    (wanted,) = (one.steps for one in mm.plan(bids, sessions=[FIRST], **given))
    keys = {step.step: step.key for step in wanted}
    assert states(study, attempts=[Attempt(FIRST, running=True)])[FIRST].steps["realign"] == "running"
    failed = Attempt(FIRST, running=False, told="out of memory", keys=keys)
    found = states(study, attempts=[Attempt(FIRST, running=True), failed])[FIRST]
    assert (found.steps["realign"], found.told) == ("failed", "out of memory")
    other = Attempt(FIRST, running=False, told="out of memory", keys={**keys, "realign": "0" * 32})
    found = states(study, attempts=[other])[FIRST]
    assert (found.steps["realign"], found.told) == ("missing", ""), "a failure under another recipe says nothing"
