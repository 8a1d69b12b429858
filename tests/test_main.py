"""The command as people use it: exit codes, and sentences that say what to do."""

import numpy as np
import pytest
from recordings import write_brainvision, write_image, write_session

from multimap_kernel.__main__ import QC_ACTIONS, main
from multimap_kernel.io.decisions import AFFECTS, effective, history
from multimap_kernel.io.store import Store


def test_help__names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for command in "simulate adopt check run ingest step batch runs train gc show link lab qc doctor".split():
        assert f"    {command} " in out


def test_check__lists_sessions_and_ends_with_20_if_one_cannot_run(tmp_path, capsys):
    study = write_session(tmp_path / "bids")
    (next(study.glob("**/*.vmrk"))).unlink()
    assert main(["check", str(study)]) == 20
    assert "0 of 1 sessions can run" in capsys.readouterr().out


def test_adopt__makes_a_study_that_check_reads(tmp_path, capsys):
    eeg = write_brainvision(tmp_path / "loose", "rec", markers=[("Response", "R128", 1), ("Response", "R128", 501)])
    bold = write_image(tmp_path / "loose" / "run.nii.gz", np.ones((4, 4, 4, 2), "i2"))
    options = ["--subject", "07", "--task", "rest", "--out", str(tmp_path / "study")]
    assert main(["adopt", str(eeg), str(bold), *options]) == 0
    main(["check", str(tmp_path / "study")])
    assert "sub-07_task-rest" in capsys.readouterr().out
    assert eeg.is_file()
    assert bold.is_file()


def test_adopt__tells_anatomy_and_events_apart_by_their_ending(tmp_path, capsys):
    eeg = write_brainvision(tmp_path / "loose", "rec", markers=[("Response", "R128", 1), ("Response", "R128", 501)])
    bold = write_image(tmp_path / "loose" / "run.nii.gz", np.ones((4, 4, 4, 2), "i2"))
    anatomy = write_image(tmp_path / "loose" / "head.nii", np.ones((4, 4, 4), "i2"))
    events = tmp_path / "loose" / "log.tsv"
    events.write_text("onset\tduration\ttrial_type\n0.5\t1\ttap\n")
    options = ["--task", "rest", "--out", str(tmp_path / "study [1]"), "--subject"]
    for number, others in enumerate(([], [events], [events, anatomy], [anatomy, events])):
        assert main(["adopt", *map(str, (eeg, bold, *others)), *options, f"0{number}"]) == 0
        assert "study [1] holds the session now" in capsys.readouterr().out
        made = tmp_path / "study [1]" / f"sub-0{number}"
        assert (made / "func" / f"sub-0{number}_task-rest_events.tsv").is_file() == (events in others)
        assert (made / "anat" / f"sub-0{number}_T1w.nii").is_file() == (anatomy in others)
    assert main(["adopt", *map(str, (eeg, bold, events, events)), *options, "09"]) == 20
    assert "one table of events (.tsv), found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["run", "BIDS", "--store", "/proc/q", "--workers", "0"], 30, "/proc/q must be a folder that can be written"),
        (["run", "BIDS", "--store", "FILE", "--workers", "0"], 30, "FILE must be a folder that can be written"),
        (["run", "BIDS", "--store", "foo://x", "--workers", "0"], 20, "foo://x must be a path or a URL"),
        (["check", "foo://x"], 20, "foo://x must be a path or a URL"),
        (["qc", "accept", "sub-01_task-x", "--study", "mine", "--store", "FILE"], 30, "the decision is not kept"),
        (["show", "--study", "mine", "--store", "foo://x"], 20, "foo://x must be a path or a URL"),
        (["adopt", "EEG", "BOLD", "--subject", "1", "--task", "x", "--out", "FILE"], 20, "must be a folder"),
        (["simulate", "FILE"], 20, "must be a folder"),
        (["simulate", "FILE/below"], 20, "must be a folder"),
        (["simulate", "study", "--sessions", "0"], 20, "sessions must be 1 or more, found 0"),
        (["simulate"], 20, "must have the folder of the study"),
        (["runs"], 20, "must have a folder of runs or --study NAME"),
        (["link"], 20, "must have --study NAME"),
        (["run", "/", "--workers", "0"], 20, "the study must have a name, found ''"),
        (["run", "BIDS", "--study", "..", "--workers", "0"], 20, "the study must have a name, found '..'"),
    ],
)
def test_command__says_what_cannot_be_used_and_ends_with_its_code(tmp_path, monkeypatch, capsys, command, code, told):
    monkeypatch.chdir(tmp_path)
    write_session(tmp_path / "BIDS")
    (tmp_path / "FILE").touch()
    assert main(command) == code
    err = capsys.readouterr().err
    assert err.startswith("multimap: ")
    assert told in err
    assert {path.name for path in tmp_path.iterdir()} == {"BIDS", "FILE"}  # nothing was begun


