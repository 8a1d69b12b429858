"""Runs in a real object store that answers 429 and 503: nothing is lost, and it is not asked too often."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from faulty import write_notebook
from objectstore import BUCKET, ObjectStore

pytestmark = pytest.mark.batch

CELLS = ["import time", *["time.sleep(0.2)"] * 15]
AT_ONCE_S = 10.0  # an evicted machine is given little more


@pytest.fixture
def store():
    with ObjectStore() as started:
        yield started


def command(notebook, folder):
    """A batch of one row whose runs go to the object store."""
    (folder / "table.csv").write_text("session,subject\nsub-02,02\n")
    start = [sys.executable, "-m", "multimap_kernel", "batch", str(notebook), "--table", str(folder / "table.csv")]
    return [*start, "--runs", f"gs://{BUCKET}/runs", "--workers", "0", "--store", str(folder / "store")]


def test_batch__a_store_that_refuses_is_asked_again_and_not_too_often(store, tmp_path):
    """Every fourth request is refused; 16 cells change the notebook 35 times within some seconds."""
    store.gate.refuse_every = 4
    notebook = write_notebook(tmp_path / "many.ipynb", *CELLS, parameters='subject: str = ""', kernel="python3")
    done = subprocess.run(
        command(notebook, tmp_path), env=store.environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(store.gate.refused) == {429, 503}
    objects = {name.removeprefix("runs/many/sub-02/"): content for name, content in store.objects().items()}
    record = json.loads(objects["attempt-1/run.json"])
    assert (record["status"], record["parameters"]["subject"]) == ("done", "02")
    assert json.loads(objects["latest.json"]) == {"attempt": 1, "status": "done"}
    assert {"attempt-1/notebook.ipynb", "attempt-1/notebook.html", "attempt-1/log.txt"} <= objects.keys()
    executed = json.loads(objects["attempt-1/notebook.ipynb"])["cells"]
    assert {cell["metadata"]["papermill"]["status"] for cell in executed} == {"completed"}
    for name, times in store.gate.writes.items():
        assert np.diff(times).min(initial=9) > 0.9, f"{name} was written more than once a second"
    assert len(store.gate.writes["runs/many/sub-02/attempt-1/notebook.ipynb"]) > 1  # it can be read while it runs


def test_batch__asked_to_end_sends_its_state_home_at_once(store, tmp_path):
    notebook = write_notebook(
        tmp_path / "long.ipynb",
        "print('kept:', subject)",
        "import time\nprint('half', 'way', flush=True)\ntime.sleep(600)",
        parameters='subject: str = ""',
        kernel="python3",
    )
    attempt = "runs/long/sub-02/attempt-1"
    with (tmp_path / "told.txt").open("wb") as told:
        batch = subprocess.Popen(command(notebook, tmp_path), env=store.environment, stdout=told, stderr=told)
    while b"kept: 02" not in store.objects().get(f"{attempt}/notebook.ipynb", b""):
        assert batch.poll() is None, (tmp_path / "told.txt").read_text()
        time.sleep(0.1)
    batch.send_signal(signal.SIGTERM)
    assert batch.wait(AT_ONCE_S) == 75
    objects = store.objects()
    assert json.loads(objects[f"{attempt}/run.json"])["status"] == "preempted"
    assert json.loads(objects["runs/long/sub-02/latest.json"]) == {"attempt": 1, "status": "preempted"}
    cells = json.loads(objects[f"{attempt}/notebook.ipynb"])["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["metadata"]["papermill"]["status"] for cell in code] == ["completed"] * 3 + ["failed"]
    assert "half way" in json.dumps(code[-1]["outputs"])
