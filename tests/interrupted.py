"""Runs of the line that are ended with SIGKILL at a chosen moment, and what is left of them.

``python interrupted.py BIDS STORE RECIPE STEP MOMENT`` runs the line in a process of its own: ``inside`` kills it
while the step's data are being written, ``between`` after the data and before the commit record, ``worker`` kills
one of two cluster processes once the step begins to write, ``kernel`` the Jupyter kernel of a notebook that runs the
line in batch, ``never`` kills nothing.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cached_property
from pathlib import Path

import psutil

import multimap_kernel as mm
from multimap_kernel.io import store as storage
from multimap_kernel.simulate import simulate_session

REPORT = Path(__file__).parents[1] / "notebooks" / "session_report.ipynb"
RECIPE = """
ingest: {eeg_state: clean}
realign: {backend: none}
normalise: {space: native}
clean_eeg: {lowpass_hz: 45}
"""


class Killed:
    """One tiny session without scanner artifacts, run again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        simulate_session(folder / "bids", size="tiny", artifacts=False)
        (folder / "recipe.yaml").write_text(RECIPE)

    def start(self, store: Path, step: str = "align", moment: str = "never") -> subprocess.Popen[str]:
        command = [sys.executable, __file__, str(self.folder / "bids"), str(store), str(self.folder / "recipe.yaml")]
        return subprocess.Popen([*command, step, moment], stdout=subprocess.PIPE, text=True)

    @cached_property
    def undisturbed(self) -> dict[str, object]:
        """Contents of a store whose run nobody disturbed."""
        store = self.folder / "undisturbed"
        code, status, _ = finish(self.start(store))
        assert (code, status) == (0, "done")
        return contents(store)

    def survives(self, step: str, moment: str, store: Path) -> bool:
        """Kill a run, run once more, and tell whether the result is that of an undisturbed run."""
        code, _, _ = finish(self.start(store, step, moment))
        assert code == (0 if moment in {"worker", "kernel"} else -signal.SIGKILL)
        code, status, _ = finish(self.start(store))
        assert (code, status) == (0, "done")
        mm.collect_garbage(mm.Store(str(store), "killed"))
        return contents(store) == self.undisturbed


def finish(process: subprocess.Popen[str]) -> tuple[int, str, int]:
    """Exit code, status of the session, number of computed steps."""
    out, _ = process.communicate(timeout=300)
    _, status, computed = out.split() or ("", "", "0")
    return process.returncode, status, int(computed)


def contents(store: Path) -> dict[str, object]:
    """For each step one hash of its arrays, and one of each published image."""
    place = mm.Store(str(store), "killed")
    found: dict[str, object] = {}
    for where, key in storage.walk_keys(place):
        assert place.commit(where, key), f"{where}/{key} was never finished"
        images = sorted(Path(place.folder(where, key)).rglob("*.nii.gz"))
        files = [(image.name, hashlib.sha256(image.read_bytes()).hexdigest()) for image in images]
        found[where.rsplit("/", 1)[-1]] = (storage.digest(place.open(where, key)), files)
    return found


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_worker() -> None:
    workers = [one for one in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]
    workers[-1].kill()


def kill_kernel() -> None:
    tree = psutil.Process().children(recursive=True)
    kernels = [one for one in tree if "multimap_kernel.kernelspec" in " ".join(one.cmdline())]
    kernels[-1].kill()


def arm(store: Path, step: str, moment: str) -> None:
    """Set the trap: on the real file system, around the real functions."""
    if moment == "between":
        create = storage.create_exclusive

        def create_or_die(url: str, content: bytes) -> bool:
            if url.endswith(storage.COMMIT) and f"/{step}/" in url:
                die()
            return create(url, content)

        storage.create_exclusive = create_or_die
    elif moment in {"inside", "worker", "kernel"}:
        act = {"inside": die, "worker": kill_worker, "kernel": kill_kernel}[moment]

        def watch() -> None:
            while not any(path.is_file() for path in store.glob(f"**/{step}/*/data-*/**/*")):
                time.sleep(0.001)
            act()

        threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    bids, store, recipe, step, moment = sys.argv[1:]
    arm(Path(store), step, moment)
    cluster = mm.Cluster(kind="local" if moment == "worker" else "threads", workers=2, memory="1GiB")
    runtime = mm.Runtime(store=store, cluster=cluster)
    if moment == "kernel":
        return in_notebook(bids, store, recipe)
    (result,) = mm.run(bids, study="killed", recipe=mm.Recipe.load(recipe), runtime=runtime)
    print(result.session, result.status, result.computed)
    print(result.error, file=sys.stderr)
    return result.exit_code


def in_notebook(bids: str, store: str, recipe: str) -> int:
    """The same by papermill: the attempt whose kernel was killed is told as died, and the next one goes on."""
    label = mm.find_sessions(bids)[0].label
    parameters = {"bids": bids, "study": "killed", "session": label, "store": store, "recipe": recipe}
    (record,) = mm.run_batch(REPORT, [mm.Row(label, parameters)], runs=f"{store}-runs")
    first = json.loads(Path(record.folder).with_name("attempt-1").joinpath("run.json").read_text())
    assert first["status"] == "died", first
    print(label, record.status, record.attempt)
    return record.exit_code


if __name__ == "__main__":
    sys.exit(main())
