"""Runs the line in a process of its own that can be measured: ``python measured_run.py BIDS STORE RECIPE WORKERS``.

It says ``ready`` after all imports and before the first read, waits for a line, runs, and says what happened.
"""

import subprocess
import sys
from pathlib import Path

from memory import Peak

import multimap_kernel as mm


def measure(bids: Path, store: Path, recipe: Path, workers: int) -> tuple[str, int]:
    """What the run said, and the largest memory of its processes above idle, in bytes (PSS, ten times a second)."""
    command = [sys.executable, __file__, str(bids), str(store), str(recipe), str(workers)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    with Peak(process.pid) as peak:
        said, _ = process.communicate("go\n")
    return said, peak.above_idle


def main() -> int:
    bids, store, recipe, workers = sys.argv[1:]
    runtime = mm.Runtime(store=store, cluster=mm.Cluster(kind="local", workers=int(workers), memory="1GiB"))
    run, chosen = mm.run, mm.Recipe.load(recipe)
    print("ready", flush=True)
    sys.stdin.readline()
    (result,) = run(bids, study="measured", recipe=chosen, runtime=runtime, progress=tell)
    print(result.status, result.error)
    return result.exit_code


def tell(session: str, step: mm.pipeline.StepResult) -> None:
    if step.state == "computed":
        print(f"{step.step} {step.seconds:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
