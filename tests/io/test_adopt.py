"""Loose files become a session that MNE-BIDS and nibabel read; nothing of the input changes."""

import json
import shutil
from pathlib import Path

import mne_bids
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from recordings import write_brainvision, write_image

from multimap_kernel.io.adopt import adopt
from multimap_kernel.io.bids import find_sessions
from multimap_kernel.io.check import check_session
from multimap_kernel.io.eeg import read_eeg
from multimap_kernel.schema import InputError


@pytest.fixture
def loose(tmp_path):
    """A recording under the names that a recorder and a scanner gave."""
    folder = tmp_path / "loose"
    rng = np.random.default_rng(0)
    markers = [("Response", "R128", 5001 + 10_000 * k) for k in range(10)]
    write_brainvision(folder, "rec0007", counts=rng.integers(-99, 99, (3, 110_000)).astype("i2"), markers=markers)
    write_image(folder / "epi.nii.gz", rng.integers(0, 99, (4, 5, 6, 10)).astype("i2"))
    write_image(folder / "t1.nii", rng.random((5, 5, 5)).astype("f4"))
    (folder / "epi.json").write_text(json.dumps({"RepetitionTime": 2.0, "EchoTime": 0.03}))
    (folder / "log.tsv").write_text("onset\tduration\ttrial_type\n2\t1\tgo\n")
    return folder


def adopt_all(loose, out, **changes):
    options = {
        "subject": "01",
        "task": "rest",
        "anatomy": str(loose / "t1.nii"),
        "events": str(loose / "log.tsv"),
    } | changes
    return adopt(str(loose / "rec0007.vhdr"), str(loose / "epi.nii.gz"), out=out, **options)


def test_adopt__session_is_whole_and_input_untouched(loose, tmp_path):
    before = {path.name: path.read_bytes() for path in loose.iterdir()}
    study = adopt_all(loose, tmp_path / "study", session="a", run="1")
    assert before == {path.name: path.read_bytes() for path in loose.iterdir()}
    (session,) = find_sessions(str(study))
    assert session.label == "sub-01_ses-a_task-rest_run-1"
    assert session.sidecar == {"RepetitionTime": 2.0, "EchoTime": 0.03, "TaskName": "rest"}
    assert all((session.events, session.anatomy))
    assert check_session(session) == ()
    xr.testing.assert_equal(read_eeg(session.eeg).load(), read_eeg(str(loose / "rec0007.vhdr")).load())
    assert not list(study.glob(".adopt-*"))


