"""What needs many seeds or much data; writes VALIDATION.md.

``python tests/validate/validate.py [PART ...]``: all of `PARTS` if none is named; ``table`` measures nothing. Each
part's rows are kept in ``results/<part>.json`` with the commit and the hash of the science modules that they stand for;
the table is made from these files.
"""

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from science import ROOT, commit, science_hash  # noqa: E402

KEPT = HERE / "results"
SEEDS, MOMENTS, LOGGED_SEED = 400, 20, 20261122
STEPS = ("ingest", "align", "realign", "clean_eeg", "normalise", "features", "fuse", "map", "publish")


def null_family(seed: int) -> tuple[float, float]:
    """Smallest family-wise p of the coupling map, and of the joint map, of one tiny session without coupling."""
    from walk import tiny_maps

    with tempfile.TemporaryDirectory() as folder:
        maps = tiny_maps(Path(folder) / "bids", seed, coupling=0)
    found = (maps["coupling"], maps["activation"].sel(modality="joint"))
    return tuple(float(np.nanmin(ds["p_fwe"].values)) for ds in found)


def null() -> list[str]:
    """Seeds of `SEEDS` null sessions with any voxel below .05; the tests' seeds 0 to 19 are not among them."""
    smallest = []
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for count, p in enumerate(pool.imap(null_family, range(1000, 1000 + SEEDS)), 1):
            smallest.append(p)
            below = (np.array(smallest) < 0.05).sum(axis=0)
            print(f"null {count} of {SEEDS}: {below[0]} and {below[1]} below .05", end="\r", flush=True)
    rows = []
    for what, count in zip(("coupling family", "joint map"), below, strict=True):
        low, high = binomtest(int(count), SEEDS).proportion_ci(method="wilson")
        found = f"{count} of {SEEDS} = {count / SEEDS:.3f} [{low:.3f}, {high:.3f}]"
        verdict = "holds" if low <= 0.05 else "DOES NOT HOLD"
        asked = "interval contains .05 or lies below"
        rows.append(f"| {what} of null sessions, any p_fwe < .05 | {asked} | {found} | {verdict} |")
    return rows


def smallest_activation(case: tuple[int, int]) -> float:
    """Smallest family-wise p of the BOLD map of one synthetic run without a response: seed and volumes."""
    from analysis import analysis_dataset

    from multimap_kernel.maps import activation_map

    seed, volumes = case
    ds = analysis_dataset(seed, volumes=volumes, shape=(4, 6, 7))
    return float(activation_map(ds, contrasts={}, permutations=99, seed=seed)["p_fwe"].min())


def activation() -> list[str]:
    """Null runs of 60, 120 and 300 volumes with autocorrelated noise and shared slow waves: any voxel below .05."""
    rows = []
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for volumes in (60, 120, 300):
            cases = [(seed, volumes) for seed in range(3000, 3000 + SEEDS)]
            below = sum(p < 0.05 for p in pool.imap(smallest_activation, cases, chunksize=4))
            low, high = binomtest(below, SEEDS).proportion_ci(method="wilson")
            found = f"{below} of {SEEDS} = {below / SEEDS:.3f} [{low:.3f}, {high:.3f}]"
            what = f"BOLD activation of null runs, {volumes} volumes, any p_fwe < .05"
            verdict = "holds" if below / SEEDS <= 0.08 else "DOES NOT HOLD"
            rows.append(f"| {what} | at most .08 | {found} | {verdict} |")
            print(rows[-1], flush=True)
    return rows


def smallest_subject(seed: int) -> float:
    """Smallest family-wise p of the BOLD map of two short synthetic runs of one subject without a response."""
    from analysis import analysis_dataset

    from multimap_kernel.maps import subject_map

    runs = {str(run): analysis_dataset(2 * seed + run, volumes=60, shape=(4, 6, 7)) for run in range(2)}
    return float(subject_map(runs, contrasts={}, permutations=99, seed=seed)["p_fwe"].min())


