"""What the widget computes and keeps, without a browser: decisions, previews, staleness, what is drawn."""

import numpy as np
import pytest

import multimap_kernel as mm
from multimap_kernel.schema import InputError
from multimap_kernel.widgets import panels
from multimap_kernel.widgets.alignment import AlignmentWidget
from multimap_kernel.widgets.review import Review
from multimap_kernel.widgets.still import Still

SESSION = "sub-01_task-flicker"
RECIPE = mm.Recipe.parse({"clean_eeg": {"pulse": {"method": "none"}}})


@pytest.fixture(scope="module")
def study(tiny_study, tmp_path_factory):
    """The tiny session up to its clean EEG."""
    runtime = mm.Runtime(store=str(tmp_path_factory.mktemp("review") / "store"), cluster=mm.Cluster(kind="threads"))
    given = {"study": "mine", "recipe": RECIPE, "runtime": runtime, "upto": "clean_eeg"}
    (result,) = mm.run(str(tiny_study), **given)
    result.require_done()
    return str(tiny_study), given, mm.Store(runtime.store, "mine")


@pytest.fixture
def review(study):
    _, _, store = study
    review = Review(store, SESSION)
    yield review
    while review.held:
        review.undo()


def unpacked(stored, kind):
    return np.frombuffer(stored, kind)


def test_review__a_preview_is_what_the_decision_then_gives(review):
    foreseen = review.preview("shift", "4")
    assert review.decisions == () or review.decisions[-1].action == "undo"
    np.testing.assert_allclose(foreseen.residual, review.judgement.residual - 0.004, atol=1e-9)
    made = review.decide("shift", "4", "late")
    assert made.value == "0.004"
    np.testing.assert_array_equal(review.judgement.residual, foreseen.residual)
    assert review.undo().supersedes == made.identifier
    assert review.held == ()


def test_review__times_of_the_screen_become_those_of_the_eeg(review):
    aligned = review.clock
    review.decide("shift", "250")  # the screen has moved, and with it what a person points at
    for action, shown in (("add_marker", "10.5"), ("bad_span", "24:20.25")):
        stored = [float(part) for part in review.stored_value(action, shown).split(":")]
        wanted = sorted(float(part) for part in shown.split(":"))
        found = [aligned.scanner_time(one) - 0.25 for one in stored]
        np.testing.assert_allclose(found, wanted, atol=2e-4)
    review.decide("drop_marker", "20.1")
    assert review.judgement.alignment.missing == (10,)  # 20.1 s of the screen is nearest to the marker of volume 10
    with pytest.raises(InputError, match="shift needs a number, found 'soon'"):
        review.decide("shift", "soon")


def test_review__tells_which_results_are_of_other_decisions(study, review):
    bids, given, _ = study
    later = ("normalise", "features", "fuse", "map", "publish")  # never computed
    assert set(review.stale()) <= {*later, "normalise_anatomy", "realign"}
    made = review.decide("bad_channel", "Pz")
    assert {"clean_eeg"} <= set(review.stale()) - {"align", "ingest"}
    assert "align" not in review.stale()
    mm.run(bids, **given)
    assert "clean_eeg" not in Review(review.store, SESSION).stale()
    review.undo(made.identifier)
    assert "clean_eeg" in Review(review.store, SESSION).stale()
    mm.run(bids, **given)


def test_review__of_a_session_that_never_got_past_ingest(study, review):
    """Where align stops, the recording is still there to be corrected."""
    bids, given, store = study
    review.decide("marker", "S  1")
    fresh = {**given, "recipe": RECIPE.model_copy(update={"name": "other"})}
    (result,) = mm.run(bids, **fresh)
    assert result.status == "bad-input"
    stuck = Review(store, SESSION, "other")
    assert stuck.judgement.alignment is None
    assert "must come once per volume" in panels.clocks_of(stuck)["fault"]
    assert panels.window_of(stuck, 0.0, 5.0, 100)["before"]["columns"] > 40
    assert (stuck.clock.verdict, stuck.clock.offset_s) == ("none", 0.0)  # not "good" for want of a residual
    assert "image/png" in AlignmentWidget(stuck)._repr_mimebundle_()[0]
    stuck.undo()
    assert stuck.judgement.alignment.verdict == "good"
    with pytest.raises(InputError, match=r"sub-09_task-x of study 'mine' .* must have been ingested"):
        Review(store, "sub-09_task-x")


