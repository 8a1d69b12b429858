"""Our verbs beside what people use now, each pair in the same run; writes BENCHMARKS.md.

``python tests/bench/bench.py [row ...]``: all rows if none is named; ``list`` names them, ``table`` measures nothing.
CPU seconds (user and system, one thread) and peak memory above the inputs, median of five. Ours and the peer take
turns, each in a process of its own that has imported and compiled everything before. Each row is kept in
``results/<row>.json`` with the commit and the hash of the science modules that it stands for.
"""

import ctypes
import gc
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported, here and in the processes that measure

import rows_eeg  # noqa: E402
import rows_maps  # noqa: E402
from rows import Row, Side  # noqa: E402
from science import ROOT, commit, science_hash  # noqa: E402

KEPT = HERE / "results"
ROWS = {row.name: row for row in (*rows_eeg.ROWS, *rows_maps.ROWS)}
Measured = tuple[float, float, float, list[float]]


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure(side: Side, number: int) -> Measured:
    """CPU seconds, wall seconds and peak MiB above the inputs of one run, and what it found."""
    data = side.load(number)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what an earlier run left must not hide what this one needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, begun, clock = resident("VmRSS"), cpu(), time.perf_counter()
    result = side.do(data)
    spent, passed, peak = cpu() - begun, time.perf_counter() - clock, resident("VmHWM") - before
    return spent * side.scale, passed * side.scale, peak, side.tell(result)


def serve(row: str, peer: bool, pipe) -> None:
    """Measure one side of a row whenever the pipe asks."""
    warnings.simplefilter("ignore")
    side = ROWS[row].peer if peer else ROWS[row].ours
    if side.compiles:
        side.do(side.load(0))
    while (number := pipe.recv()) is not None:
        pipe.send(measure(side, number))


def run(row: Row) -> dict:
    context = multiprocessing.get_context("spawn")
    sides = [("ours", False), *([("peer", True)] if row.peer else [])]
    pipes, processes = {}, []
    for name, peer in sides:
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(row.name, peer, theirs)))
        processes[-1].start()
    found = {name: [] for name in pipes}
    for number in range(row.runs):
        for name, pipe in pipes.items():
            pipe.send(number)
            found[name].append(pipe.recv())
            print(f"{row.name} {number + 1} of {row.runs}: {name} {found[name][-1][0]:.2f} s CPU", flush=True)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    kept = {name: [statistics.median(one[part] for one in runs) for part in range(3)] for name, runs in found.items()}
    told = {name: [one[3] for one in runs] for name, runs in found.items()}
    return kept | {"agreement": row.agree(told["ours"], told["peer"]) if row.agree else ""}


def line(row: Row, kept: dict) -> str:
    ours, peer = kept["ours"], kept.get("peer")
    ratio = peer[0] / ours[0] if peer else None
    missed = [ratio is not None and ratio < row.least, row.memory_mib is not None and ours[2] > row.memory_mib]
    asked = "; ".join(
        filter(None, (f"ratio ≥ {row.least:.2g}" if row.least else "",
                      f"≤ {row.memory_mib:.0f} MiB" if row.memory_mib else "")))  # fmt: skip
    cells = [row.what, f"{ours[0]:.2f}", f"{peer[0]:.2f}" if peer else "", f"{ratio:.2f}" if ratio else ""]
    cells += [f"{ours[2]:.0f}", f"{peer[2]:.0f}" if peer else "", row.peer.label if row.peer else "nobody offers it"]
    verdict = "" if not asked else "DOES NOT HOLD" if any(missed) else "holds"
    return f"| {' | '.join([*cells, kept['agreement'], asked, verdict, kept['commit']])} |"


def table() -> str:
    kept = {name: json.loads(path.read_text()) for name in ROWS if (path := KEPT / f"{name}.json").is_file()}
    head = "what | ours CPU s | peer CPU s | peer / ours | ours MiB | peer MiB | peer | agreement | asked | verdict"
    head += " | commit"
    return "\n".join(
        [
            "# Benchmarks\n",
            "Made by `make bench`: CPU seconds and peak memory above the inputs, median of five, one thread, ours and",
            "the peer in turns in the same run. Each row names the commit whose code it was measured on.\n",
            f"| {head} |",
            "|---" * len(head.split("|")) + "|",
            *(line(ROWS[name], one) for name, one in kept.items()),
            *(f"\n{row.note}" for row in ROWS.values() if row.note and row.name in kept),
            "",
        ]
    )


def main() -> int:
    if sys.argv[1:] == ["list"]:
        print("\n".join(f"{name}: {row.what}" for name, row in ROWS.items()))
        return 0
    KEPT.mkdir(exist_ok=True)
    for name in [] if sys.argv[1:] == ["table"] else sys.argv[1:] or ROWS:
        stands_for = {"commit": commit(), "science": science_hash()}
        (KEPT / f"{name}.json").write_text(json.dumps(run(ROWS[name]) | stands_for, indent=1) + "\n")
    written = table()
    (ROOT / "BENCHMARKS.md").write_text(written)
    print(written)
    return "DOES NOT HOLD" in written


if __name__ == "__main__":
    sys.exit(main())