def smallest_group(case: tuple[int, str]) -> float:
    """Smallest family-wise p of a group map of smooth noise: seed and test."""
    from group_study import in_groups, in_pairs, study

    from multimap_kernel.maps import group_map

    seed, test = case
    ds = {"one-sample": study(seed, 9), "paired": in_pairs(study(seed, 18)), "two-sample": in_groups(study(seed, 12))}
    return float(group_map(ds[test], test=test, permutations=255, seed=seed)["p_fwe"].min())


def group() -> list[str]:
    """Null subjects of two runs of 60 volumes, and null groups of each test: any voxel below .05."""
    tests = ("one-sample", "paired", "two-sample")
    seeds = range(5000, 5000 + SEEDS)
    parts = {"BOLD of two null runs of 60 volumes, one subject": (smallest_subject, list(seeds))}
    parts |= {f"null groups, {test}": (smallest_group, [(seed, test) for seed in seeds]) for test in tests}
    rows = []
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for what, (smallest, cases) in parts.items():
            below = sum(p < 0.05 for p in pool.imap(smallest, cases, chunksize=4))
            low, high = binomtest(below, SEEDS).proportion_ci(method="wilson")
            found = f"{below} of {SEEDS} = {below / SEEDS:.3f} [{low:.3f}, {high:.3f}]"
            verdict = "holds" if below / SEEDS <= 0.08 else "DOES NOT HOLD"
            rows.append(f"| {what}, any p_fwe < .05 | at most .08 | {found} | {verdict} |")
            print(rows[-1], flush=True)
    return rows


def kill() -> list[str]:
    """SIGKILL at `MOMENTS` moments drawn from a logged seed; afterwards one plain run gives the undisturbed result."""
    from interrupted import Killed

    draw = random.Random(LOGGED_SEED)
    with tempfile.TemporaryDirectory() as folder:
        killed = Killed(Path(folder))
        lines, same = [], 0
        for number in range(MOMENTS):
            step, moment = draw.choice(STEPS), draw.choice(("inside", "between", "worker", "kernel"))
            if step == "align":
                moment = "between"  # a value without arrays: there is no inside
            equal = killed.survives(step, moment, Path(folder) / f"store-{number}")
            same += equal
            lines.append(f"{step}/{moment}{'' if equal else ' (DIFFERENT)'}")
            print(f"kill {number + 1} of {MOMENTS}: {lines[-1]}", flush=True)
    where = ", ".join(lines)
    verdict = "holds" if same == MOMENTS else "DOES NOT HOLD"
    what = f"killed at {MOMENTS} moments (seed {LOGGED_SEED}: {where})"
    return [f"| {what} | same result | {same} of {MOMENTS} | {verdict} |"]


def faults() -> list[str]:
    """A study of 24 simulated sessions, four of them damaged, as one batch; then only the failed ones again."""
    from faulty import FAULTS, FaultyStudy

    with tempfile.TemporaryDirectory() as folder:
        study = FaultyStudy(Path(folder), ["02", "1e3", *(f"{number:02d}" for number in range(3, 25))])
        print(study.batch()[1], flush=True)
        statuses = Counter(record.status for record in study.records().values())
        first, wrong = study.attempts(), study.misnamed()
        print(study.batch("--only", "failed")[1], flush=True)
        touched = {label for label, count in study.attempts().items() if count > first[label]}
    as_planted = touched == {label for label, fault in study.labels.items() if fault}
    found = f"{statuses['done']} done, {len(FAULTS) - len(wrong)} named, {len(touched)} touched"
    verdict = "holds" if statuses["done"] == 20 and not wrong and as_planted else "DOES NOT HOLD"
    what = f"24 sessions in one batch, 4 damaged ({', '.join(FAULTS)}), then --only failed"
    return [f"| {what} | 20 done, 4 named with a readable notebook, 4 touched | {found} | {verdict} |"]


