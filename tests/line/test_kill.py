"""Runs that are killed: the next one resumes, gives the same result, and reads nothing half-written."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import multimap_kernel as mm
from multimap_kernel.io.store import digest, walk_keys
from multimap_kernel.pipeline import STEPS
from multimap_kernel.simulate import simulate_session

pytestmark = pytest.mark.line

DRIVER = Path(__file__).parents[1] / "interrupted.py"
RECIPE = """
ingest: {eeg_state: clean}
realign: {backend: none}
normalise: {space: native}
clean_eeg: {lowpass_hz: 45}
"""


@pytest.fixture(scope="module")
def clean_study(tmp_path_factory):
    """A tiny session without scanner artifacts, and the recipe that takes it as it is."""
    folder = tmp_path_factory.mktemp("clean")
    simulate_session(folder / "bids", size="tiny", artifacts=False)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def start(study, store, step="align", moment="never"):
    command = [sys.executable, str(DRIVER), str(study / "bids"), str(store), str(study / "recipe.yaml"), step, moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=300)
    return process.returncode, out.split()


def contents(store):
    """One hash for each step of the one session: arrays of Datasets, bytes of published images."""
    place = mm.Store(str(store), "killed")
    found = {}
    for where, key in walk_keys(place):
        assert place.commit(where, key), f"{where}/{key} was never finished"
        step = where.rsplit("/", 1)[-1]
        images = sorted(Path(place.folder(where, key)).rglob("*.nii.gz"))
        files = [(image.name, hashlib.sha256(image.read_bytes()).hexdigest()) for image in images]
        found[step] = (digest(place.open(where, key)), files)
    return found


@pytest.fixture(scope="module")
def undisturbed(clean_study, tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed")
    code, words = finish(start(clean_study, store))
    assert (code, words[1]) == (0, "done")
    result = contents(store)
    assert any(files for _, files in result.values())
    return result


@pytest.mark.parametrize(("step", "moment"), [("ingest", "inside"), ("features", "between"), ("publish", "inside")])
def test_run__killed_main_process_resumes_to_the_same_result(clean_study, undisturbed, tmp_path, step, moment):
    code, _ = finish(start(clean_study, tmp_path, step, moment))
    assert code == -signal.SIGKILL
    place = mm.Store(str(tmp_path), "killed")
    finished = [where for where, key in walk_keys(place) if place.commit(where, key)]
    assert not any(where.endswith(f"/{step}") for where in finished)
    code, words = finish(start(clean_study, tmp_path))
    assert (code, words[1]) == (0, "done")
    assert int(words[2]) == len(STEPS) - len(finished)  # what was committed is not computed again
    assert mm.collect_garbage(place)  # the leftovers of the killed run
    assert contents(tmp_path) == undisturbed


def test_run__killed_worker_costs_no_result(clean_study, undisturbed, tmp_path):
    """A real cluster of two processes; one is killed while it works."""
    code = (
        "import sys, multimap_kernel as mm\n"
        "if __name__ == '__main__':\n"
        "    bids, store, recipe = sys.argv[1:]\n"
        "    cluster = mm.Cluster(kind='local', workers=2, memory='1GiB')\n"
        "    runtime = mm.Runtime(store=store, cluster=cluster)\n"
        "    done = mm.run(bids, study='killed', recipe=mm.Recipe.load(recipe), runtime=runtime)\n"
        "    print(*(f'{r.session} {r.status} {r.computed} {r.error}' for r in done), sep='\\n')\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    store = tmp_path / "store"
    command = [sys.executable, str(script), str(clean_study / "bids"), str(store), str(clean_study / "recipe.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not any(store.glob("**/ingest/*/commit.json")):
        assert process.poll() is None
        time.sleep(0.02)
    workers = [
        child.pid
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert workers
    os.kill(workers[-1], signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert out.split()[1] == "done", out
    assert contents(store) == undisturbed


def test_run__two_at_once_do_not_harm_each_other(clean_study, undisturbed, tmp_path):
    both = [start(clean_study, tmp_path) for _ in range(2)]
    for process in both:
        code, words = finish(process)
        assert (code, words[1]) == (0, "done")
    assert contents(tmp_path) == undisturbed


def test_run__second_time_computes_nothing(clean_study, undisturbed, tmp_path):
    finish(start(clean_study, tmp_path))
    code, words = finish(start(clean_study, tmp_path))
    assert (code, words[2]) == (0, "0")
    planned = mm.plan(
        str(clean_study / "bids"),
        study="killed",
        recipe=mm.Recipe.load(clean_study / "recipe.yaml"),
        runtime=mm.Runtime(store=str(tmp_path)),
    )
    assert [result.computed for result in planned] == [0]