def test_panels__markers_are_told_apart(review):
    review.decide("drop_marker", "40")
    review.decide("add_marker", "51")
    review.decide("drop_marker", "60")
    review.decide("add_marker", "60.0013")
    drawn = panels.timeline_of(review)
    onset, kind = unpacked(drawn["marker"], float), unpacked(drawn["kind"], "u1")
    assert panels.clocks_of(review)["missing"] == [20]
    np.testing.assert_allclose(onset[kind == panels.EXTRA], [51], atol=3e-4)
    np.testing.assert_allclose(onset[kind == panels.JITTERED], [60.0013], atol=3e-4)
    assert (kind == panels.MATCHED).sum() == 58
    assert unpacked(drawn["residual"], "f4").size == 60
    told = {item["what"].split(" at")[0]: item["state"] for item in panels.decisions_of(review)[:4]}
    assert told == {"drop marker": "held", "add marker": "held"}


def test_panels__a_window_is_what_the_recordings_span(study, review):
    _, given, _ = study
    tree = mm.open_session(given["runtime"].store, "mine", SESSION)
    raw = mm.apply_alignment(mm.to_volts(tree["ingest/eeg"].to_dataset()), review.clock)
    drawn = panels.window_of(review, 10.0, 14.0, 400)
    for name, truth in (("before", raw), ("after", tree["clean_eeg"].to_dataset())):
        side = drawn[name]
        values = unpacked(side["values"], "i2").reshape(-1, side["columns"], 2) * side["scale"]
        ends = side["start"] + np.array([0, side["columns"]]) * side["step"]
        assert ends[0] <= 10.0 + side["step"]
        assert ends[1] >= 14.0 - side["step"]
        inside = (truth["time"].values >= ends[0] - 1e-6) & (truth["time"].values < ends[1] - 1e-6)
        potential = truth["eeg"].values[:, inside] * 1e6
        height = potential.max(1) - potential.min(1)
        np.testing.assert_allclose(values[..., 1].max(1) - values[..., 0].min(1), height, atol=2.1 * side["scale"])


def test_panels__spectrum_and_average_show_artifact_before_and_none_after(review):
    detail = panels.detail_of(review, "Pz", 20.0, 30.0)
    course = {name: unpacked(detail[name]["course"], "f4") for name in ("before", "after")}
    assert np.ptp(course["before"]) > 50 * np.ptp(course["after"])
    amplitude = unpacked(detail["before"]["amplitude"], "f4")
    slices = len(set(review.bold["slice_time"].values.tolist())) / 2.0
    step = detail["before"]["resolution"]
    lines = [round(harmonic * slices / step) for harmonic in range(1, 10)]
    beside = [np.median(amplitude[line - 12 : line + 12]) for line in lines]
    assert max(amplitude[lines] / beside) > 20
    clean = unpacked(detail["after"]["amplitude"], "f4")[lines[:5]]
    assert max(clean / beside[:5]) < 2


def test_widget__first_view_is_state_and_answers_change_it(review):
    widget = AlignmentWidget(review)
    assert widget.window["before"]["columns"] > 500  # no question is needed for the first picture
    widget._answer(widget, {"kind": "window", "number": 3, "start": 2.0, "stop": 6.0, "columns": 200}, [])
    assert (widget.window["number"], widget.window["start"]) == (3, 2.0)
    widget._answer(widget, {"kind": "decide", "number": 4, "action": "shift", "value": "4", "reason": " why "}, [])
    assert widget.done["after"]["rms_ms"] == pytest.approx(4, abs=0.05)
    assert widget.decisions[0]["why"] == "why"
    widget._answer(widget, {"kind": "decide", "number": 5, "action": "exclude", "value": "", "reason": ""}, [])
    assert "exclude needs a reason" in widget.done["fault"]
    widget._answer(widget, {"kind": "undo", "number": 6}, [])
    assert widget.clocks["shift_ms"] == 0
    data, _ = widget._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(data)


def test_review_alignment__in_batch_is_a_picture_and_a_link(study, monkeypatch):
    _, given, _ = study
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    shown = mm.review_alignment(given["runtime"].store, "mine", link="https://lab.example/s/1")
    assert isinstance(shown, Still)
    assert shown.png.startswith(b"\x89PNG")
    assert [sorted(bundle) for bundle in shown.outputs()] == [["image/png", "text/plain"], ["text/html", "text/plain"]]
    with pytest.raises(InputError, match="link must be a web address"):
        mm.review_alignment(given["runtime"].store, "mine", link="javascript:alert(1)")
