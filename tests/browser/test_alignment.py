"""The alignment widget in a real JupyterLab: each decision by mouse and by keys, and what a run makes of it."""

import io
import json
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from laboratory import RUN_ALL, run_all, started
from pages import READY
from PIL import Image

import multimap_kernel as mm
from multimap_kernel.io.store import walk_keys
from multimap_kernel.simulate import simulate_session

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "align_qc.ipynb"
SESSION = "sub-01_task-flicker"
RECIPE = mm.Recipe.parse({"clean_eeg": {"pulse": {"window": 11}}, "normalise": {"space": "native"}})
KERNEL = "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel"
EXECUTE = f"""(code) => {{
  window.ended = false;
  {KERNEL}.requestExecute({{ code }}).done.then(() => {{ window.ended = true; }});
}}"""

STATUS = "document.querySelector('.multimap-alignment .mm-status').textContent"
PICKED = "document.querySelector('.multimap-alignment').dataset.picked"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tiny session, run up to its features; one deleted or inserted marker is still repaired."""
    folder = tmp_path_factory.mktemp("decided")
    simulate_session(folder / "bids", size="tiny")
    runtime = mm.Runtime(store=str(folder / "store"), cluster=mm.Cluster(kind="threads"))
    given = {"study": "demo", "recipe": RECIPE, "runtime": runtime, "upto": "features"}
    (result,) = mm.run(str(folder / "bids"), **given)
    result.require_done()
    return folder, given, mm.Store(runtime.store, "demo")


@pytest.fixture(scope="module")
def page(study, chromium, tmp_path_factory):
    """The notebook, run in Lab; a complaint of the page is an error."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, folder / "notebooks")
    context = chromium.new_context(viewport={"width": 1400, "height": 1500})
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    with started(folder, folder / "notebooks", study[0] / "store") as address:
        run_all(page, address.format(NOTEBOOK.name))
        page.folder = folder
        yield page
        context.close()
    assert complaints == []


@pytest.fixture
def widget(page):
    widget = page.locator(".multimap-alignment")
    widget.wait_for()
    page.wait_for_function("() => Number(document.querySelector('.multimap-alignment').dataset.drawn) > 0")
    widget.focus()
    return widget


def after(page, name, act):
    """Act, and wait until the widget counts one more of what it names."""
    was = page.locator(".multimap-alignment").get_attribute(f"data-{name}")
    act()
    page.wait_for_function(
        f"(was) => document.querySelector('.multimap-alignment').dataset.{name} !== (was ?? undefined)", arg=was
    )


def last(store):
    return mm.history(store, SESSION)[-1]


def commits(store):
    return {key: store.commit(place, key) for place, key in walk_keys(store)}


def clock(store):
    commit = max(
        (store.commit(place, key) for place, key in walk_keys(store) if place.endswith("/align")),
        key=lambda record: record["created"],
    )
    return mm.Alignment.from_json(commit["values"]["alignment"])


ACTIONS = [  # action, key, what is typed (empty: what the form proposes)
    ("accept", "a", ""),
    ("shift", "s", "4"),
    ("repetition_time", "t", "2.0"),
    ("first_volume", "f", "0"),
    ("drop_marker", "d", ""),
    ("add_marker", "i", ""),
    ("marker", "m", ""),
    ("bad_channel", "c", ""),
    ("bad_span", "b", "20:24"),
    ("exclude", "x", ""),
]

JUDGED = {"shift", "repetition_time", "first_volume", "drop_marker", "add_marker", "marker"}


def check_value(action, value, aligned, at, within=3e-4):
    """What is stored, in s of the EEG clock, from the numbers that were typed and the places of the cursor."""
    if action in {"drop_marker", "add_marker", "bad_span"}:
        given = [float(part) for part in value.split(":")]
        found = [aligned.scanner_time(part) for part in given]
        expected = {"bad_span": [20.0, 24.0]}.get(action, [at])
        np.testing.assert_allclose(found, expected, atol=within if action == "add_marker" else 3e-4)  # a sample
    else:
        expected = {"shift": "0.004", "repetition_time": "2.0", "first_volume": "0", "marker": "R128"}
        assert value == {**expected, "bad_channel": "Fp2"}.get(action, "")


