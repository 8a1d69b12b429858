"""The session browser in a real JupyterLab, by keyboard and by mouse, on a study whose line really runs."""

import subprocess
import sys
from pathlib import Path

import ipywidgets
import nbformat
import pytest
from faulty import damage
from laboratory import THEME, run_all, started
from pages import READY

import multimap_kernel as mm
from multimap_kernel.simulate import simulate_session

pytestmark = pytest.mark.browser

REPORT = Path(__file__).parents[2] / "notebooks" / "session_report.ipynb"
RECIPE = (
    "{ingest: {eeg_state: clean}, realign: {backend: none}, normalise: {space: native}, clean_eeg: {lowpass_hz: 45}}"
)
SHOW = """
import multimap_kernel as mm

runtime = mm.Runtime(store={store!r}, cluster=mm.Cluster(kind="threads"))
browser = mm.browse_sessions({bids!r}, study="mine", recipe=mm.Recipe.load({recipe!r}), runtime=runtime)
browser
"""
STATES = """(row) => [...document.querySelectorAll(".multimap-sessions tr")][row]
  .innerText.split("\\t").slice(1, 11)"""
FOCUSED = "document.activeElement.dataset.does || ''"
DRAWN = "Number(document.querySelector('.multimap-alignment')?.dataset.drawn) > 0"
VIEWER = "iframe[title='multimap viewer']"
ASK = """async () => {
  const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  await kernel.requestExecute({code: "1 + 1"}).done;
}"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three sessions: the first run in batch from its notebook, the others not at all; the third has no markers."""
    folder = tmp_path_factory.mktemp("browsed")
    for subject in ("01", "02", "03"):
        simulate_session(folder / "bids", subject=subject, size="tiny", artifacts=False)
    damage(folder / "bids" / "sub-03", "no markers")
    (folder / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "multimap_kernel", "batch", str(REPORT), str(folder / "bids"), "--study", "mine"]
    command += ["--recipe", str(folder / "recipe.yaml"), "--store", str(folder / "store"), "--jobs", "1"]
    command += ["--sessions", "sub-01_task-flicker"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    text = SHOW.format(bids=str(folder / "bids"), store=str(folder / "store"), recipe=str(folder / "recipe.yaml"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip())])
    notebook.metadata.kernelspec = {"name": "multimap", "display_name": "multimap", "language": "python"}
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "sessions.ipynb")
    return folder


@pytest.fixture
def asked(study):
    """What `browse_sessions` and `session_states` are asked with."""
    return str(study / "bids"), {
        "study": "mine",
        "recipe": mm.Recipe.load(study / "recipe.yaml"),
        "runtime": mm.Runtime(store=str(study / "store"), cluster=mm.Cluster(kind="threads")),
    }


def test_browse_sessions__in_batch_is_a_table_without_a_kernel(asked, monkeypatch):
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    bids, given = asked
    shown = mm.browse_sessions(bids, **given)
    assert not isinstance(shown, ipywidgets.Widget)
    assert [set(one.steps.values()) for one in shown.states] == [{"done"}, {"missing"}, {"missing"}]
    page = shown._repr_html_()
    assert (page.count(">done</td>"), page.count(">missing</td>")) == (10, 20)
    assert "<script" not in page


def test_browse_sessions__starts_only_what_is_missing(asked):
    bids, given = asked
    with pytest.raises(mm.InputError, match="nothing to start"):
        mm.browse_sessions(bids, **given).start("sub-01_task-flicker")


def test_browse_sessions__opens_and_starts_by_keyboard_and_by_mouse(study, asked, chromium, tmp_path):
    page = chromium.new_page(viewport={"width": 1600, "height": 1150})
    page.set_default_timeout(120_000)
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
    with started(tmp_path, study / "notebooks", study / "store") as address:
        run_all(page, address.format("sessions.ipynb"))
        page.wait_for_selector(".multimap-sessions td.mm-done")
        assert page.evaluate(STATES, 1) == ["done"] * 10
        assert page.evaluate(STATES, 2) == ["missing"] * 10
        opens_by_mouse(page, tmp_path)
        starts_by_mouse_what_then_fails(page)
        opens_by_keyboard(page)
        starts_by_keyboard(page, tmp_path)
        page.close()  # before its server goes, for which Lab would look
    assert noise == []
    bids, given = asked
    states = mm.session_states(bids, **given)
    assert [set(one.steps.values()) for one in states[:2]] == [{"done"}] * 2
    assert (states[2].steps["ingest"], states[2].steps["align"]) == ("done", "missing")  # nobody knows of a failure now