def evictions() -> list[str]:
    """The process tree of a batch ended at `MOMENTS` moments, by SIGKILL and SIGTERM in turn; then a plain rerun."""
    from disturbed import AT_ONCE_S, Disturbed, moments

    with tempfile.TemporaryDirectory() as folder:
        disturbed = Disturbed(Path(folder))
        length_s = disturbed.undisturbed[1]

        def attempt(number: int, after_s: float, what: signal.Signals) -> tuple[str, bool, bool, float]:
            store = Path(folder) / f"store-{number}"
            status, took_s = disturbed.evict(store, what, lambda elapsed_s: elapsed_s >= after_s)
            true = not disturbed.untrue(store)
            line = f"{what.name} {after_s:.0f} s ({status or 'not begun'})"
            same = disturbed.resumes(store)
            print(f"eviction {number + 1} of {MOMENTS}: {line} {'' if same and true else 'DIFFERENT'}", flush=True)
            return line, same, true and not disturbed.untrue(store), took_s

        with ThreadPoolExecutor(2) as pool:
            drawn = moments(LOGGED_SEED, MOMENTS, length_s)
            ended = list(pool.map(lambda each: attempt(each[0], *each[1]), enumerate(drawn)))
    lines, same, true, took_s = zip(*ended, strict=True)
    where = ", ".join(lines)
    drawn_from = f"seed {LOGGED_SEED}, seconds after the first attempt of {length_s:.0f}"
    what = f"process tree of a batch ended at {MOMENTS} moments ({drawn_from}: {where})"
    verdict = "holds" if all((*same, *true)) and max(took_s) < AT_ONCE_S else "DOES NOT HOLD"
    found = f"{sum(same)} of {MOMENTS} the same, {MOMENTS - sum(true)} untrue, ended within {max(took_s):.1f} s"
    asked = f"a plain rerun gives the same result, run.json never says done too early, ended within {AT_ONCE_S:g} s"
    return [f"| {what} | {asked} | {found} | {verdict} |"]


def memory() -> list[str]:
    """A session of 4 GiB of float32 through 2 workers of 1 GiB each."""
    done = subprocess.run([sys.executable, str(HERE / "large.py")], capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr[-2000:])
    found = "; ".join(line.strip(" ;") for line in done.stdout.splitlines() if line.strip()) or "ended without a word"
    verdict = "holds" if done.returncode == 0 else "DOES NOT HOLD"
    return [f"| 4 GiB of float32 through 2 workers of 1 GiB | the line ends, no worker dies | {found} | {verdict} |"]


def model() -> list[str]:
    """The joint model on interaction truth and on linear truth; about 40 minutes on one core."""
    from joint import rows

    return rows()


def model_null() -> list[str]:
    """The joint model on sessions that hold nothing; about 10 minutes on one core."""
    from joint import null_rows

    return null_rows()


PARTS = {
    "null": null,
    "activation": activation,
    "group": group,
    "kill": kill,
    "faults": faults,
    "evictions": evictions,
    "memory": memory,
    "model": model,
    "model_null": model_null,
}


def main() -> int:
    KEPT.mkdir(exist_ok=True)
    for name in [] if sys.argv[1:] == ["table"] else sys.argv[1:] or PARTS:
        stands_for = {"commit": commit(), "science": science_hash(name)}
        kept = stands_for | {"rows": PARTS[name]()}
        (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    table = [
        "# Validation",
        "",
        "Made by `make validate`; each row names the commit whose code it was measured on.",
        "",
        "| what | asked | found | verdict | commit |",
        "|---|---|---|---|---|",
    ]
    for path in (KEPT / f"{name}.json" for name in PARTS):
        if path.is_file():
            kept = json.loads(path.read_text())
            table += [f"{row} {kept['commit']} |" for row in kept["rows"]]
    (ROOT / "VALIDATION.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    return any("DOES NOT HOLD" in row for row in table)


if __name__ == "__main__":
    sys.exit(main())
