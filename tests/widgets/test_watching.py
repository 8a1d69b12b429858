"""What the training widget and its picture show is what the run folder holds."""

import json

import numpy as np
import pytest
import training

import multimap_kernel as mm
from multimap_kernel.fusion import journal
from multimap_kernel.fusion.evaluate import evaluate
from multimap_kernel.fusion.train import train
from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import InputError, PreemptedError, RecipeError
from multimap_kernel.view.figures_training import training_figure
from multimap_kernel.widgets.training import _changed
from multimap_kernel.widgets.watching import RunWidget, picture_of, watch_run


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that was learned and judged: its folder, and its events as they are written there."""
    place, runs = tmp_path_factory.mktemp("run"), training.runs()
    fit, out = train(runs, **training.OPTIONS, folder=RunDirectory(str(place)))
    evaluate(runs, fit, out, folder=RunDirectory(str(place)))
    return place, [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]


def of(events, kind):
    return [event for event in events if event["event"] == kind]


def test_widget__shows_what_the_run_folder_holds(learned):
    place, events = learned
    widget = RunWidget(RunDirectory(str(place)))
    assert [widget.plan] == of(events, "started")
    assert widget.folds == of(events, "fold")
    assert [widget.judged] == [event["evaluation"] for event in of(events, "judged")]
    steps = of(events, "step")
    assert {**widget.progress, "losses": steps[-1]["losses"]} == steps[-1]
    for name, points in widget.progress["losses"].items():
        told = [[step["part"], step["losses"][name]] for step in steps if name in step["losses"]]
        assert [point for point in points if point[1] is not None] == told
    widget.learning = False
    widget.refresh()
    assert widget.state["state"] == "done"
    widget.close()


def test_figure__draws_the_numbers_of_the_events(learned):
    _, events = learned
    folds, (plan,) = of(events, "fold"), of(events, "started")
    now = folds[-1]["so_far"]
    figure = training_figure(plan, folds)
    scores, regions, lags, split = figure.axes
    low, high = now["gain_interval"]
    told = f"gain over the ridge {now['gain']:+.3f} (mean of pieces, 95 % from {low:+.3f} to {high:+.3f})"
    assert told in figure.get_suptitle()
    drawn = {line.get_label(): list(line.get_ydata()) for line in scores.lines}
    assert [drawn["joint"], drawn["ridge"]] == [[fold["so_far"][name] for fold in folds] for name in ("joint", "ridge")]
    bands = [[bar.get_y(), bar.get_y() + bar.get_height()] for bar in scores.patches]
    np.testing.assert_allclose(bands, [fold["so_far"]["null_band"][::2] for fold in folds])
    assert [bar.get_height() for bar in regions.patches] == sorted(now["region_joint"], reverse=True)
    assert now["threshold_fwe"] in [line.get_ydata()[0] for line in regions.lines]
    assert regions.get_title().startswith(f"{sum(p < 0.05 for p in now['region_p_fwe'])} of ")
    for line, name in zip(lags.lines, folds[0]["lag_weight"], strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.mean([fold["lag_weight"][name] for fold in folds], axis=0))
    left_out = [[bar.get_x(), bar.get_width()] for bar in split.patches]
    assert left_out == [[first, last - first + 1] for fold in plan["split"]["folds"] for _, first, last in fold["test"]]


def test_watch_run__in_batch_is_a_picture_of_what_was_learned(learned, tmp_path, monkeypatch):
    place, _ = learned
    shown = []
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    monkeypatch.setattr("multimap_kernel.widgets.watching.display", shown.append)
    with watch_run(RunDirectory(str(place))):
        pass
    assert shown[0].png == picture_of(RunDirectory(str(place)))
    assert shown[0].png.startswith(b"\x89PNG")
    with watch_run(RunDirectory(str(tmp_path))):
        pass  # nothing was learned, nothing is shown
    assert len(shown) == 1


def test_watch_run__an_old_order_does_not_end_a_new_run_and_a_stop_does(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_CONTROL_S", 0.0)
    folder = RunDirectory(str(tmp_path))
    folder.write_control(stop=True)
    with watch_run(folder):
        assert not folder.read_control()["stop"]
    widget = RunWidget(folder)
    widget._answer(None, {"kind": "stop", "number": 7}, None)
    assert widget.told == {"kind": "stop", "number": 7}
    assert widget.state["state"] == "stopping"
    with pytest.raises(PreemptedError, match="the training was asked to end"):
        train(training.runs(), **training.OPTIONS, folder=folder)
    widget.learning = False
    widget.refresh()
    assert widget.state["state"] == "stopped"
    widget._answer(None, {"kind": "start", "number": 8}, None)
    assert "the widget knows stop, found 'start'" in widget.told["fault"]
    widget.close()


def test_widget__without_a_run_says_so():
    widget = RunWidget(None)
    with pytest.raises(InputError, match="there must be a run, found none yet; start one"):
        widget.stop()
    widget.close()


def test_choices__take_the_place_of_the_recipe():
    recipe = mm.Recipe.parse({"fuse": {"region_mm": 48.0}})
    changed = _changed(recipe, {"kind": "run", "folds": 3, "gap_s": 20.0, "size": "base", "seed": 4, "lags_s": [0, 5]})
    assert changed.fuse.model_dump() == {
        **recipe.fuse.model_dump(), "model": "joint", "size": "base", "seed": 4, "lags_s": (0.0, 5.0),
        "split": {"kind": "run", "folds": 3, "gap_s": 20.0},
    }  # fmt: skip
    with pytest.raises(RecipeError, match=r"the chosen options: fuse\.split\.folds is not allowed.*found 1"):
        _changed(recipe, {"folds": 1})
