"""A study with four planted faults, each as it happens in a scanner or on a disk, and a notebook that can go wrong."""

import csv
import subprocess
import sys
from pathlib import Path

import nbformat
import nibabel as nib
import numpy as np
from nbformat import v4

from multimap_kernel.batch.records import RunRecord, list_runs
from multimap_kernel.simulate import simulate_session

RECIPE = """
ingest: {eeg_state: clean}
realign: {backend: none}
"""
PARAMETERS = """
bids: str
study: str = "faulty"
session: str
store: str = ""
recipe: str = ""
subject: str
task: str = ""
hungry: bool = False  # a cell of this session allocates without end
"""
RUN = """
import multimap_kernel as mm

runtime, chosen = mm.Runtime(store=store), mm.Recipe.load(recipe)
(result,) = mm.run(bids, study=study, sessions=[session], recipe=chosen, runtime=runtime, upto="realign")
result.require_done()
"""
EAT = """
eaten = []
while hungry:
    eaten.append(bytearray(b"x" * 2**25))
"""
DRAW = """
print(repr(subject), repr(task))
alignment = mm.Alignment.from_json(mm.open_session(store, study, session)["align"].attrs["alignment"])
mm.alignment_figure(alignment)
"""
TASK = "true"
FAULTS = {  # what a reader must be told: status, cell, and a word of the reason
    "no markers": ("bad-input", "In [3]: import multimap_kernel as mm", "add the scanner's markers"),
    "truncated EEG": ("bad-input", "In [3]: import multimap_kernel as mm", "must hold whole samples"),
    "NaN volumes": ("bad-input", "In [3]: import multimap_kernel as mm", "found none in volumes [10, 11, 12, 13]"),
    "memory": ("died", "In [4]: eaten = []", "must stay below its memory limit of 900 MiB"),
}


def write_notebook(path: Path, *cells: str, parameters: str, kernel: str = "multimap") -> Path:
    """A notebook as people write it: a cell of parameters, then the others."""
    first = v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
    others = [v4.new_code_cell(cell.strip()) for cell in cells]
    spec = {"name": kernel, "language": "python", "display_name": "Python"}
    nbformat.write(v4.new_notebook(cells=[first, *others], metadata={"kernelspec": spec}), path)
    return path


class FaultyStudy:
    """Simulated sessions of the task "true", the last four of them damaged; ``labels`` says by what, if by anything.

    Parameters
    ----------
    folder
        Where everything goes: ``bids``, ``store``, ``runs``, the notebook, the recipe and the run table.
    subjects
        Labels of the subjects, at least five.
    """

    def __init__(self, folder: Path, subjects: list[str]) -> None:
        self.folder = folder
        for seed, subject in enumerate(subjects):
            simulate_session(folder / "bids", subject=subject, task=TASK, seed=seed, artifacts=False, t1w=False)
        damaged = dict(zip(subjects[-4:], FAULTS, strict=True))
        self.labels = {f"sub-{subject}_task-{TASK}": damaged.get(subject, "") for subject in subjects}
        for subject, fault in damaged.items():
            damage(folder / "bids" / f"sub-{subject}", fault)
        (folder / "recipe.yaml").write_text(RECIPE)
        write_notebook(folder / "clocks.ipynb", RUN, EAT, DRAW, parameters=PARAMETERS)
        with (folder / "table.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["session", "subject", "task", "hungry"])
            for label, subject in zip(self.labels, subjects, strict=True):
                writer.writerow([label, subject, TASK, "true" if self.labels[label] == "memory" else ""])

    def batch(self, *options: str) -> tuple[int, str]:
        """``multimap batch`` as a person types it; its exit code and what it said."""
        command = [sys.executable, "-m", "multimap_kernel", "batch", "clocks.ipynb", "bids", "--table", "table.csv"]
        command += ["--study", "faulty", "--store", "store", "--recipe", "recipe.yaml", "--runs", "runs"]
        command += ["--jobs", "2", "--notebook-memory", "900MiB", *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=1800)
        return done.returncode, done.stdout + done.stderr

    def records(self) -> dict[str, RunRecord]:
        """The last attempt of each session by its label."""
        return {record.session: record for record in list_runs(self.folder / "runs", latest=True)}

    def attempts(self) -> dict[str, int]:
        """How often each session was tried."""
        return {
            label: len(list((self.folder / "runs" / "clocks-default" / label).glob("attempt-*")))
            for label in self.labels
        }

    def misnamed(self) -> list[str]:
        """Sessions whose record or notebook does not say what was planted; none if all is well."""
        records = self.records()
        return [label for label, fault in self.labels.items() if not tells(records[label], fault)]


def tells(record: RunRecord, fault: str) -> bool:
    """Whether record and notebook of a session tell its planted fault, or that it is done, in words and by a page."""
    notebook = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    nbformat.validate(notebook)
    page = Path(record.folder, "notebook.html").read_text(encoding="utf-8")
    if not fault:
        return record.status == "done" and "data:image/png;base64," in page
    status, cell, reason = FAULTS[fault]
    told = record.status == status and record.cell == cell and reason in record.error
    return told and f"not done: {status}" in notebook.cells[0].source and f"not done: {status}" in page


def damage(subject: Path, fault: str) -> None:
    """Damage the one session of a subject: no scanner marker; a copy that was interrupted; volumes of NaN."""
    if fault == "no markers":
        (header,) = (subject / "eeg").glob("*.vmrk")
        lines = header.read_text().splitlines()
        header.write_text("\n".join(line for line in lines if ",R128," not in line) + "\n")
    elif fault == "truncated EEG":
        (samples,) = (subject / "eeg").glob("*.eeg")
        with samples.open("r+b") as stream:
            stream.truncate(samples.stat().st_size // 2 + 1)
    elif fault == "NaN volumes":
        (image,) = (subject / "func").glob("*_bold.nii.gz")
        loaded = nib.load(image)
        values = np.asarray(loaded.dataobj, "f4")
        values[..., 10:14] = np.nan
        hollowed = nib.Nifti1Image(values, loaded.affine, loaded.header)
        hollowed.set_data_dtype("f4")
        hollowed.header.set_slope_inter(1, 0)
        nib.save(hollowed, image)
