"""Runs the line in a process of its own and ends it with SIGKILL at a chosen moment.

``python interrupted.py BIDS STORE RECIPE STEP MOMENT``: ``inside`` kills while the step's data are being written,
``between`` after the data and before the commit record, ``never`` not at all.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import multimap_kernel as mm
from multimap_kernel.io import store as storage


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(store: Path, step: str, moment: str) -> None:
    """Set the trap: on the real file system, around the real functions."""
    if moment == "between":
        create = storage.create_exclusive

        def create_or_die(url: str, content: bytes) -> bool:
            if url.endswith(storage.COMMIT) and f"/{step}/" in url:
                die()
            return create(url, content)

        storage.create_exclusive = create_or_die
    elif moment == "inside":

        def watch() -> None:
            while not any(path.is_file() for path in store.glob(f"**/{step}/*/data-*/**/*")):
                time.sleep(0.001)
            die()

        threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    bids, store, recipe, step, moment = sys.argv[1:]
    arm(Path(store), step, moment)
    runtime = mm.Runtime(store=store, cluster=mm.Cluster(kind="threads"))
    results = mm.run(bids, study="killed", recipe=mm.Recipe.load(recipe), runtime=runtime)
    print(*(f"{result.session} {result.status} {result.computed}" for result in results), sep="\n")
    return max(result.exit_code for result in results)


if __name__ == "__main__":
    sys.exit(main())
