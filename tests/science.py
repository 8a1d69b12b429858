"""Which code a table of measured numbers stands for."""

import hashlib
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCIENCE = ("align", "eeg", "fmri", "fusion", "maps", "simulate", "pipeline/steps.py")
RESTS_ON = {
    "activation": ("maps",),
    "group": ("maps",),
    "kill": ("io", "pipeline"),
    "faults": ("batch", "io", "pipeline"),
    "evictions": ("batch", "io", "pipeline"),
    "memory": (*SCIENCE, "compute", "io"),
    "model": ("fusion", "simulate"),
    "model_null": ("fusion", "simulate"),
}
"""Modules whose change asks for a part of the validation again; all of `SCIENCE` for any other."""


def science_hash(table: str = "") -> str:
    """Hash of the modules that a table rests on; it carries it, and ``make check`` tells when it is of other code."""
    total = hashlib.sha256()
    for part in RESTS_ON.get(table, SCIENCE):
        path = ROOT / "multimap_kernel" / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(file.read_bytes())
    return total.hexdigest()[:16]


def commit() -> str:
    """Short name of the commit that is checked out."""
    told = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


MADE = (
    ("VALIDATION.md", "tests/validate/results", "validate.py"),
    ("BENCHMARKS.md", "tests/bench/results", "bench.py"),
)
"""Each table, where its rows are kept, and what measures them."""


def stale() -> list[str]:
    """Sentences about the rows of tables that stand for other code than what is checked out."""
    sentences = []
    for table, folder, command in MADE:
        for path in sorted((ROOT / folder).glob("*.json")):
            kept = json.loads(path.read_text())
            if kept["science"] != science_hash(path.stem):
                again = f"{command} {path.stem} measures it anew"
                sentences.append(f"{table}: '{path.stem}' stands for commit {kept['commit']}; {again}")
    return sentences


if __name__ == "__main__":
    print(*(stale() or ["VALIDATION.md and BENCHMARKS.md stand for this code"]), sep="\n")
