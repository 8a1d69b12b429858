"""The training widget in a real JupyterLab: every action by mouse and keyboard, and a run that outlives the kernel."""

import io
import json
import time
from pathlib import Path

import laboratory
import nbformat
import numpy as np
import pytest
from PIL import Image

import multimap_kernel as mm
from multimap_kernel.simulate import simulate_session

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
RECIPE = {
    "ingest": {"eeg_state": "clean"},
    "realign": {"backend": "none"},
    "normalise": {"space": "native"},
    "clean_eeg": {"lowpass_hz": 45},
    "fuse": {"region_mm": 48.0, "split": {"kind": "run", "folds": 2}},
}
LEARN = """from coupled import BY_BLOCK, coupled_runs
import multimap_kernel as mm
runs = coupled_runs(2, minutes=10.0, regions=3, channels=("Fz", "F4", "C3", "O1"))
folder = mm.RunDirectory("learned")
with mm.watch_run(folder):
    mm.train(runs, **{**BY_BLOCK, "folds": 10}, folder=folder)"""
WIDGET = ".multimap-training"
CHARTS = ("scores", "regions", "retrieval", "lags", "embedding", "losses", "split")
COLOURS = """(name) => {
  const canvas = document.querySelector(name);
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(data.filter((_, k) => k % 4 !== 3)).size;
}"""
RESTART = "() => window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()"
CLEAR = "() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two sessions of four minutes with features, a notebook that watches their training, and one that trains."""
    folder = tmp_path_factory.mktemp("training")
    for number in (1, 2):
        simulate_session(folder / "bids", subject=f"{number:02d}", size="demo", seed=number, artifacts=False)
    runtime = mm.Runtime(store=str(folder / "store"), cluster={"kind": "threads"})
    for result in mm.run(
        str(folder / "bids"), study="s", recipe=mm.Recipe.parse(RECIPE), runtime=runtime, upto="features"
    ):
        result.require_done()
    watch = f"""import multimap_kernel as mm
recipe = mm.Recipe.parse({RECIPE!r})
mm.watch_training({str(folder / "bids")!r}, study="s", recipe=recipe)"""
    (folder / "notebooks").mkdir()
    for name, source in (("watch", watch), ("learn", LEARN)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        notebook.metadata["kernelspec"] = {"name": "multimap", "display_name": "multimap", "language": "python"}
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def page(study, chromium, tmp_path_factory):
    """A page of JupyterLab; its address is for notebooks."""
    folder, tests = tmp_path_factory.mktemp("lab"), {"PYTHONPATH": str(Path(laboratory.__file__).parent)}
    with laboratory.started(folder, study / "notebooks", study / "store", environment=tests) as address:
        page = chromium.new_page(viewport={"width": 1500, "height": 1300})
        page.address, faults = address, []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        yield page
        page.close()
        assert faults == []


@pytest.fixture(scope="module")
def watch(page):
    """The notebook that watches, run."""
    laboratory.run_all(page, page.address.format("watch.ipynb"))
    page.wait_for_selector(WIDGET, timeout=60_000)
    return page


def attribute(page, name):
    return page.locator(WIDGET).get_attribute(f"data-{name}")


def until(page, name, wanted, seconds=240):
    end = time.monotonic() + seconds
    while attribute(page, name) != wanted:
        assert time.monotonic() < end, (name, attribute(page, name), page.locator(WIDGET).inner_text()[:600])
        time.sleep(0.1)


def press(page, *keys):
    page.locator(WIDGET).focus()
    for key in keys:
        page.keyboard.press(key)


def again(page):
    """Restart the kernel and run the notebook: what the widget knows now, it read from the run folder."""
    page.evaluate(CLEAR)
    page.evaluate(RESTART)
    page.wait_for_function(laboratory.KERNEL_IS_THERE, timeout=90_000)
    page.evaluate(laboratory.RUN_ALL)
    page.wait_for_selector(WIDGET, timeout=90_000)


def click(page, canvas, x, y):
    box = page.locator(f"{WIDGET} .mm-{canvas}").bounding_box()
    page.locator(f"{WIDGET} .mm-{canvas}").click(position={"x": box["width"] * x, "y": box["height"] * y})


def said(page, canvas):
    """A chart in words, as a screen reader tells it."""
    return page.locator(f"{WIDGET} .mm-{canvas}").get_attribute("aria-label").replace("−", "-")


def events(folder):
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def latest(study):
    """Folder of the run that was started last."""
    return max((study / "store" / "s" / "training").glob("*"))


def kinds(study):
    return [event["event"] for event in events(latest(study))]


def wait(told, seconds=240):
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_training__started_by_mouse_and_by_keyboard_and_wrong_choices_are_told(watch, study):
    watch.locator(f"{WIDGET} input[name=seed]").fill("3")
    watch.locator(f"{WIDGET} [data-act=start]").click()
    until(watch, "state", "running")
    first = attribute(watch, "run")
    until(watch, "state", "done")
    press(watch, "e")
    watch.locator(f"{WIDGET} input[name=lags_s]").fill("none at all")
    watch.keyboard.press("Enter")  # in a field: the same as Start
    told = f"() => document.querySelector('{WIDGET} .mm-status').textContent.includes('fuse.lags_s')"
    watch.wait_for_function(told, timeout=20_000)
    watch.locator(f"{WIDGET} input[name=lags_s]").fill("0 2 4 6 8 10 12")
    watch.locator(f"{WIDGET} select[name=size]").select_option("base")  # slow enough to be stopped
    press(watch, "s")
    until(watch, "state", "running")
    second = attribute(watch, "run")
    assert second != first
    recipe = mm.Recipe.load(latest(study) / "recipe.yaml")
    assert (recipe.fuse.seed, recipe.fuse.size, recipe.fuse.split.kind) == (3, "base", "run")
    press(watch, "p")
    until(watch, "run", first)
    until(watch, "state", "done")
    press(watch, "n")
    until(watch, "run", second)
    watch.locator(f"{WIDGET} select[name=run]").select_option(first)
    until(watch, "run", first)
    watch.locator(f"{WIDGET} select[name=run]").select_option(second)
    until(watch, "run", second)
    assert attribute(watch, "state") == "running"


def test_training__stopped_resumed_and_found_again_by_a_new_kernel(watch, study):
    run = attribute(watch, "run")
    wait(lambda: "step" in kinds(study))
    watch.locator(f"{WIDGET} [data-act=stop]").click()
    until(watch, "state", "stopped")
    again(watch)
    until(watch, "run", run)
    until(watch, "state", "stopped")
    press(watch, "r")
    until(watch, "state", "running")
    again(watch)  # the engine goes on without a kernel
    until(watch, "run", run)
    until(watch, "state", "running")
    before = kinds(study).count("step")
    wait(lambda: kinds(study).count("step") > before)
    press(watch, "x")
    until(watch, "state", "stopped")
    watch.locator(f"{WIDGET} [data-act=resume]").click()
    until(watch, "state", "running")
    wait(lambda: kinds(study).count("resumed") == 2)
    press(watch, "x")
    until(watch, "state", "stopped")
    told = [kind for kind in kinds(study) if kind in {"stopped", "resumed", "done"}]
    assert told == ["stopped", "resumed", "stopped", "resumed", "stopped"]


def test_training__what_is_shown_is_what_the_run_folder_holds(watch, study):
    press(watch, "p")
    until(watch, "state", "done")
    wait(lambda: said(watch, "scores").count("folds") == 2)
    folder = latest(study).with_name(attribute(watch, "run"))
    earlier, fold = [event for event in events(folder) if event["event"] == "fold"]
    kept = {event["event"]: event for event in events(folder)}  # the last of each kind
    judged, so = kept["judged"]["evaluation"], fold["so_far"]
    assert json.loads((folder / "evaluation.json").read_text())["gain"] == judged["gain"]
    headline = watch.locator(f"{WIDGET} .mm-headline").inner_text().replace("−", "-")
    low, high = judged["gain_interval"]
    for shown in (
        f"gain {judged['gain']:+.3f}", f"95 % from {low:+.3f} to {high:+.3f}", f"joint r {so['joint']:.3f}",
        f"ridge r {so['ridge']:.3f}", f"null 95 % {so['null_band'][0]:.3f} to {so['null_band'][2]:.3f}",
        f"{so['null_members']} members", f"{so['volumes']} volumes",
    ):  # fmt: skip
        assert shown in headline
    assert f"joint r {so['joint']:.3f}, ridge r {so['ridge']:.3f}, null {so['null_band'][0]:.3f}" in said(
        watch, "scores"
    )
    passed = sum(p < 0.05 for p in so["region_p_fwe"])
    strongest = ", ".join(f"{r:.3f}" for r in sorted(so["region_joint"], reverse=True))
    assert said(watch, "regions") == (
        f"regions: {passed} of {len(so['region_joint'])} regions pass r {so['threshold_fwe']:.3f}; joint r {strongest}"
    )
    found = fold["retrieval"]
    assert said(watch, "retrieval") == (
        f"retrieval: {found['top_one']:.2f} found by the embedding, {found['ridge']:.2f} by the ridge, "
        f"{found['chance']:.2f} by chance"
    )
    assert kept["started"]["lags_s"][3] == 6
    for head, weights in fold["lag_weight"].items():
        mean = (weights[3] + earlier["lag_weight"][head][3]) / 2
        assert f"{mean:.3f} at 6 s" in said(watch, "lags").partition(f"near {head}:")[2]
    test = kept["started"]["split"]["folds"][1]["test"]
    assert f"predicted volumes of {', '.join(f'{run} {first} to {last}' for run, first, last in test)};" in said(
        watch, "split"
    )
    assert f"step {kept['step']['step']} of {kept['step']['steps']}" in said(watch, "losses")


def test_training__every_chart_is_drawn_and_answers_to_mouse_and_keyboard(watch):
    for canvas in CHARTS:
        assert watch.evaluate(COLOURS, f"{WIDGET} .mm-{canvas}") > 8, f"{canvas} is blank"
    press(watch, "c")
    assert attribute(watch, "colour") == "run"
    click(watch, "embedding", 0.5, 0.5)
    assert attribute(watch, "colour") == "condition"
    press(watch, "ArrowUp")
    assert attribute(watch, "fold") == "0"
    press(watch, "ArrowDown")
    assert attribute(watch, "fold") == "1"
    click(watch, "split", 0.6, 0.5)
    assert attribute(watch, "fold") == "0"
    status = watch.locator(f"{WIDGET} .mm-status")
    press(watch, "ArrowRight", "ArrowRight", "ArrowLeft")
    first = status.inner_text()
    assert "joint r" in first
    click(watch, "regions", 0.9, 0.5)
    assert status.inner_text() != first
    press(watch, "e")
    assert watch.evaluate("() => document.activeElement.name") == "session"
    watch.keyboard.press("Escape")
    assert watch.evaluate(f"() => document.activeElement === document.querySelector('{WIDGET}')")


def test_watch_run__is_alive_beside_the_cell_that_learns(page, study):
    page.goto(page.address.format("learn.ipynb") + "&reset")  # no tabs of other tests
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.wait_for_function(laboratory.KERNEL_IS_THERE, timeout=90_000)
    page.evaluate(f"() => void ({laboratory.RUN_ALL})()")
    page.wait_for_selector(WIDGET, timeout=90_000)
    assert page.locator(f"{WIDGET} form, {WIDGET} [data-act=start]:visible").count() == 0
    until(page, "folds", "1")
    press(page, "x")
    until(page, "state", "stopped")
    wait(lambda: len(page.evaluate(laboratory.OUTPUTS)[0]) == 2)
    ((picture, error),) = page.evaluate(laboratory.OUTPUTS)
    assert picture["data"]["image/png"]  # what stays when the kernel is gone
    assert (error["output_type"], error["ename"]) == ("error", "PreemptedError")
    assert events(study / "notebooks" / "learned")[-1]["event"] == "stopped"


def test_training__in_batch_is_a_picture(study, monkeypatch):
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    still = mm.watch_training(str(study / "bids"), study="s", root=str(study / "store"))
    assert still.png.startswith(b"\x89PNG")
    assert np.asarray(Image.open(io.BytesIO(still.png)).convert("L"), float).std() > 10