def opens_by_mouse(page, folder):
    """The first session: its alignment, where a decision makes steps stale at once, its notebook and its maps."""
    row = page.locator(".multimap-sessions tr").nth(1)
    row.locator("td").nth(1).click()  # align
    page.wait_for_function(f"() => {DRAWN}")
    for theme in ("Dark", "Light"):
        page.evaluate(THEME, f"JupyterLab {theme}")
        page.wait_for_timeout(700)
        page.screenshot(path=folder / f"alignment-{theme.lower()}.png")
    page.locator(".multimap-alignment").focus()
    page.keyboard.press("c")  # the channel is bad
    page.keyboard.press("Enter")
    row.locator("td.mm-stale").first.wait_for()
    assert page.evaluate(STATES, 1)[:2] == ["done", "done"]
    page.keyboard.press("u")
    row.locator("td.mm-stale").first.wait_for(state="detached")

    row.locator("td[title^='open the executed notebook']").click()
    report = page.frame_locator("iframe[title^='executed notebook']").locator("h1").first
    report.wait_for()
    assert "One session, from raw data to maps" in report.inner_text()

    row.locator("td").nth(8).click()  # map
    assert "voxel" in viewer(page).content()
    page.screenshot(path=folder / "maps.png")


def starts_by_mouse_what_then_fails(page):
    """The third session: it stops at its alignment, where that is seen; excluded and taken back by who looks."""
    row = page.locator(".multimap-sessions tr").nth(3)
    align = row.locator("td").nth(1)
    row.get_by_text("▶ start").click()
    row.locator("td.mm-failed").wait_for(timeout=300_000)
    assert page.evaluate(STATES, 3)[:2] == ["done", "failed"]
    assert "add the scanner's markers" in row.inner_text()
    align.click()
    page.wait_for_function(f"() => {DRAWN} && document.querySelector('.mm-verdict').textContent === 'no alignment'")
    page.locator(".multimap-alignment").focus()
    page.keyboard.press("x")
    page.keyboard.type("no markers were recorded")
    page.keyboard.press("Enter")
    page.wait_for_function(f"row => ({STATES})(row).every(state => state === 'excluded')", arg=3)
    page.eval_on_selector(".multimap-alignment", "shown => shown.dataset.before = true")
    align.click()
    page.wait_for_selector(".multimap-alignment:not([data-before]) [data-fate='exclude']")  # the one opened anew
    page.locator(".multimap-alignment").focus()
    page.keyboard.press("u")
    row.locator("td.mm-excluded").first.wait_for(state="detached")


def opens_by_keyboard(page):
    """The first session again: its maps and its notebook."""
    page.locator(".multimap-sessions td[tabindex='0']").focus()
    for key in ("ArrowUp", "ArrowUp", "Home", *["ArrowRight"] * 9):
        page.keyboard.press(key)
    assert '"maps"' in page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    viewer(page)
    page.locator(".multimap-sessions td[tabindex='0']").focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    assert '"notebook"' in page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    page.wait_for_selector("iframe[title='executed notebook of sub-01_task-flicker']")


def starts_by_keyboard(page, folder):
    """The second session: all of it is missing and made, and the kernel stays free."""
    page.locator(".multimap-sessions td[tabindex='0']").focus()
    for key in ("ArrowDown", "End"):
        page.keyboard.press(key)
    assert '"start"' in page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    page.wait_for_selector(".multimap-sessions td.mm-running")
    page.evaluate(ASK)
    assert "running" in page.evaluate(STATES, 2), "the kernel must answer while the line runs"
    page.screenshot(path=folder / "running.png")
    page.wait_for_function(f"row => ({STATES})(row).every(state => state === 'done')", arg=2, timeout=600_000)


def viewer(page):
    """The frame of the viewer's page, all of its layers drawn."""
    page.wait_for_selector(VIEWER)
    page.locator(VIEWER).scroll_into_view_if_needed()
    frame = page.query_selector(VIEWER).content_frame()
    frame.wait_for_selector("#viewer")
    frame.wait_for_function(READY)
    return frame
