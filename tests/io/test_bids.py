"""Which recordings belong together, and what is missing, before anything is computed."""

import json
import re
import shutil

import fsspec
import numpy as np
import pytest
from lazy import max_computes
from recordings import write_brainvision, write_image, write_session

from multimap_kernel.io.bids import WARNING, Session, check_session, find_sessions
from multimap_kernel.schema import InputError


def test_find_sessions__pairs_by_entities(tmp_path):
    write_session(tmp_path, "02", "x")
    write_session(tmp_path, "01", "x", session="a", run="01")
    first, second = find_sessions(str(tmp_path))
    assert (first.label, first.path) == ("sub-01_ses-a_task-x_run-01", "sub-01/ses-a/task-x_run-01")
    assert (first.subject, first.session, first.task, first.run) == ("01", "a", "x", "01")
    assert (second.label, second.path) == ("sub-02_task-x", "sub-02/task-x")
    assert second.eeg == str(tmp_path / "sub-02" / "eeg" / "sub-02_task-x_eeg.vhdr")
    assert second.bold == str(tmp_path / "sub-02" / "func" / "sub-02_task-x_bold.nii.gz")
    assert second.events.endswith("sub-02_task-x_events.tsv")
    assert second.sidecar["RepetitionTime"] == 2.0  # from the root of the study
    assert first.problems == second.problems == ()


def test_find_sessions__sidecars_inherit_from_the_top_down(tmp_path):
    write_session(tmp_path)
    (tmp_path / "bold.json").write_text(json.dumps({"EchoTime": 0.03, "FlipAngle": 90}))
    (tmp_path / "sub-01" / "sub-01_task-x_bold.json").write_text(json.dumps({"FlipAngle": 75}))
    (tmp_path / "task-other_bold.json").write_text(json.dumps({"FlipAngle": 10}))
    (session,) = find_sessions(str(tmp_path))
    assert session.sidecar == {"EchoTime": 0.03, "FlipAngle": 75, "RepetitionTime": 2.0, "TaskName": "x"}


