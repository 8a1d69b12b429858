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
    for command in "simulate adopt check run ingest step batch train gc show link lab qc doctor".split():
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
