"""A study with faults, from the command line: each session is told as it ended, and the failed ones are tried again."""

from pathlib import Path

import nbformat
import pytest
from faulty import FAULTS, FaultyStudy

pytestmark = pytest.mark.batch

SUBJECTS = ["02", "1e3", "05", "06", "07", "08"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = FaultyStudy(tmp_path_factory.mktemp("study"), SUBJECTS)
    made.code, made.told = made.batch()
    return made


def test_batch__names_each_planted_fault_and_leaves_a_readable_notebook(study):
    assert study.misnamed() == [], study.told
    assert study.code == 138  # the worst one: a kernel that died
    assert "3 bad-input · 1 died · 2 done" in study.told


def test_batch__labels_arrive_as_text(study):
    for subject in ("02", "1e3"):
        record = study.records()[f"sub-{subject}_task-true"]
        executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
        assert f"{subject!r} 'true'" in str([cell.get("outputs") for cell in executed.cells])
        assert record.parameters["subject"] == subject


def test_batch__only_failed_touches_the_failed_ones(study):
    before = study.attempts()
    assert before == {label: 2 if fault == "memory" else 1 for label, fault in study.labels.items()}
    study.batch("--only", "failed")
    touched = {label for label, count in study.attempts().items() if count > before[label]}
    assert touched == {label for label, fault in study.labels.items() if fault in FAULTS}
    assert study.misnamed() == []
