"""Two runs beside each other: only what differs is told, and by how much the maps lie apart."""

import dataclasses

import planted
import pytest

import multimap_kernel as mm
from multimap_kernel.batch.compare import compare_runs
from multimap_kernel.batch.records import RunRecord
from multimap_kernel.io.store import Product

SESSION = "sub-01_task-rest"


@pytest.fixture
def before(tmp_path):
    store = mm.Store(str(tmp_path / "store"), "study")
    maps = planted.activation("ras")
    far = maps.assign(statistic=maps["statistic"] * 1.5)
    for key, ds in (("one", maps), ("two", far)):
        store.write("sub-01/task-rest/map", key, Product({"activation": ds}), {})
    return RunRecord(
        run_id="report-default",
        session=SESSION,
        attempt=1,
        folder=str(tmp_path / "runs" / "report-default" / SESSION / "attempt-1"),
        notebook="report.ipynb",
        parameters={"store": store.root, "study": "study", "session": SESSION},
        recipe={"map": {"seed": 0, "smoothing_mm": 8.0}, "align": {"marker": "R128"}},
        keys={"align": "same", "map": "one"},
        code_version="0.3.0",
        status="done",
        exit_code=0,
        started="2026-11-23T08:00:00.000+00:00",
    )


def told(before, after):
    return [(one.kind, one.what, one.before, one.after) for one in compare_runs([before], [after])]


def test_compare_runs__the_same_work_with_the_same_end_differs_in_nothing(before):
    again = dataclasses.replace(before, attempt=2, started="2026-11-23T09:00:00.000+00:00")
    assert told(before, again) == []


def test_compare_runs__tells_what_went_in_and_how_far_the_maps_lie_apart(before):
    recipe = {"map": {"seed": 0, "smoothing_mm": 6.0}, "align": {"marker": "R128"}}
    after = dataclasses.replace(before, recipe=recipe, keys={"align": "same", "map": "two"}, code_version="0.4.0")
    recipes, code, steps, *maps = told(before, after)
    assert recipes == ("recipe", "map.smoothing_mm", "8.0", "6.0")
    assert code == ("code", "multimap", "0.3.0", "0.4.0")
    assert steps == ("steps", "map", "one", "two")
    assert [what for _, what, _, _ in maps] == ["map hand, BOLD", "map hand, EEG", "map rest, BOLD", "map rest, EEG"]
    assert all("r with before 1.000" in words for *_, words in maps)  # planted: 1.5 times the same map
    first, second = (float(words.removeprefix("largest ").split(";")[0]) for words in maps[0][2:])
    assert second == pytest.approx(1.5 * first, abs=0.02)


def test_compare_runs__says_when_a_map_is_gone_or_a_session_is_in_one_run_only(before):
    cleared = dataclasses.replace(
        before, keys={"align": "same", "map": "cleared"}, status="failed", error="KeyError: 'x'"
    )
    assert ("result", "maps", "in the store", "not in the store") in told(before, cleared)
    assert ("result", "status", "done", "failed") in told(before, cleared)
    (missing,) = compare_runs([before], [])
    assert (missing.session, missing.before, missing.after) == (SESSION, "done", "not in it")


def test_runs_command__lists_filters_compares_and_refuses_an_unknown_run(before, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mm.console.runs.__globals__["OUT"], "width", 160)
    failed = dataclasses.replace(
        before,
        attempt=2,
        folder=before.folder.replace("attempt-1", "attempt-2"),
        code_version="0.4.0",
        status="bad-input",
        exit_code=20,
        cell="In [3]: mm.run(",
        error="InputError: markers are missing",
    )
    for record in (before, failed):
        folder = tmp_path / "runs" / "report-default" / SESSION / f"attempt-{record.attempt}"
        folder.mkdir(parents=True)
        record.save(folder)
    url = str(tmp_path / "runs")
    assert mm.console.runs(url, run="", sessions=[], statuses=[]) == 0
    assert "1 bad-input" in capsys.readouterr().out
    assert mm.console.runs(url, run="report", sessions=[], statuses=["bad-input"]) == 0
    listed = capsys.readouterr().out
    assert "InputError: markers are missing" in listed
    assert " 1 │ done" not in listed
    assert mm.console.compare(url, "report:1", "report") == 0
    compared = capsys.readouterr().out
    assert all(word in compared for word in ("0.3.0", "0.4.0", "bad-input"))
    with pytest.raises(mm.MultimapError, match="must be the beginning of one run's name, found report-default"):
        mm.console.compare(url, "other", "report")
