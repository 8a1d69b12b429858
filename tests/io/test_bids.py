"""Which recordings of a study belong together."""

import json
import shutil

import fsspec
import numpy as np
import pytest
from recordings import write_image, write_session

from multimap_kernel.io.bids import Session, find_sessions
from multimap_kernel.io.check import check_session
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


EEG, BOLD = "sub-01/eeg/sub-01_task-x_eeg.vhdr", "sub-01/func/sub-01_task-x_bold.nii.gz"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(EEG, BOLD), (BOLD, EEG)], rf"_eeg\.vhdr, .* as eeg in line 3, found {BOLD}; are the columns swapped\?"),
        ([(EEG, "sub-01/func/sub-01_task-x_events.tsv")], r"bold\.nii\.gz as bold in line 2, found sub-01/func/.*tsv"),
        ([(EEG, BOLD), (EEG, BOLD)], rf"each BOLD run once, found {BOLD} in lines 2 and 3; delete one of them"),
    ],
)
def test_find_sessions__wrong_rows_of_pairs_are_named(tmp_path, rows, message):
    write_session(tmp_path)
    (tmp_path / "pairs.tsv").write_text("\n".join("\t".join(row) for row in [("eeg", "bold"), *rows]) + "\n")
    with pytest.raises(InputError, match=rf"pairs\.tsv must name .*{message}"):
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
