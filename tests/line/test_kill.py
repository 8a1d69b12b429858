"""Runs that are killed: the next one resumes, gives the same result, and reads nothing half-written."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from interrupted import Killed, contents, finish

import multimap_kernel as mm
from multimap_kernel.console.training import provide_features
from multimap_kernel.io.store import walk_keys
from multimap_kernel.pipeline import STEPS

pytestmark = pytest.mark.line


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return Killed(tmp_path_factory.mktemp("killed"))


@pytest.mark.parametrize(("step", "moment"), [("ingest", "inside"), ("features", "between")])
def test_run__killed_main_process_resumes_to_the_same_result(killed, tmp_path, step, moment):
    code, _, _ = finish(killed.start(tmp_path, step, moment))
    assert code == -signal.SIGKILL
    place = mm.Store(str(tmp_path), "killed")
    finished = [where for where, key in walk_keys(place) if place.commit(where, key)]
    assert not any(where.endswith(f"/{step}") for where in finished)
    code, status, computed = finish(killed.start(tmp_path))
    assert (code, status) == (0, "done")
    assert computed == len(STEPS) - len(finished)  # what was committed is not computed again
    assert mm.collect_garbage(place)  # the leftovers of the killed run
    assert contents(tmp_path) == killed.undisturbed
    assert any(files for _, files in killed.undisturbed.values())


def test_run__killed_worker_costs_no_result(killed, tmp_path):
    assert killed.survives("clean_eeg", "worker", tmp_path)


def test_run__killed_kernel_is_told_and_costs_no_result(killed, tmp_path):
    assert killed.survives("features", "kernel", tmp_path / "store")


def test_run__two_at_once_do_not_harm_each_other(killed, tmp_path):
    both = [killed.start(tmp_path) for _ in range(2)]
    for process in both:
        code, status, _ = finish(process)
        assert (code, status) == (0, "done")
    mm.collect_garbage(mm.Store(str(tmp_path), "killed"))
    assert contents(tmp_path) == killed.undisturbed


def test_run__second_time_computes_nothing(killed):
    assert killed.undisturbed
    assert finish(killed.start(killed.folder / "undisturbed"))[1:] == ("done", 0)
    planned = mm.plan(
        str(killed.folder / "bids"),
        study="killed",
        recipe=mm.Recipe.load(killed.folder / "recipe.yaml"),
        runtime=mm.Runtime(store=str(killed.folder / "undisturbed")),
    )
    assert [result.computed for result in planned] == [0]


def test_train__leaves_in_view_what_follows_the_features(killed):
    assert killed.undisturbed
    root = str(killed.folder / "undisturbed")
    recipe = mm.Recipe.load(killed.folder / "recipe.yaml")
    joint = recipe.model_copy(update={"fuse": recipe.fuse.model_copy(update={"model": "joint"})})
    session = mm.find_sessions(str(killed.folder / "bids"))[0].label
    runtime = mm.Runtime(store=root)
    provide_features(str(killed.folder / "bids"), study="killed", sessions=[session], recipe=joint, runtime=runtime)
    assert set(mm.open_session(root, "killed", session, recipe.name).children) == {step.name for step in STEPS}


def test_run__obeys_decisions_and_tells_them_in_the_report(killed, tmp_path):
    assert killed.undisturbed
    store = mm.Store(str(shutil.copytree(killed.folder / "undisturbed", tmp_path / "decided")), "killed")
    session = mm.find_sessions(str(killed.folder / "bids"))[0].label
    mm.decide(store, session, "bad_channel", value="Pz", reason="gel has dried")
    mm.decide(store, session, "accept", reason="seen")
    assert finish(killed.start(Path(store.root)))[1:] == ("done", 5)  # clean_eeg and what reads it
    assert "Pz" not in mm.open_session(store.root, "killed", session)["map/sensor"]["channel"]
    quality = mm.study_quality(store.root, "killed").loc[session]
    assert (quality["decision"], quality["corrections"], quality["bad_channels"]) == ("accept", "bad channel Pz", 0)
    pages = sorted(Path(store.root).rglob("report.html"), key=lambda path: path.stat().st_mtime)
    told = ["gel has dried" in page.read_text(encoding="utf-8") for page in pages]
    assert told == [False, True]


def test_run__cuts_drifts_of_the_maps_where_the_recipe_says(killed, tmp_path):
    assert killed.undisturbed
    root = str(shutil.copytree(killed.folder / "undisturbed", tmp_path / "cut"))
    stored = mm.Recipe.load(killed.folder / "recipe.yaml").model_dump(mode="json")
    recipe = mm.Recipe.parse({**stored, "name": "cut", "confounds": {"high_pass_hz": 0.002}})
    bids, runtime = str(killed.folder / "bids"), mm.Runtime(store=root)
    (result,) = mm.run(bids, study="killed", recipe=recipe, runtime=runtime, upto="map")
    assert result.status == "done"
    session = mm.find_sessions(bids)[0].label
    tree = mm.open_session(root, "killed", session, "cut")
    ds = mm.smooth(tree["features"].to_dataset(), fwhm_mm=recipe.map.smoothing_mm)
    for cut, same in ((0.002, True), (0.01, False)):
        expected = mm.coupling_map(ds, lags_s=recipe.map.lags_s, hrf=recipe.map.hrf, high_pass_hz=cut)["statistic"]
        assert np.allclose(tree["map/coupling"]["statistic"], expected, atol=1e-6, equal_nan=True) is same


def test_study_quality__tells_what_the_simulator_planted_and_what_people_decided(killed):
    assert killed.undisturbed
    root = str(killed.folder / "undisturbed")
    mm.decide(mm.Store(root, "killed"), "sub-99_task-rest", "exclude", reason="left the scanner")
    quality = mm.study_quality(root, "killed")
    ran, excluded = quality.iloc[0], quality.loc["sub-99_task-rest"]
    assert ran["verdict"] == "good"
    assert ran["drift_ppm"] == pytest.approx(8, abs=34)  # planted: 8; a marker is a sample of 4 ms, the run 120 s long
    assert ran["residual_ms"] < 4
    assert ran["missing_markers"] == ran["uncovered_volumes"] == ran["bad_channels"] == 0
    assert 40 < ran["tsnr"] < 80  # planted: 60, before resampling and with the effects in it
    assert (excluded["decision"], excluded["reason"]) == ("exclude", "left the scanner")
    assert excluded.isna()["tsnr"]
