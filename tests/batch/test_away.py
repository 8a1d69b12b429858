"""A store that stays away: the work is kept here, and the message says where."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty import write_notebook
from objectstore import BUCKET, ObjectStore

pytestmark = pytest.mark.batch

HOLDER = Path(__file__).parents[1] / "holder.py"
WAIT = """
import time
from pathlib import Path

while not Path(gate).exists():
    time.sleep(0.05)
"""


@pytest.fixture
def store():
    with ObjectStore() as started:
        yield started


def test_attempt__a_store_that_stays_away_keeps_the_work_here_and_says_where(store, tmp_path):
    notebook = write_notebook(tmp_path / "wait.ipynb", WAIT, parameters='gate: str = ""', kernel="python3")
    command = [sys.executable, str(HOLDER), f"gs://{BUCKET}/runs/run/s", str(notebook), str(tmp_path / "gate")]
    holder = subprocess.Popen(command, env=store.environment, stdout=subprocess.PIPE, text=True)
    while b'"start_time"' not in store.objects().get("runs/run/s/attempt-1/notebook.ipynb", b""):
        assert holder.poll() is None
        time.sleep(0.1)
    store.gate.shut = True
    (tmp_path / "gate").touch()
    told = holder.communicate(timeout=120)[0]
    assert told.startswith("1 storage-failed gs://")
    assert "must be writable" in told
    assert "tried for 5 s" in told
    kept = Path(re.search(r"the work is kept in (\S+)", told)[1])
    assert json.loads((kept / "run.json").read_text())["status"] == "storage-failed"
    cells = json.loads((kept / "notebook.ipynb").read_text())["cells"]
    assert {cell["metadata"]["papermill"]["status"] for cell in cells if cell["cell_type"] == "code"} == {"completed"}

    store.gate.shut = False
    again = subprocess.run(command, env=store.environment, capture_output=True, text=True, check=False, timeout=120)
    assert again.stdout.split()[:2] == ["2", "done"]
    first = json.loads(store.objects()["runs/run/s/attempt-1/run.json"])
    assert first["status"] == "died"  # what could not be told is not called done
