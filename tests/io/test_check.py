"""What is missing is told before anything is computed, and what check refuses, align refuses too."""

import re

import numpy as np
import pytest
from lazy import max_computes
from recordings import write_brainvision, write_session

from multimap_kernel.align import estimate_alignment
from multimap_kernel.io.bids import find_sessions
from multimap_kernel.io.check import WARNING, check_session
from multimap_kernel.io.eeg import read_eeg
from multimap_kernel.io.nifti import read_bold
from multimap_kernel.schema import InputError


def checked(study, marker=""):
    (session,) = find_sessions(str(study))
    return check_session(session, marker=marker)


def test_check_session__whole_session(tmp_path):
    assert checked(write_session(tmp_path)) == ()


def test_check_session__simulated_session(tiny_study):
    assert [text for text in checked(tiny_study) if not text.startswith(WARNING)] == []


def test_check_session__reads_no_data(tmp_path):
    write_session(tmp_path)
    with max_computes(0):
        checked(tmp_path)


def test_check_session__names_every_fault_at_once(tmp_path):
    write_session(tmp_path)
    bold = tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz"
    bold.write_bytes(bold.read_bytes()[:-500])
    (tmp_path / "sub-01" / "eeg" / "sub-01_task-x_eeg.vmrk").unlink()
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_events.tsv").write_text("onset\n1\n")
    cut, markers, events = checked(tmp_path)
    assert "sub-01_task-x_bold.nii.gz must be a whole gzip file" in cut
    assert "sub-01_task-x_eeg.vhdr must have its markers beside it" in markers
    assert "sub-01_task-x_events.tsv must have the columns" in events


def every(seconds, label="R128", kind="Response", count=10, first=0.5):
    """Markers at 5 kHz."""
    return [(kind, label, 1 + round(5000 * (first + seconds * k))) for k in range(count)]


@pytest.mark.parametrize(
    ("markers", "named", "problem"),
    [
        (every(2.0), "", ""),
        (every(2.0) + every(2.0, first=0.53), "", "20 of R128 for 10 volumes"),  # each doubled after 30 ms
        ([*every(2.0)[:3], *every(2.0)[4:]], "", "9 of R128 for 10 volumes"),
        (every(2.0, count=6), "", "6 of R128 for 10 volumes"),
        ([("New Segment", "", 1)], "", "must hold the markers of the volumes, found 1 of New Segment"),
        (every(2.0, "Sync On", "SyncStatus"), "", "must hold the markers of the volumes, found 10 of Sync On"),
        (every(2.0, "Sync On", "SyncStatus"), "Sync On", ""),
        (every(2.0), "S 1", "must hold the marker 'S 1' that align.marker names, found 10 of R128"),
        (every(1.3, count=15), "", "must hold a marker that repeats with the volumes, every 2 s, found 15 of R128"),
        (every(2.0, count=4), "", "must hold a marker that repeats .* found 4 of R128"),
        (every(4.0, count=5), "", "must hold a marker that repeats .* found 5 of R128"),
        (
            every(2.0) + every(2.0, "S 1", first=1.1),
            "",
            "several markers .* every 2 s: 10 of R128, 10 of S 1; name one",
        ),
        (every(2.0) + every(2.0, "S 1", first=1.1), "S 1", ""),
    ],
)
def test_check_session__problems_of_markers_are_those_that_align_refuses(tmp_path, markers, named, problem):
    write_session(tmp_path)
    counts = np.zeros((3, 22 * 5000), "i2")
    write_brainvision(tmp_path / "sub-01" / "eeg", "sub-01_task-x_eeg", counts=counts, markers=markers)
    told = checked(tmp_path, named)
    assert len(told) == bool(problem)
    if problem:
        assert re.search(problem, told[0]), told
    (session,) = find_sessions(str(tmp_path))
    eeg, bold = read_eeg(session.eeg), read_bold(session.bold, sidecar=session.sidecar)
    if any(not text.startswith(WARNING) for text in told):
        with pytest.raises(InputError):
            estimate_alignment(eeg, bold, marker=named, first_volume=0)
    elif not told:
        estimate_alignment(eeg, bold, marker=named)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seconds": 15}, "lasts 15.0 s, the scan 20.0 s"), ({"frequency": 500.0}, "is sampled at 500 Hz")],
)
def test_check_session__looks_at_clocks(tmp_path, change, message):
    write_session(tmp_path)
    frequency = change.get("frequency", 5000.0)
    markers = [("R", "R128", 1 + int(2 * frequency) * k) for k in range(10)]
    counts = np.zeros((3, int(change.get("seconds", 22) * frequency)), "i2")
    write_brainvision(
        tmp_path / "sub-01" / "eeg", "sub-01_task-x_eeg", counts=counts, markers=markers, frequency=frequency
    )
    told = checked(tmp_path)
    assert any(re.search(message, text) for text in told), told
    assert all(text.startswith(WARNING) for text in told)


def test_check_session__headers_are_looked_at_beside_problems_of_the_study(tmp_path):
    write_session(tmp_path)
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.json").write_text("{")
    (tmp_path / "sub-01" / "eeg" / "sub-01_task-x_eeg.vmrk").unlink()
    sidecar, markers = checked(tmp_path)
    assert "must hold JSON" in sidecar
    assert "must have its markers beside it" in markers


def test_check_session__late_events_are_a_warning(tmp_path):
    write_session(tmp_path)
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_events.tsv").write_text(
        "onset\tduration\ttrial_type\n4\t1\tgo\n50\t1\tgo\n"
    )
    (text,) = checked(tmp_path)
    assert text.startswith(WARNING)
    assert "left out: go at 50 s" in text
