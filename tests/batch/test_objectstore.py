"""Runs in a real object store that answers 429 and 503: nothing is lost, and it is not asked too often."""

import json
import subprocess
import sys

import numpy as np
import pytest
from faulty import write_notebook
from objectstore import BUCKET, ObjectStore

pytestmark = pytest.mark.batch

CELLS = ["import time", *["time.sleep(0.2)"] * 15]


@pytest.fixture
def store():
    with ObjectStore() as started:
        yield started


def test_batch__a_store_that_refuses_is_asked_again_and_not_too_often(store, tmp_path):
    """Every fourth request is refused; 16 cells change the notebook 35 times within some seconds."""
    store.gate.refuse_every = 4
    notebook = write_notebook(tmp_path / "many.ipynb", *CELLS, parameters='subject: str = ""', kernel="python3")
    (tmp_path / "table.csv").write_text("session,subject\nsub-02,02\n")
    command = [sys.executable, "-m", "multimap_kernel", "batch", str(notebook), "--table", str(tmp_path / "table.csv")]
    command += ["--runs", f"gs://{BUCKET}/runs", "--workers", "0", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, env=store.environment, capture_output=True, text=True, check=False, timeout=500)
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