def test_doctor__tells_a_store_that_nothing_opens_among_the_rest(capsys):
    assert main(["doctor", "--store", "foo://x"]) == 10
    out = " ".join(capsys.readouterr().out.split())
    assert "cores" in out
    assert "foo://x must be" in out


def test_run__a_study_in_the_current_folder_has_that_folder_s_name(tmp_path, monkeypatch):
    write_session(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    where = ["--store", str(tmp_path / "store")]
    assert main(["step", "ingest", ".", "--session", "sub-01_task-x", *where]) == 0
    assert (tmp_path / "store" / "own" / "sub-01").is_dir()


def test_ingest__has_no_other_last_step(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ingest", str(write_session(tmp_path / "bids")), "--upto", "publish"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --upto" in capsys.readouterr().err


def test_gc__refuses_a_study_that_is_not_there(tmp_path, capsys):
    store = ["--store", str(tmp_path)]
    study = str(write_session(tmp_path / "bids"))
    assert main(["step", "ingest", study, "--session", "sub-01_task-x", "--study", "mine", *store]) == 0
    for name in ("mien", "", "."):  # the last two would be the whole store
        assert main(["gc", "--study", name, *store]) == 20
        assert f"must hold the study {name!r}, found bids, mine" in capsys.readouterr().err
    assert list(tmp_path.glob("mine/sub-01/task-x/ingest/*/commit.json"))


def test_qc__warns_of_a_session_that_was_never_run(tmp_path, capsys):
    study, where = str(write_session(tmp_path / "bids")), ["--study", "mine", "--store", str(tmp_path / "store")]
    accept = ["qc", "accept", "sub-01_task-x", *where]
    assert main(accept) == 0
    assert "holds no run of sub-01_task-x yet, found none" in capsys.readouterr().err
    assert main(["ingest", study, "--workers", "0", *where]) == 0
    capsys.readouterr()
    assert main(accept) == 0
    assert capsys.readouterr().err == ""
    assert main(["qc", "exclude", "sub-99_task-typo", *where, "--reason", "x"]) == 0
    assert "holds no run of sub-99_task-typo yet, found sub-01_task-x" in capsys.readouterr().err


def test_run__bad_input_is_told_and_ends_with_20(tmp_path, capsys):
    study = write_session(tmp_path / "bids")
    assert main(["run", str(study), "--sessions", "sub-99_task-x", "--workers", "0"]) == 20
    assert "must hold the sessions sub-99_task-x, found sub-01_task-x" in capsys.readouterr().err


def test_qc__an_excluded_session_is_not_run_and_ends_with_21(tmp_path, capsys):
    study, store = write_session(tmp_path / "bids"), str(tmp_path / "store")
    where = ["--study", "mine", "--store", store]
    assert main(["qc", "exclude", "sub-01_task-x", *where, "--reason", "asleep"]) == 0
    assert main(["run", str(study), *where, "--workers", "0"]) == 21
    assert "asleep" in capsys.readouterr().out


def test_qc__has_every_decision_headless(tmp_path, capsys):
    assert set(QC_ACTIONS) == {"show", *AFFECTS}
    where = ["sub-01_task-x", "--study", "mine", "--store", str(tmp_path)]
    values = {
        "repetition_time": "2.1",
        "marker": "R128",
        "first_volume": "-4",
        "drop_marker": "12.5",
        "shift": "-0.02",
        "add_marker": "14.6",
        "bad_channel": "Cz",
        "bad_span": "30:42.5",
    }
    for action, value in values.items():
        assert main(["qc", action, *where, "--value", value, "--reason", f"why {action}"]) == 0
    for action in ("hold", "exclude", "accept"):
        assert main(["qc", action, *where, "--reason", "seen"]) == 0
    shown = capsys.readouterr().out
    for value in values.values():
        assert f" {value} " in shown
    store = Store(str(tmp_path), "mine")
    last = history(store, "sub-01_task-x")[0]
    assert main(["qc", "undo", *where, "--supersedes", last.identifier]) == 0
    held = {decision.action: decision.value for decision in effective(history(store, "sub-01_task-x"))}
    assert held == {name: value for name, value in values.items() if name != "repetition_time"} | {"accept": ""}
    assert main(["qc", "bad_span", *where, "--value", "42:30"]) == 20
    assert "start before stop, found '42:30'" in capsys.readouterr().err


def test_step__says_which_step_must_come_first(tmp_path, capsys):
    study = write_session(tmp_path / "bids")
    options = ["--session", "sub-01_task-x", "--store", str(tmp_path / "store")]
    assert main(["step", "align", str(study), *options]) == 20
    assert "align of sub-01_task-x reads ingest, found none; run these steps first" in capsys.readouterr().err