@pytest.mark.parametrize(("action", "key", "typed"), ACTIONS)
def test_widget__decides_by_keys_alone_and_takes_it_back(study, page, widget, action, key, typed):
    _, _, store = study
    before = widget.locator(".mm-facts").inner_text()
    for stroke in ("Home", *["ArrowRight"] * 5, "ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown", key):
        page.keyboard.press(stroke)  # the cursor at 10 s, the second channel
    if typed:
        page.keyboard.type(typed)
    if action not in {"accept", "exclude"}:
        page.keyboard.press("Tab")
    page.keyboard.type("because")
    after(page, "decided", lambda: page.keyboard.press("Enter"))
    made = last(store)
    assert (made.action, made.reason) == (action, "because")
    check_value(action, made.value, clock(store), 10.0)
    assert widget.locator(".mm-decisions li").first.get_attribute("data-state") == "held"
    assert "residual rms" in widget.locator(".mm-effect").inner_text()
    after(page, "decided", lambda: page.keyboard.press("u"))
    assert (last(store).action, last(store).supersedes) == ("undo", made.identifier)
    assert widget.locator(".mm-facts").inner_text() == before


@pytest.mark.parametrize(("action", "key", "typed"), ACTIONS)
def test_widget__decides_by_mouse_alone_and_takes_it_back(study, page, widget, action, key, typed):
    """Keys only fill in texts: the rest is pointed at."""
    _, _, store = study
    known = len(mm.history(store, SESSION))
    point_at(page, widget, seconds=10.0, row=1)
    widget.locator(f"button[data-action={action}]").click()
    form = widget.locator(".mm-form")
    if typed:
        form.locator("[name=value]").fill(typed)
    form.locator("[name=reason]").fill("pointed at")
    if action in JUDGED:
        page.wait_for_function("() => document.querySelector('.mm-effect').textContent.includes('→')")
        assert len(mm.history(store, SESSION)) == known, "the effect must be shown before anything is saved"
    after(page, "decided", lambda: form.locator(".mm-save").click())
    made = last(store)
    assert (made.action, made.reason) == (action, "pointed at")
    check_value(action, made.value, clock(store), 10.0, within=0.2)  # a pixel is 0.1 s
    after(page, "decided", lambda: widget.locator(f"li[data-identifier='{made.identifier}'] button").click())
    assert last(store).supersedes == made.identifier


def point_at(page, widget, *, seconds, row):
    """Click into the time line, and then on a row of the traces where that time is."""
    line = widget.locator(".mm-timeline")
    box = line.bounding_box()
    begin, end = json.loads(widget.get_attribute("data-span"))
    left, width = 104, box["width"] - 118
    line.click(position={"x": left + (seconds - begin) / (end - begin) * width, "y": 60})
    page.keyboard.press("Escape")
    traces = widget.locator(".mm-traces")
    height = traces.bounding_box()["height"] - 40
    traces.click(position={"x": left + width / 2, "y": 18 + height * (row + 0.5) / 9})  # 8 electrodes and the ECG


def test_widget__residual_follows_at_once_and_a_run_obeys(study, page, widget):
    folder, given, store = study
    before = commits(store)
    page.keyboard.press("s")
    page.keyboard.type("4")
    page.wait_for_function("() => document.querySelector('.mm-effect').textContent.includes('→ 4')")  # not saved yet
    assert last(store).action == "undo"
    page.keyboard.press("Tab")
    page.keyboard.type("the trigger is late")
    after(page, "decided", lambda: page.keyboard.press("Enter"))
    made = last(store)
    assert "The next run computes or finds again: align, clean_eeg, features" in widget.inner_text()
    (result,) = mm.run(str(folder / "bids"), **given)
    result.require_done()
    new = [record for key, record in commits(store).items() if key not in before]
    assert {record["step"] for record in new} == {"align", "clean_eeg", "features"}
    (aligned,) = [record for record in new if record["step"] == "align"]
    assert aligned["decisions"] == [made.identifier]
    assert "the trigger is late" in aligned["values"]["alignment"]["reasons"][-1]
    residual = [one for one in aligned["values"]["alignment"]["residual_s"] if one is not None]
    assert np.median(residual) == pytest.approx(-0.004, abs=2e-4)  # markers are known to a sample

    after(page, "decided", lambda: page.keyboard.press("u"))
    kept = commits(store)
    (result,) = mm.run(str(folder / "bids"), **given)
    assert result.computed == 0
    assert commits(store) == kept