def test_find_sessions__anatomy_and_electrodes(tmp_path):
    write_session(tmp_path, session="a")
    write_session(tmp_path, session="b")
    write_image(tmp_path / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T1w.nii.gz", np.zeros((3, 3, 3), "f4"))
    folder = tmp_path / "sub-01" / "ses-b" / "eeg"
    (folder / "sub-01_ses-b_space-CapTrak_electrodes.tsv").write_text("name\tx\ty\tz\n")
    first, second = find_sessions(str(tmp_path))
    assert first.anatomy == second.anatomy
    assert first.anatomy.endswith("sub-01_ses-a_T1w.nii.gz")
    assert first.electrodes == ""
    assert second.electrodes.endswith("space-CapTrak_electrodes.tsv")


def test_find_sessions__ignores_derivatives_sourcedata_and_phase_images(tmp_path):
    write_session(tmp_path)
    for place in ("derivatives/fmriprep", "sourcedata"):
        write_session(tmp_path / place, "09")
    func = tmp_path / "sub-01" / "func"
    shutil.copy(func / "sub-01_task-x_bold.nii.gz", func / "sub-01_task-x_part-phase_bold.nii.gz")
    (session,) = find_sessions(str(tmp_path))
    assert session.problems == ()


def test_find_sessions__one_modality_is_a_problem_with_a_hint(tmp_path):
    write_session(tmp_path)
    eeg = tmp_path / "sub-01" / "eeg"
    for file in list(eeg.iterdir()):
        file.rename(eeg / file.name.replace("task-x", "task-y"))
    (tmp_path / "sub-01" / "sub-01_scans.tsv").write_text(
        "filename\tacq_time\nfunc/sub-01_task-x_bold.nii.gz\t1900-01-01T10:00:30\n"
        "eeg/sub-01_task-y_eeg.vhdr\t1900-01-01T10:00:00\n"
    )
    bold, eeg_only = find_sessions(str(tmp_path))
    assert bold.eeg == eeg_only.bold == ""
    (told,) = bold.problems
    assert told.startswith(
        "BOLD without EEG: sub-01/func/sub-01_task-x_bold.nii.gz has no eeg/*_eeg of the same subject"
    )
    assert told.endswith("By acq_time, sub-01/eeg/sub-01_task-y_eeg.vhdr began 30 s apart from it: is that the pair?")
    assert eeg_only.problems[0].startswith("EEG without BOLD: sub-01/eeg/sub-01_task-y_eeg.vhdr has no func/")
    (tmp_path / "pairs.tsv").write_text(
        "eeg\tbold\nsub-01/eeg/sub-01_task-y_eeg.vhdr\tsub-01/func/sub-01_task-x_bold.nii.gz\n"
    )
    (paired,) = find_sessions(str(tmp_path), pairs="pairs.tsv")
    assert (paired.label, paired.problems) == ("sub-01_task-x", ())
    assert paired.eeg.endswith("task-y_eeg.vhdr")


def test_find_sessions__several_files_of_one_name_are_a_problem(tmp_path):
    write_session(tmp_path)
    func = tmp_path / "sub-01" / "func"
    for echo in (1, 2):
        shutil.copy(func / "sub-01_task-x_bold.nii.gz", func / f"sub-01_task-x_echo-{echo}_bold.nii.gz")
    (func / "sub-01_task-x_bold.nii.gz").unlink()
    (session,) = find_sessions(str(tmp_path))
    assert "Several BOLD files have the same subject" in session.problems[0]
    assert "echo-1_bold.nii.gz" in session.problems[0]


def test_find_sessions__broken_sidecar_does_not_stop_the_others(tmp_path):
    write_session(tmp_path, "01")
    write_session(tmp_path, "02")
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.json").write_text("{")
    first, second = find_sessions(str(tmp_path))
    assert "sub-01_task-x_bold.json must hold JSON" in first.problems[0]
    assert second.problems == ()


def test_find_sessions__refuses_what_is_no_study(tmp_path):
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=r"must be a BIDS study with sub-\* folders"):
            find_sessions(str(place))


def test_find_sessions__refuses_wrong_pairs(tmp_path):
    write_session(tmp_path)
    with pytest.raises(InputError, match=r"pairs\.tsv must be a file"):
        find_sessions(str(tmp_path), pairs="pairs.tsv")
    (tmp_path / "pairs.tsv").write_text("eeg\tbold\nsub-01/eeg/other.vhdr\tsub-01/func/sub-01_task-x_bold.nii.gz\n")
    with pytest.raises(InputError, match=r"must name files of the study, found no \['sub-01/eeg/other\.vhdr'\]"):
        find_sessions(str(tmp_path), pairs="pairs.tsv")


def test_find_sessions__remote_study(tmp_path):
    write_session(tmp_path)
    fsspec.filesystem("memory").put(str(tmp_path), "/faraway", recursive=True)
    (session,) = find_sessions("memory://faraway")
    assert session.bold == "memory:///faraway/sub-01/func/sub-01_task-x_bold.nii.gz"
    assert session.sidecar["RepetitionTime"] == 2.0
    assert check_session(session) == ()


def test_session__survives_json():
    session = Session("01", task="x", sidecar={"SliceTiming": [0, 1]}, problems=("a.", "b."))
    assert Session.from_json(json.loads(json.dumps(session.to_json()))) == session


def checked(study):
    (session,) = find_sessions(str(study))
    return check_session(session)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"markers": [("New Segment", "", 1)]}, "must hold the markers of the volumes, found none"),
        ({"markers": [("SyncStatus", "Sync On", 1 + 9000 * k) for k in range(9)]}, "no marker of .* repeats every 2 s"),
        ({"markers": [("R", "R128", 1 + 10_000 * k) for k in range(8)]}, "has 8 of R128 for 10 volumes"),
        ({"seconds": 15}, "lasts 15.0 s, the scan 20.0 s"),
        ({"frequency": 500.0}, "is sampled at 500 Hz"),
    ],
)
def test_check_session__looks_at_clocks_and_markers(tmp_path, change, message):
    write_session(tmp_path)
    frequency = change.get("frequency", 5000.0)
    markers = change.get("markers", [("R", "R128", 1 + int(2 * frequency) * k) for k in range(10)])
    counts = np.zeros((3, int(change.get("seconds", 22) * frequency)), "i2")
    write_brainvision(
        tmp_path / "sub-01" / "eeg", "sub-01_task-x_eeg", counts=counts, markers=markers, frequency=frequency
    )
    told = checked(tmp_path)
    assert any(re.search(message, text) for text in told), told
    assert all(text.startswith(WARNING) for text in told) == ("markers of the volumes" not in message)


def test_check_session__late_events_are_a_warning(tmp_path):
    write_session(tmp_path)
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_events.tsv").write_text("onset\tduration\ttrial_type\n50\t1\tgo\n")
    (text,) = checked(tmp_path)
    assert text.startswith(WARNING)
    assert "left out: go at 50 s" in text
