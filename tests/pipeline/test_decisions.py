"""A decision is obeyed by the line: what it concerns is computed again, and nothing else; an undo computes nothing."""

import numpy as np
import pytest

import multimap_kernel as mm
from multimap_kernel.__main__ import main
from multimap_kernel.io.store import walk_keys
from multimap_kernel.pipeline import STEPS
from multimap_kernel.schema import InputError

SESSION = "sub-01_task-flicker"
RECIPE = mm.Recipe.parse({"clean_eeg": {"pulse": {"method": "none"}}})


@pytest.fixture(scope="module")
def study(tiny_study, tmp_path_factory):
    """A store with the tiny session up to its clean EEG, and the study's own arguments."""
    runtime = mm.Runtime(store=str(tmp_path_factory.mktemp("decided") / "store"), cluster=mm.Cluster(kind="threads"))
    given = {"study": "mine", "recipe": RECIPE, "runtime": runtime}
    (result,) = mm.run(str(tiny_study), upto="clean_eeg", **given)
    result.require_done()
    return str(tiny_study), given, mm.Store(runtime.store, "mine")


def below(name):
    """A step and all that rests on it, in the order of the line."""
    found = [name]
    for step in STEPS:
        if set(step.reads) & set(found):
            found.append(step.name)
    return found


def commits(store):
    return {(place, key): store.commit(place, key) for place, key in walk_keys(store)}


@pytest.mark.parametrize(
    ("action", "value", "first"),
    [
        ("shift", "0.004", "align"),
        ("first_volume", "0", "align"),
        ("bad_channel", "Pz", "clean_eeg"),
        ("bad_span", "20:24", "clean_eeg"),
        ("repetition_time", "2.0", "ingest"),
        ("accept", "", ""),
    ],
)
def test_decision__only_its_step_and_those_below_are_stale(study, action, value, first):
    bids, given, store = study
    clean = {step.step for step in mm.plan(bids, **given)[0].steps if step.state == "missing"}
    made = mm.decide(store, SESSION, action, value=value)
    stale = {step.step for step in mm.plan(bids, **given)[0].steps if step.state == "missing"}
    mm.decide(store, SESSION, "undo", supersedes=made.identifier)
    assert stale - clean == set(below(first) if first else ()) - clean
    assert {step.step for step in mm.plan(bids, **given)[0].steps if step.state == "missing"} == clean


def test_run__after_a_correction_computes_align_and_what_reads_it_and_after_undo_nothing(study):
    bids, given, store = study
    before = commits(store)
    made = mm.decide(store, SESSION, "shift", value="0.004", reason="scanner trigger is late")
    (result,) = mm.run(bids, upto="clean_eeg", **given)
    new = {place: record for (place, key), record in commits(store).items() if (place, key) not in before}
    assert {record["step"] for record in new.values()} == {"align", "clean_eeg"}
    (aligned,) = (record for record in new.values() if record["step"] == "align")
    assert aligned["decisions"] == [made.identifier]
    (old,) = (record for record in before.values() if record["step"] == "align")
    offsets = [record["values"]["alignment"]["offset_s"] for record in (old, aligned)]
    assert offsets[1] - offsets[0] == pytest.approx(0.004)
    assert "scanner trigger is late" in aligned["values"]["alignment"]["reasons"][-1]

    mm.decide(store, SESSION, "undo", supersedes=made.identifier)
    kept = commits(store)
    (result,) = mm.run(bids, upto="clean_eeg", **given)
    assert result.computed == 0
    assert commits(store) == kept


def test_run__a_bad_channel_and_a_bad_span_are_left_out_of_the_clean_eeg(study):
    bids, given, store = study
    made = [
        mm.decide(store, SESSION, *pair[:1], value=pair[1]) for pair in (("bad_channel", "Pz"), ("bad_span", "30:34"))
    ]
    (result,) = mm.run(bids, upto="clean_eeg", **given)
    result.require_done()
    tree = mm.open_session(given["runtime"].store, "mine", SESSION)
    clean = tree["clean_eeg"].to_dataset()
    alignment = mm.Alignment.from_json(tree["align"].attrs["alignment"])
    for one in made:
        mm.decide(store, SESSION, "undo", supersedes=one.identifier)
    assert str(clean["channel_type"].sel(channel="Pz").values) == "misc"
    truth = (np.array([30, 34]) - alignment.offset_s) / (1 + alignment.drift_ppm * 1e-6)
    np.testing.assert_allclose(clean["bad_span"].values, truth[None])
    power = mm.band_power(clean, bands={"alpha": (8, 12)}, repetition_time=2.0, volumes=60)["band_power"]
    assert "Pz" not in power["channel"].values
    missing = np.flatnonzero(np.isnan(power.values).any((1, 2)))
    assert missing.tolist() == list(range(int(truth[0] // 2), int(truth[1] // 2) + 1))


def test_show__of_a_session_without_maps_says_how_far_it_is(study, capsys):
    _, given, _ = study
    assert main(["show", "--study", "mine", "--store", given["runtime"].store]) == InputError.exit_code
    told = capsys.readouterr().err
    assert "must have maps, found the steps ingest, align, realign, clean_eeg" in told
    assert told.rstrip().endswith("run it whole")


def test_run__an_unknown_bad_channel_stops_the_session_with_its_name(study):
    bids, given, store = study
    made = mm.decide(store, SESSION, "bad_channel", value="Nz")
    (result,) = mm.run(bids, upto="clean_eeg", **given)
    mm.decide(store, SESSION, "undo", supersedes=made.identifier)
    assert result.status == "bad-input"
    assert "bad channels must be in the recording, found Nz beside Fp1, Fp2" in result.error


def test_run__up_to_an_earlier_step_keeps_what_was_made_beyond_it_in_view(study):
    bids, given, store = study
    mm.run(bids, upto="ingest", **given)[0].require_done()
    seen = mm.open_session(store.root, "mine", SESSION)
    assert {"ingest", "align", "realign", "clean_eeg"} <= set(seen.children)
    made = mm.decide(store, SESSION, "first_volume", value="0")
    mm.run(bids, upto="ingest", **given)[0].require_done()
    mm.decide(store, SESSION, "undo", supersedes=made.identifier)
    assert "align" not in mm.open_session(store.root, "mine", SESSION).children, (
        "what a decision made stale is not shown"
    )
    mm.run(bids, upto="ingest", **given)[0].require_done()
    assert "align" in mm.open_session(store.root, "mine", SESSION).children