def test_widget__refuses_with_a_sentence_and_saves_nothing(study, page, widget):
    _, _, store = study
    known = len(mm.history(store, SESSION))
    page.keyboard.press("t")
    page.keyboard.type("-2")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.mm-effect').textContent.includes('above 0 and below 100')")
    assert len(mm.history(store, SESSION)) == known


def test_widget__draws_the_eeg_before_and_after_cleaning(page, widget):
    seen = {}
    for mode in ("both", "before", "after"):
        picture = Image.open(io.BytesIO(widget.locator(".mm-traces").screenshot())).convert("RGB")
        rows = np.asarray(picture, int)[20:-24, 106:-16]
        red, green, blue = np.moveaxis(rows, -1, 0)
        grey, coloured = (np.ptp(rows, axis=-1) < 8) & (red < 235), (blue > green + 20) & (blue > red + 90)
        seen[mode] = grey.mean(), coloured.mean()
        after(page, "drawn", lambda: page.keyboard.press("o"))
    grey, coloured = (dict(zip(seen, part, strict=True)) for part in zip(*seen.values(), strict=True))
    assert min(grey["both"], grey["before"]) > 0.3, "the gradient artifact fills the rows"
    assert min(coloured["both"], coloured["after"]) > 0.02, "the clean traces are lines"
    assert coloured["before"] == 0
    assert grey["after"] < 0.1


def test_widget__answers_while_a_cell_runs(page, widget):
    page.evaluate(EXECUTE, "import time; time.sleep(60)")
    for key in ("+", "-", "PageDown"):
        after(page, "answered", lambda pressed=key: page.keyboard.press(pressed))
    assert not page.evaluate("() => window.ended")  # the kernel's status is of no use: each answer sets it to idle
    page.evaluate(f"() => {KERNEL}.interrupt()")
    page.wait_for_function("() => window.ended")


def test_widget__says_what_it_waits_for(page, widget):
    told = page.folder / "kernel"
    page.evaluate(EXECUTE, f"import os, pathlib; pathlib.Path({str(told)!r}).write_text(str(os.getpid()))")
    page.wait_for_function("() => window.ended")
    kernel = int(told.read_text())
    os.kill(kernel, signal.SIGSTOP)
    try:
        page.keyboard.press("+")
        page.wait_for_function(f"() => {STATUS} === 'waiting for the kernel: this stretch of EEG'")
    finally:
        os.kill(kernel, signal.SIGCONT)
    page.wait_for_function(f"() => {STATUS} === ''")


def test_widget__picked_time_and_the_viewer_follow_each_other(study, page, widget):
    _, _, store = study
    show = f"""
import pathlib, traitlets
tree = mm.open_session({store.root!r}, "demo", session)
moment = mm.PickedTime(time=30.0)
traitlets.link((moment, "time"), (widget, "picked"))
shown = mm.show(volumes=tree["normalise"].to_dataset(), picked=moment)
pathlib.Path({str(page.folder / "viewer")!r}).write_text(shown.url)
"""
    page.evaluate(EXECUTE, show)
    page.wait_for_function("() => window.ended", timeout=90_000)
    page.wait_for_function(f"() => {PICKED} === '30'")
    viewer = page.context.new_page()
    viewer.goto(urljoin(page.url, (page.folder / "viewer").read_text()))
    viewer.wait_for_function(READY, timeout=90_000)
    viewer.wait_for_function("() => document.querySelector('#time').textContent.startsWith('volume 15 ')")
    widget.press("ArrowRight")  # a volume of 2 s
    viewer.wait_for_function("() => document.querySelector('#time').textContent.startsWith('volume 16 ')")
    viewer.click("#after")
    page.wait_for_function(f"() => {PICKED} === '35'")  # the middle of volume 17
    viewer.close()


def test_widget__is_as_it_was_after_the_kernel_died(study, page, widget):
    _, _, store = study
    page.keyboard.press("c")
    after(page, "decided", lambda: page.keyboard.press("Enter"))
    page.evaluate(f"() => {KERNEL}.restart()")
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => Number(document.querySelector('.multimap-alignment')?.dataset.drawn) > 0")
    assert page.locator(".mm-decisions li[data-state=held]").count() == 1
    page.locator(".multimap-alignment").focus()
    after(page, "decided", lambda: page.keyboard.press("u"))
    assert mm.effective(mm.history(store, SESSION)) == ()
