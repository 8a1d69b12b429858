"""People at work on one hub, in real browsers: a server shared until its owner withdraws it, one notebook typed by two,
notebooks from git, the folder that all see."""

import subprocess
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import nbformat
import pytest
from hubs import free_ports
from nbformat import v4

pytestmark = pytest.mark.platform

CELL = ".jp-Notebook .cm-content:visible"  # JupyterLab keeps other notebooks open, out of sight
SOCKET = """async (kernels) => {
  const { token } = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const [kernel] = await (await fetch(kernels, { headers: { Authorization: `token ${token}` } })).json();
  const place = `${location.origin.replace("http", "ws")}${kernels}/${kernel.id}/channels?token=${token}`;
  const socket = new WebSocket(place);
  socket.onclose = (ended) => { window.ended = ended.code; };
  await new Promise((opened) => { socket.onopen = opened; });
}"""
"""A kernel's socket beside the Lab's own, as any program of a guest could hold one."""


def _sockets(page, hub) -> int:
    """How many hold the kernel of the server."""
    (kernel,) = page.context.request.get(f"{hub.url}/user/alice/api/kernels").json()
    return kernel["connections"]


def _notebook(folder, name: str):
    folder.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    cells = [v4.new_code_cell("21 * 2")]
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / name)


def _open_sharing(page, name="shared.ipynb"):
    page.wait_for_selector(f".lm-TabBar-tab.jp-mod-current:has-text('{name}')")  # Lab first shows what was open before
    page.wait_for_selector(CELL)
    page.click("#multimap-share button, #multimap-share jp-button")
    return page.locator(".jp-Dialog-content")


def _link(dialog) -> str:
    dialog.get_by_text("Make a link").click()
    dialog.locator("input:visible").wait_for()
    return dialog.locator("input").input_value()


def _accept(page, link: str):
    page.goto(link)
    page.click("text=Accept invitation")
    page.click("button:has-text('Authorize')")
    page.wait_for_selector(CELL)


def test_button__lets_a_guest_work_as_the_owner_until_it_is_withdrawn(hub, person, tmp_path):
    hub.start("alice")
    _notebook(hub.folder / "home" / "alice", "shared.ipynb")
    alice, bob, eve = (person(user, "/user/alice/lab/tree/shared.ipynb") for user in ("alice", "bob", "eve"))
    for stranger in (bob, eve):
        answer = stranger.goto(f"{hub.url}/user/alice/lab")
        stranger.screenshot(path=tmp_path / "refused.png")
        assert (answer.status, "alice" in stranger.inner_text("body")) == (403, True)
    dialog = _open_sharing(alice)
    assert "runs code as you" in dialog.inner_text()
    dialog.get_by_text("Nobody else can work here.").wait_for()
    link = _link(dialog)
    alice.screenshot(path=tmp_path / "made.png")
    assert "The link opens shared.ipynb" in dialog.inner_text()
    assert "1 link can still be used" in dialog.inner_text()
    page_config = "JSON.parse(document.getElementById('jupyter-config-data').textContent)"
    assert alice.evaluate(f"{page_config}.disableRTC") is True  # an own server is no collaborative one

    _accept(bob, link)
    assert bob.url.endswith("/user/alice/lab/tree/shared.ipynb")
    assert bob.inner_text("#multimap-guest") == "You work as alice"
    assert bob.locator("#multimap-share").count() == 0
    bob.click(CELL)
    bob.keyboard.press("Shift+Enter")
    bob.wait_for_selector(".jp-OutputArea-output:has-text('42')")
    bob.screenshot(path=tmp_path / "guest.png")
    own = bob.context.request.get(f"{hub.url}/user/alice/multimap/sharing")
    assert (own.status, own.json()["message"]) == (403, "Only alice can share this server.")
    assert eve.goto(f"{hub.url}/user/alice/lab").status == 403

    alone = _sockets(alice, hub)
    bob.evaluate(SOCKET, "/user/alice/api/kernels")
    assert _sockets(alice, hub) == alone + 1
    alice.keyboard.press("Escape")
    dialog = _open_sharing(alice)
    dialog.get_by_text("Works here as you: bob.").wait_for()
    dialog.get_by_text("Withdraw from everybody").click()
    dialog.get_by_text("Nobody else can work here.").wait_for()
    begun = time.monotonic()
    files = f"{hub.url}/user/alice/api/contents"
    while bob.context.request.get(files).status != 403 or _sockets(alice, hub) >= alone:
        assert time.monotonic() - begun < 10
        time.sleep(0.25)
    assert bob.evaluate("window.ended") == 1008  # a socket is one request that lasts
    assert bob.context.request.get(link).status == 404
    alice.screenshot(path=tmp_path / "withdrawn.png")
    hub.stop("alice")


def test_collaborative_server__shows_each_what_the_other_types(hub, person, tmp_path):
    hub.start("alice", "collaborative")
    _notebook(hub.folder / "home" / "alice", "together.ipynb")
    place = "/user/alice/collaborative/lab/tree/together.ipynb"
    alice, bob = person("alice", place), person("bob", "/hub/home")
    _accept(bob, _link(_open_sharing(alice, "together.ipynb")))
    assert bob.url.endswith(place)
    alice.click(".jp-Dialog-footer button")
    for page, other, words in ((alice, bob, " # alice was here"), (bob, alice, " # and bob")):
        page.click(CELL)
        page.keyboard.press("End")
        page.keyboard.type(words)
        other.wait_for_selector(f"{CELL}:has-text('{words.strip()}')")
    bob.screenshot(path=tmp_path / "together.png")
    file = hub.folder / "home" / "alice" / "together.ipynb"
    hub.wait(lambda: "21 * 2 # alice was here # and bob" in file.read_text(), "both edits in the file", 60)
    hub.stop("alice", "collaborative")


@contextmanager
def _served_by_git(folder):
    """A repository with one notebook, as any server of git gives it out."""
    work = folder / "work"
    _notebook(work, "report.ipynb")
    who = ["-c", "user.name=lab", "-c", "user.email=lab@example.org"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        [*who, "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", *command], cwd=work, check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", work, folder / "analyses"], check=True)
    port = free_ports()
    where = ["--listen=127.0.0.1", f"--port={port}", f"--base-path={folder}", "--export-all", "--reuseaddr"]
    server = subprocess.Popen(["git", "daemon", *where, folder])
    try:
        yield f"git://127.0.0.1:{port}/analyses"
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_git_link__brings_a_notebook_into_the_readers_own_lab(hub, person, tmp_path):
    (hub.folder / "shared" / "protocol.txt").write_text("scan first")
    with _served_by_git(tmp_path) as repository:
        asked = urlencode({"repo": repository, "branch": "main", "urlpath": "lab/tree/analyses/report.ipynb"})
        page = person("bob", f"/hub/user-redirect/git-pull?{asked}")
        page.wait_for_url("**/user/bob/lab/tree/analyses/report.ipynb")
    page.wait_for_selector(f"{CELL}:has-text('21 * 2')")
    assert (hub.folder / "home" / "bob" / "analyses" / "report.ipynb").exists()
    page.goto(f"{hub.url}/user/bob/lab/tree/shared/protocol.txt")
    page.wait_for_selector(".jp-FileEditor .cm-content:has-text('scan first')")
    page.screenshot(path=tmp_path / "shared.png")
