"""Training that ends and goes on: in this process, and in processes that are killed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import training
from coupled import BY_RUN

from multimap_kernel.fusion import journal
from multimap_kernel.fusion.evaluate import evaluate
from multimap_kernel.fusion.train import train
from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import InputError, PreemptedError

SCRIPT = Path(training.__file__)


@pytest.fixture(scope="module")
def runs():
    return training.runs()


@pytest.fixture(scope="module")
def whole(runs):
    return train(runs, **training.OPTIONS)


class Stopping(RunDirectory):
    """A person who orders a stop when the so-many-th step is told."""

    left = 0

    def append_event(self, event):
        super().append_event(event)
        if event["event"] == "step":
            self.left -= 1
            if self.left == 0:
                self.write_control(stop=True)


def test_train__stopped_again_and_again_ends_with_the_same_weights(runs, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_EVENT_S", 0.0)
    monkeypatch.setattr(journal, "_CONTROL_S", 0.0)
    draw, ends = random.Random(20261123), 0
    while True:
        folder = Stopping(str(tmp_path / "run"))
        folder.left = draw.randint(5, 60)
        folder.write_control()
        try:
            fit, out = train(runs, **training.OPTIONS, folder=folder)
            break
        except PreemptedError:
            ends += 1
    assert ends >= 4
    assert PreemptedError.exit_code == 75
    assert fit == whole[0]
    assert out.identical(whole[1])
    events = [event["event"] for event in folder.read_events()]
    assert events.count("stopped") == events.count("resumed") == ends
    assert events[-1] == "done"


def test_train__a_finished_run_is_not_learned_again(runs, whole, tmp_path):
    folder = RunDirectory(str(tmp_path / "run"))
    train(runs, **training.OPTIONS, folder=folder)
    steps = [event for event in folder.read_events() if event["event"] == "step"]
    fit, _ = train(runs, **training.OPTIONS, folder=folder)
    assert fit == whole[0]
    assert [event for event in folder.read_events() if event["event"] == "step"] == steps


def test_train__events_tell_what_the_evaluation_tells_and_only_what_json_knows(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_EVENT_S", 0.0)
    folder = RunDirectory(str(tmp_path / "run"))
    fit, out = train(runs, **training.OPTIONS, folder=folder)
    judged = evaluate(runs, fit, out, folder=folder)
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    started, *steps, done, told = events
    assert [event["event"] for event in (started, done, told)] == ["started", "done", "judged"]
    assert told["evaluation"]["gain"] == judged.gain
    assert started["split"] == fit.manifest
    first, last = (event for event in steps if event["event"] == "fold")
    now = last["so_far"]
    assert now["joint"] == pytest.approx(judged.scores["joint"].r, abs=1e-4)
    assert now["gain_interval"] == pytest.approx(judged.gain_interval, abs=1e-4)
    assert now["region_joint"] == pytest.approx(judged.region_r, abs=1e-4)
    assert now["threshold_fwe"] == pytest.approx(judged.threshold_fwe, abs=1e-4)
    low, middle, high = now["null_band"]
    assert low < middle < high < judged.scores["joint"].high
    assert first["so_far"]["volumes"] * 2 == now["volumes"] == out.sizes["time"]
    count = len(last["retrieval"]["volume"])
    assert np.shape(last["retrieval"]["similarity"]) == (count, count)
    assert np.shape(last["embedding"]["eeg"]) == (len(last["embedding"]["run"]), 2)
    assert {"rest", *started["conditions"]} >= set(last["embedding"]["condition"]) > {"rest"}
    parts = [event["part"] for event in steps if event["event"] == "step"]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


def test_train__goes_on_with_the_same_data_split_and_configuration_only(runs, tmp_path):
    folder = RunDirectory(str(tmp_path / "run"))
    train(runs, **training.OPTIONS, folder=folder)
    with pytest.raises(InputError, match=r"goes on with the same config only: the checkpoint has config [0-9a-f]{12}"):
        train(runs, **{**training.OPTIONS, "seed": 5}, folder=folder)
    fewer = {name: ds.isel(time=slice(0, -3)) for name, ds in runs.items()}
    with pytest.raises(InputError, match="the same data and split only"):
        train(fewer, **training.OPTIONS, folder=folder)
    with pytest.raises(InputError, match="the same split only"):
        train(runs, **{**BY_RUN, "kind": "block", "folds": 2}, folder=folder)
    folder.save_checkpoint(journal.CHECKPOINT, b"no checkpoint")
    with pytest.raises(InputError, match=r"last.pt must be a checkpoint, found 13 bytes .*; choose another run folder"):
        train(runs, **training.OPTIONS, folder=folder)


def test_train__waits_while_it_is_paused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_CONTROL_S", 0.0)
    folder = RunDirectory(str(tmp_path / "run"))
    folder.write_control(pause=True)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            folder.write_control(stop=True)

    monkeypatch.setattr(journal.time, "sleep", sleep)
    with pytest.raises(PreemptedError, match="did so at step 1 of"):
        train(runs, **training.OPTIONS, folder=folder)
    assert len(waited) == 3


@pytest.mark.platform
def test_process__ended_and_killed_and_started_again_learns_the_same_weights(whole, tmp_path):
    """A real process, in the middle of a network first asked to end and then killed, and at last left to finish."""
    folder, draw = tmp_path / "run", random.Random(20261123)
    said = _end(folder, signal.SIGTERM, draw.randint(10, 60))
    assert "start it again with the same run folder to go on" in said
    _end(folder, signal.SIGKILL, draw.randint(10, 60))
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder), "0"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == whole[0].weights_sha256
    assert sum(event["event"] == "resumed" for event in RunDirectory(str(folder)).read_events()) == 2


def _end(folder, how, steps):
    """Start training, end it by a signal after so many more steps, and give what it said."""
    wanted = _steps(folder) + steps
    command = [sys.executable, str(SCRIPT), str(folder), "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None and _steps(folder) < wanted:
            time.sleep(0.2)
        assert process.poll() is None, process.stdout.read()
        process.send_signal(how)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == (75 if how == signal.SIGTERM else -how)
    return said


def _steps(folder):
    path = folder / "events.jsonl"
    return path.read_bytes().count(b'"event":"step"') if path.is_file() else 0