def test_adopt__mne_bids_reads_it(loose, tmp_path):
    study = adopt_all(loose, tmp_path / "study")
    path = mne_bids.BIDSPath(subject="01", task="rest", datatype="eeg", suffix="eeg", extension=".vhdr", root=study)
    raw = mne_bids.read_raw_bids(path, verbose="ERROR")
    assert raw.get_channel_types() == ["eeg", "eeg", "ecg"]
    assert raw.n_times == 110_000
    assert nib.load(study / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz").shape == (4, 5, 6, 10)
    described = json.loads((study / "dataset_description.json").read_text())
    assert described["DatasetType"] == "raw"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_adopt__second_run_joins_and_another_of_the_same_name_is_refused(loose, tmp_path):
    study = adopt_all(loose, tmp_path / "study", run="1")
    before = contents(study)
    adopt_all(loose, study, run="1")  # the same again
    assert before == contents(study)
    write_image(loose / "epi.nii.gz", np.ones((4, 5, 6, 10), "i2"))
    with pytest.raises(InputError, match=r"epi\.nii\.gz must be the same as .*run-1_bold\.nii\.gz.* give another run"):
        adopt_all(loose, study, run="1")
    write_image(loose / "epi.nii", np.ones((4, 5, 6, 10), "i2"))
    with pytest.raises(InputError, match=r"epi\.nii must be the same as .*run-1_bold\.nii\.gz"):
        adopt(str(loose / "rec0007.vhdr"), str(loose / "epi.nii"), subject="01", task="rest", run="1", out=study)
    assert before == contents(study)
    adopt_all(loose, study, run="2")
    adopt_all(loose, study, subject="02")
    assert [session.label for session in find_sessions(str(study))] == [
        "sub-01_task-rest_run-1",
        "sub-01_task-rest_run-2",
        "sub-02_task-rest",
    ]
    assert (study / "participants.tsv").read_text().split() == ["participant_id", "sub-01", "sub-02"]


def test_adopt__another_anatomy_is_refused_and_the_same_is_shared(loose, tmp_path):
    study = adopt_all(loose, tmp_path / "study", run="1")
    write_image(loose / "t1b.nii", np.ones((5, 5, 5), "f4"))
    before = contents(study)
    with pytest.raises(InputError, match=r"t1b\.nii must be the same as .*sub-01_T1w\.nii, .* leave it out"):
        adopt_all(loose, study, run="2", anatomy=str(loose / "t1b.nii"))
    assert before == contents(study)
    adopt_all(loose, study, run="2")
    assert [session.anatomy for session in find_sessions(str(study))] == [
        str(study / "sub-01" / "anat" / "sub-01_T1w.nii")
    ] * 2


@pytest.mark.parametrize(("first_run", "moves"), [(True, 1), (False, 8)])  # the folder, then seven files
def test_adopt__killed_at_any_move_is_completed_by_the_same_again(loose, tmp_path, monkeypatch, first_run, moves):
    def adopted(study):
        return adopt(
            str(loose / "rec0007.vhdr"), str(loose / "epi.nii.gz"), subject="01", task="rest", run="2", out=study
        )

    def prepared(study):
        return study if first_run else adopt_all(loose, study, run="1")

    whole = {path.relative_to(tmp_path / "whole") for path in contents(adopted(prepared(tmp_path / "whole")))}
    really = Path.replace
    for kept in range(moves):
        study, done = prepared(tmp_path / f"killed{kept}"), []

        def breaking(path, target, done=done, kept=kept):
            if len(done) == kept:
                raise KeyboardInterrupt
            done.append(path)
            return really(path, target)

        monkeypatch.setattr(Path, "replace", breaking)
        with pytest.raises(KeyboardInterrupt):
            adopted(study)
        monkeypatch.setattr(Path, "replace", really)
        there = find_sessions(str(study)) if (study / "sub-01").exists() else ()
        assert "sub-01_task-rest_run-2" not in [session.label for session in there if not session.problems]
        adopted(study)
        assert {path.relative_to(study) for path in contents(study)} == whole
        assert all(not session.problems for session in find_sessions(str(study)))


def test_adopt__renamed_triplet_is_repaired_in_the_copy(loose, tmp_path):
    for file in list(loose.glob("rec0007.*")):
        file.rename(loose / file.name.replace("rec0007", "renamed"))
    study = adopt(
        str(loose / "renamed.vhdr"), str(loose / "epi.nii.gz"), subject="01", task="rest", out=tmp_path / "study"
    )
    (session,) = find_sessions(str(study))
    assert read_eeg(session.eeg).attrs["warnings"] == []


@pytest.mark.parametrize("file", ["eeglab_data.set", "test.edf", "test.bdf"])
def test_adopt__other_formats(shared_data, loose, tmp_path, file):
    raw = shutil.copytree(shared_data / "eeglab_sample", tmp_path / "raw") / file
    study = adopt(str(raw), str(loose / "epi.nii.gz"), subject="01", task="rest", out=tmp_path / "study")
    (session,) = find_sessions(str(study))
    copied, original = read_eeg(session.eeg), read_eeg(str(raw))
    np.testing.assert_array_equal(copied["count"].values, original["count"].values)
    np.testing.assert_array_equal(copied["marker_onset"], original["marker_onset"])
    before = contents(study)
    adopt(str(raw), str(loose / "epi.nii.gz"), subject="01", task="rest", out=study)  # the same again
    assert before == contents(study)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": ""}, "subject must be letters and digits, found ''"),
        ({"task": "rest_1"}, "task must be letters and digits, found 'rest_1'"),
        ({"session": "a-b"}, "session must be letters and digits"),
        ({"anatomy": "missing.nii"}, r"missing\.nii must be a file"),
    ],
)
def test_adopt__refuses_and_leaves_no_session(loose, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        adopt_all(loose, tmp_path / "study", **changes)
    assert not (tmp_path / "study" / "sub-01").exists()
