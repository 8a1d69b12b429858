"""What a training run left behind, as a person sees it."""

import json
import os
import subprocess
import sys

import pytest

from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import InputError
from multimap_kernel.widgets.course import POINTS, Course
from multimap_kernel.widgets.engine import Engine


def step(number, job="fold-0/inner-0"):
    losses, part = {"residual": 1 / number}, number / 10000
    return {"event": "step", "job": job, "step": number, "steps": 900, "losses": losses, "part": part}


def fold(number):
    return {"event": "fold", "fold": number, "so_far": {"gain": 0.01 * number}}


def test_course__takes_in_what_was_added_since_the_last_look(tmp_path):
    folder, course = RunDirectory(str(tmp_path)), Course()
    assert course.read(folder) == {"plan", "progress", "folds", "judged"}
    folder.append_event({"event": "started", "runs": ["a"]})
    folder.append_event(step(1))
    course.read(folder)
    assert course.plan["runs"] == ["a"]
    folder.append_event(step(2))
    assert course.read(folder) == {"progress"}
    assert course.progress["losses"] == {"residual": [[0.0001, 1.0], [0.0002, 0.5]]}
    assert course.read(folder) == set()
    folder.append_event(step(4, "fold-0/inner-1"))
    course.read(folder)
    assert course.progress["losses"] == {"residual": [[0.0001, 1.0], [0.0002, 0.5], [0.0002, None], [0.0004, 0.25]]}
    folder.append_event(step(2))  # a killed run goes on from its checkpoint
    course.read(folder)
    assert course.progress["losses"] == {"residual": [[0.0001, 1.0], [0.0001, None], [0.0002, 0.5]]}


def test_course__of_two_folds_with_one_number_the_later_counts(tmp_path):
    folder, course = RunDirectory(str(tmp_path)), Course()
    for number in (0, 1, 0):
        folder.append_event(fold(number))
    course.read(folder)
    assert [one["fold"] for one in course.folds] == [0]


def test_course__waits_for_the_rest_of_a_line(tmp_path):
    folder, course = RunDirectory(str(tmp_path)), Course()
    folder.append_event(fold(0))
    with (tmp_path / "events.jsonl").open("ab") as stream:
        stream.write(b'{"event":"fo')
        stream.flush()
        course.read(folder)
        assert len(course.folds) == 1
        stream.write(b'ld","fold":1}\n')
    course.read(folder)
    assert [one["fold"] for one in course.folds] == [0, 1]


def test_course__keeps_losses_few(tmp_path):
    course = Course()
    for number in range(1, 5 * POINTS):
        course._take(step(number))
    points = course.progress["losses"]["residual"]
    assert len(points) <= POINTS + 2
    assert points[-1] == [(5 * POINTS - 1) / 10000, 1 / (5 * POINTS - 1)]
    assert [at for at, _ in points] == sorted(at for at, _ in points)


def test_engine__tells_how_a_process_ended(tmp_path):
    engine = Engine(str(tmp_path / "run"))
    assert engine.state("") == "new"
    with pytest.raises(InputError, match="must hold a run that was started, found none"):
        engine.resume()
    engine.begin([str(tmp_path / "absent"), "--study", "s", "--workers", "0"], "name: default\n")
    assert engine.state("") == "running"
    with pytest.raises(InputError, match="one is at work; stop it first"):
        engine.resume()
    with pytest.raises(InputError, match="must be a new folder, found a run in it"):
        engine.begin([], "")
    engine._process().wait(400)
    assert engine.state("") == "failed"
    assert "must be a BIDS study with sub-* folders, found none" in engine.last_words()
    assert engine.state("judged") == "done"
    assert engine.state("stopped") == "stopped"


def test_engine__does_not_take_another_process_for_its_own(tmp_path):
    engine = Engine(str(tmp_path / "run"))
    engine.begin([str(tmp_path / "absent"), "--study", "s", "--workers", "0"], "name: default\n")
    engine._process().wait(400)
    known = (tmp_path / "run" / "process.json").read_text()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        ended = str(engine_pid(known))
        (tmp_path / "run" / "process.json").write_text(known.replace(ended, str(other.pid)))
        assert not engine.at_work()  # the number was given out again
        other.communicate(b"\n")
    (tmp_path / "run" / "process.json").write_text(known.replace(os.uname().nodename, "elsewhere"))
    assert not engine.at_work()


def engine_pid(known):
    return json.loads(known)["pid"]
