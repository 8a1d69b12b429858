"""Leases between real processes: one works on a session, a dead one blocks nobody, a stopped one is left behind."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faulty import write_notebook
from objectstore import BUCKET, ObjectStore

from multimap_kernel.batch.lease import Pace, holder_of, take
from multimap_kernel.batch.records import list_runs

pytestmark = pytest.mark.batch

HOLDER = Path(__file__).parents[1] / "holder.py"
WAIT = """
import time
from pathlib import Path

while not Path(gate).exists():
    time.sleep(0.05)
"""


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "wait.ipynb", WAIT, parameters='gate: str = ""', kernel="python3")


class Folder:
    """The runs on this machine."""

    def __init__(self, folder):
        self.environment = dict(os.environ)
        self.url = str(folder / "runs" / "run" / "s")

    def files(self):
        top = Path(self.url)
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


class Bucket:
    """The runs in an object store."""

    url = f"gs://{BUCKET}/runs/run/s"

    def __init__(self, store):
        self.environment, self._store = store.environment, store

    def files(self):
        return {name.removeprefix("runs/run/s/"): content for name, content in self._store.objects().items()}


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    if request.param == "folder":
        yield Folder(tmp_path)
        return
    with ObjectStore() as store:
        yield Bucket(store)


def start(place, notebook, gate):
    command = [sys.executable, str(HOLDER), place.url, str(notebook), str(gate)]
    return subprocess.Popen(command, env=place.environment, stdout=subprocess.PIPE, text=True)


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_attempt__a_stopped_holder_is_left_behind_and_writes_nothing_more(place, notebook, tmp_path):
    gate = tmp_path / "gate"
    first = start(place, notebook, gate)
    wait_for(lambda: b'"start_time"' in place.files().get("attempt-1/notebook.ipynb", b""))

    second = start(place, notebook, gate)
    assert second.communicate(timeout=120)[0] == "-\n"  # somebody is at work on it

    os.kill(first.pid, signal.SIGSTOP)
    time.sleep(3.5)  # the lease of the stopped process runs out
    second = start(place, notebook, gate)
    wait_for(lambda: b'"start_time"' in place.files().get("attempt-2/notebook.ipynb", b""))
    gate.touch()
    assert second.communicate(timeout=120)[0].split()[:2] == ["2", "done"]
    told = json.loads(place.files()["attempt-1/run.json"])
    assert (told["status"], told["exit_code"]) == ("died", 137)
    assert "gone without a word" in told["error"]

    before = place.files()
    os.kill(first.pid, signal.SIGCONT)
    assert first.communicate(timeout=120)[0].startswith("1 preempted another process has taken this session over")
    assert place.files() == before
    assert json.loads(before["latest.json"]) == {"attempt": 2, "status": "done"}


def test_take__a_killed_holder_on_this_machine_is_known_at_once(notebook, tmp_path):
    place = Folder(tmp_path)
    holder = start(place, notebook, tmp_path / "gate")
    wait_for(lambda: "attempt-1/run.json" in place.files())
    assert take(place.url, Pace()) is None
    assert [record.status for record in list_runs(tmp_path / "runs")] == ["running"]
    holder.kill()
    holder.communicate()
    assert [record.status for record in list_runs(tmp_path / "runs")] == ["died"]  # though its file says running
    assert json.loads(place.files()["attempt-1/run.json"])["status"] == "running"
    assert take(place.url, Pace()).attempt == 2


def test_alive__the_heartbeat_of_another_machine_counts_for_90_s(tmp_path):
    lease = take(str(tmp_path / "s"), Pace())
    holder = dataclasses.replace(holder_of(lease.folder), machine="another")
    assert holder.alive(Pace())
    aged = [datetime.now(UTC) - timedelta(seconds=age) for age in (85, 95)]
    assert [dataclasses.replace(holder, heartbeat=when.isoformat()).alive(Pace()) for when in aged] == [True, False]
    lease.release()
    assert not holder_of(lease.folder).alive(Pace())
