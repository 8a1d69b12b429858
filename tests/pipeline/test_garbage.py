"""What `gc` takes, and what it leaves to runs that are at work, that were killed, and to executed notebooks."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import multimap_kernel as mm
from multimap_kernel.io.store import Product
from multimap_kernel.simulate import simulate_session

SESSION = "sub-01_task-flicker"
RECIPE = mm.Recipe.parse({"ingest": {"eeg_state": "clean"}, "clean_eeg": {"lowpass_hz": 45}})


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    folder = tmp_path_factory.mktemp("garbage")
    simulate_session(folder / "bids", size="tiny", artifacts=False)
    return str(folder / "bids")


@pytest.fixture
def runtime(tmp_path):
    return mm.Runtime(store=str(tmp_path), cluster=mm.Cluster(kind="threads"))


def test_collect_garbage__keeps_what_single_steps_made(bids, runtime):
    chosen = {"study": "s", "session": SESSION, "recipe": RECIPE, "runtime": runtime}
    made = [mm.run_step(name, bids, **chosen) for name in ("ingest", "align")]
    assert [step.state for step in made] == ["computed", "computed"]
    assert mm.collect_garbage(mm.Store(runtime.store, "s")) == ()
    assert mm.run_step("align", bids, **chosen).state == "reused"
    assert set(mm.open_session(runtime.store, "s", SESSION).children) == {"ingest", "align"}


def test_collect_garbage__leaves_a_run_at_work_alone(bids, runtime):
    store, ended = mm.Store(runtime.store, "s"), threading.Event()
    cleared = []

    def clear():
        while not ended.is_set():
            cleared.extend(mm.collect_garbage(store))

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        (result,) = mm.run(bids, study="s", recipe=RECIPE, runtime=runtime, upto="clean_eeg")
    finally:
        ended.set()
        thread.join()
    assert (result.status, result.error, cleared) == ("done", "", [])
    assert np.isfinite(mm.open_session(runtime.store, "s", SESSION)["clean_eeg/eeg"].values).all()


def test_collect_garbage__keeps_what_a_notebook_read_and_what_a_killed_run_may_go_on_with(tmp_path):
    store = mm.Store(str(tmp_path), "s")
    for key in ("read", "begun", "given-up", "old"):
        store.write("sub-01/task-rest/align", key, Product(values={"n": 1}), {})
    record = Path(store.url("runs", "report-default", "sub-01_task-rest", "attempt-1", "run.json"))
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"keys": {"align": "read"}}))
    for name, key, age in (("one", "begun", timedelta(days=6)), ("two", "given-up", timedelta(days=8))):
        note = Path(store.url("sub-01", "task-rest", "underway", f"{name}.json"))
        note.parent.mkdir(parents=True, exist_ok=True)
        steps = {"align": {"place": "sub-01/task-rest/align", "key": key}}
        note.write_text(json.dumps({"created": (datetime.now(UTC) - age).isoformat(), "steps": steps}))
    gone = {url.rsplit("/", 1)[-1] for url in mm.collect_garbage(store)}
    assert gone == {"given-up", "old", "two.json"}
    assert store.commit("sub-01/task-rest/align", "read")
    assert store.commit("sub-01/task-rest/align", "begun")
