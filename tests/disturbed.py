"""A batch whose whole tree of processes is ended at some moment, and what its records and a plain rerun then say."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import nbformat
import psutil
from faulty import write_notebook
from interrupted import RECIPE, contents

import multimap_kernel as mm
from multimap_kernel.batch.records import RunRecord
from multimap_kernel.io.store import walk_keys
from multimap_kernel.simulate import simulate_session

STUDY = "killed"
PARAMETERS = """
bids: str
study: str
session: str
store: str
recipe: str
"""
RUN = """
import multimap_kernel as mm

runtime, chosen = mm.Runtime(store=store, cluster=mm.Cluster(kind="threads")), mm.Recipe.load(recipe)
(result,) = mm.run(bids, study=study, sessions=[session], recipe=chosen, runtime=runtime)
result.require_done()
"""
DRAW = """
tree = mm.open_session(store, study, session)
mm.alignment_figure(mm.Alignment.from_json(tree["align"].attrs["alignment"]))
"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
AT_ONCE_S = 10.0  # the state must be saved by then: an evicted machine is given little more


class Disturbed:
    """One tiny session in a batch of one notebook, started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        simulate_session(folder / "bids", size="tiny", artifacts=False)
        (folder / "recipe.yaml").write_text(RECIPE)
        write_notebook(folder / "line.ipynb", RUN, DRAW, parameters=PARAMETERS)

    def start(self, store: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "multimap_kernel", "batch", "line.ipynb", "bids", "--study", STUDY]
        command += ["--store", str(store), "--recipe", "recipe.yaml", "--workers", "0"]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @cached_property
    def undisturbed(self) -> tuple[dict[str, object], float]:
        """Results of a batch that nobody disturbed, and the seconds from its first attempt to its end."""
        store = self.folder / "undisturbed"
        batch = self.start(store)
        begun = _attempted(store, batch)
        assert batch.wait(600) == 0
        return contents(store), time.monotonic() - begun

    def evict(self, store: Path, what: signal.Signals, when: Callable[[float], bool]) -> tuple[str, float]:
        """End everything as soon as ``when`` (of the seconds since its first attempt) says so, or the batch has ended.

        Gives what the record says afterwards, ``""`` if no attempt was begun, and after how many seconds it did.
        """
        batch = self.start(store)
        begun = _attempted(store, batch)
        while batch.poll() is None and not when(time.monotonic() - begun):
            time.sleep(0.02)
        ended = time.monotonic()
        if batch.poll() is None:
            _end(batch, what)
        took_s = time.monotonic() - ended
        records = mm.list_runs(f"{store}/{STUDY}/runs")
        return (records[-1].status if records else ""), took_s

    def untrue(self, store: Path) -> list[str]:
        """Attempts whose record says done although a result, a cell or the page is missing."""
        return [record.folder for record in mm.list_runs(f"{store}/{STUDY}/runs") if not _true(record, store)]

    def resumes(self, store: Path) -> bool:
        """Whether one plain rerun ends well and leaves the results of a batch that nobody disturbed."""
        code = self.start(store).wait(600)
        (record,) = mm.list_runs(f"{store}/{STUDY}/runs", latest=True)
        mm.collect_garbage(mm.Store(str(store), STUDY))
        return (code, record.status) == (0, "done") and contents(store) == self.undisturbed[0]


def moments(seed: int, count: int, length_s: float) -> Iterator[tuple[float, signal.Signals]]:
    """Moments from a batch's first attempt to its end, in seconds, and what is sent then, each signal in turn."""
    draw = random.Random(seed)
    for number in range(count):
        yield draw.uniform(0.0, length_s), SIGNALS[number % len(SIGNALS)]


def _attempted(store: Path, batch: subprocess.Popen[bytes]) -> float:
    """The time at which a batch has begun its first attempt, or has ended without one."""
    while batch.poll() is None and not any(store.glob(f"{STUDY}/runs/*/*/attempt-1/run.json")):
        time.sleep(0.02)
    return time.monotonic()


def _end(batch: subprocess.Popen[bytes], what: signal.Signals) -> None:
    tree = [psutil.Process(batch.pid), *psutil.Process(batch.pid).children(recursive=True)]
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(what)
    batch.wait(6 * AT_ONCE_S)
    left = psutil.wait_procs(tree, AT_ONCE_S)[1]
    assert not left, f"no process may outlive its batch, found {left}"


def _true(record: RunRecord, store: Path) -> bool:
    if record.status != "done":
        return True
    place, folder = mm.Store(str(store), STUDY), Path(record.folder)
    finished = {key for where, key in walk_keys(place) if place.commit(where, key)}
    cells = [cell for cell in nbformat.read(folder / "notebook.ipynb", as_version=4).cells if cell.cell_type == "code"]
    executed = all(cell.metadata.papermill.status == "completed" and cell.execution_count for cell in cells)
    return executed and set(record.keys.values()) <= finished and (folder / "notebook.html").is_file()
