"""A real hub on loopback, two people in one group and one outside: links after their owner's server is gone."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import v4
from pages import READY, warm_pixels

from multimap_kernel.batch.runner import Row, run_batch

pytestmark = pytest.mark.platform

ROOT = Path(__file__).parents[2]
SERVICE = ["-m", "multimap_kernel.share"]
HOSTILE = """<p id="mine">a harmless picture</p><script>
fetch("/hub/api/user", {credentials: "include"}).then((answer) => answer.text())
  .then((text) => { document.title = "READ " + text; });
document.getElementById("mine").textContent = "script ran";
</script><img src="/hub/api/user" onerror="document.title='READ'">"""


SHARE = """
import sys, json
sys.path.insert(0, {tests!r})
import planted
import multimap_kernel as mm
maps, anatomy = planted.activation(), planted.anatomy()
links = [mm.share(maps, anatomy=anatomy, with_=["group:lab"], title="Hand")]
links.append(mm.share(maps, anatomy=anatomy, expires="2s", with_=["user:bob"]))
record = mm.list_runs({runs!r})[0]
links.append(mm.share(record, with_=["group:lab"]))
try:
    mm.share(maps, store="/tmp")
except mm.InputError as fault:
    print("refused:", fault, file=sys.stderr)
print(json.dumps([[one.url, one.identifier] for one in links]))
"""


@pytest.fixture(scope="module")
def links(hub):
    """What alice shared from her server; it is stopped since."""
    hub.api("POST", "users/alice/server")
    runs = _run_of_a_hostile_notebook(hub)  # while her server starts
    hub.wait(lambda: hub.server("alice").get("ready"), "alice's server")
    code = SHARE.format(tests=str(ROOT / "tests"), runs=str(runs))
    command = [sys.executable, "-c", code]
    kernel = hub.environment_of_kernels("alice")
    done = subprocess.run(command, env=kernel, capture_output=True, text=True, cwd=hub.folder, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused: /tmp" in done.stderr
    hub.stop("alice")
    return dict(zip(("maps", "short", "run"), json.loads(done.stdout), strict=True))


def _run_of_a_hostile_notebook(hub) -> Path:
    notebook = hub.folder / "hostile.ipynb"
    cells = [v4.new_code_cell('subject = "01"', metadata={"tags": ["parameters"]})]
    cells.append(v4.new_code_cell(f"from IPython.display import HTML, display\ndisplay(HTML({HOSTILE!r}))"))
    kernel = {"name": "python3", "language": "python", "display_name": "Python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
    runs = hub.folder / "lab" / "study" / "runs"
    (record,) = run_batch(notebook, [Row("sub-01", {"subject": "01"})], runs=runs, run_id="night")
    assert record.status == "done"
    return runs


def _data(url: str) -> str:
    return url.replace("/s/", "/data/") + "/viewer.zarr/activation-hand-BOLD/c/0/0/0"


def test_service__has_the_environment_that_the_chart_gives_it(hub):
    """There the hub does not start it, and cannot say who it is."""
    text = (ROOT / "helm/multimap/templates/viewer/deployment.yaml").read_text()
    given = dict(re.findall(r"{name: (JUPYTERHUB_\w+), value: '?\"?(.+?)'?\"?}$", text, re.MULTILINE))
    (service,) = (
        one for one in psutil.Process(hub.process.pid).children(recursive=True) if one.cmdline()[1:] == SERVICE
    )
    assert {given.pop("JUPYTERHUB_API_URL")[-13:], given.pop("JUPYTERHUB_SERVICE_URL")[-5:]} == {
        ":8081/hub/api",
        ":8080",
    }
    assert len(given) == 5
    assert given.items() <= service.environ().items()


def test_link__opens_for_a_member_after_the_owners_server_is_gone(hub, links, person, tmp_path):
    url, identifier = links["maps"]
    page = person("bob", url)
    inner = page.wait_for_selector("#inner:not([hidden])").content_frame()
    inner.wait_for_selector("#where", state="attached")
    inner.wait_for_function(READY)
    page.wait_for_timeout(500)
    assert warm_pixels(page.screenshot(path=tmp_path / "bob.png"), top=150) > 300
    assert not hub.server("alice")
    assert [one for one in page.answers if one[0] >= 400 and "favicon" not in one[1]] == []
    lines = [json.loads(line[line.index("{") :]) for line in hub.log.read_text().splitlines() if '"share"' in line]
    chunks = [line for line in lines if line["what"] == "data" and "/c/" in line["path"] and line["user"] == "bob"]
    assert len(chunks) > 4
    assert {line["share"] for line in chunks} == {identifier}
    assert url.rsplit("/", 1)[-1] not in "".join(map(json.dumps, lines))


def test_link__is_refused_in_words_and_never_with_403(hub, links, person, chromium):
    url = links["maps"][0]
    anonymous = chromium.new_context().request
    for path in (_data(url), url.replace("/s/", "/state/"), url.replace("/s/", "/view/"), "/services/viewer/shares"):
        assert anonymous.get(hub.url + path).status == 401
    page = person("eve", url)
    assert "This link is not shared with you (eve)" in page.inner_text("body")
    ask = page.context.request.get
    assert ask(hub.url + url).status == 401
    assert ask(hub.url + _data(url)).status == 401
    bob = person("bob", url)
    for wrong, words in ((f"/services/viewer/s/{'0' * 32}", "no such link"), (links["short"][0], "This link ended on")):
        assert bob.goto(hub.url + wrong).status == 401
        assert words in bob.inner_text("body")
        assert bob.context.request.get(hub.url + _data(wrong)).status == 401
    base = url.replace("/s/", "/data/")
    for path in ("/../../../../etc/passwd", "/viewer.zarr/%2e%2e/layers.json", "/viewer.zarr/..%2f..%2fcookie_secret"):
        assert bob.context.request.get(hub.url + base + path).status in {401, 404}
    crossed = bob.context.request.get(hub.url + _data(url), headers={"Sec-Fetch-Site": "cross-site"})
    assert crossed.status == 401
    posted = bob.context.request.post(f"{hub.url}/services/viewer/shares", data={"folder": "lab/shared"})
    assert posted.status == 401  # a cookie makes no share


def test_run__is_read_in_a_sandbox_and_opened_as_a_copy(hub, links, person, tmp_path):
    page = person("bob", links["run"][0])
    inner = page.wait_for_selector("#inner:not([hidden])").content_frame()
    inner.wait_for_selector("#mine")
    page.wait_for_timeout(1000)
    page.screenshot(path=tmp_path / "run.png")
    assert inner.locator("#mine").inner_text() == "a harmless picture"
    assert not inner.title().startswith("READ")
    assert not [one for one in page.answers if "/hub/api/user" in one[1]]
    free = _without_sandbox(page, hub.url + links["run"][0].replace("/s/", "/page/"))
    assert free.inner_text("#mine") == "script ran"  # only the sandbox holds it back
    assert [one for one in free.answers if "/hub/api/user" in one[1]]
    free.close()
    page.click("text=Open a copy in my own Lab")
    page.wait_for_url("**/user/bob/lab/tree/shared-runs/night/**", timeout=400_000)
    copies = list((hub.folder / "home" / "bob" / "shared-runs" / "night").glob("*.ipynb"))
    assert [one.name for one in copies] == ["sub-01_attempt-1.ipynb"]
    assert not hub.server("alice")


def _without_sandbox(page, url: str):
    """The same notebook in the same browser, with the header taken away on its way."""

    def free(route):
        answer = route.fetch()
        kept = {name: text for name, text in answer.headers.items() if name != "content-security-policy"}
        route.fulfill(response=answer, headers=kept)

    other = page.context.new_page()
    other.answers = []
    other.on("response", lambda answer: other.answers.append((answer.status, answer.url)))
    other.route("**/page/*", free)
    other.goto(url)
    other.wait_for_timeout(500)
    return other


def _seconds_until_refused(page, url: str, words: str) -> float:
    begun = time.monotonic()
    while (answer := page.context.request.get(url)).status != 401 or words not in answer.json()["message"]:
        assert time.monotonic() - begun < 30
        time.sleep(0.25)
    return time.monotonic() - begun


def test_link__ends_within_ten_seconds_of_leaving_the_group_and_of_a_revoke(hub, links, person):
    url = links["maps"][0]
    page = person("bob", url)
    data = hub.url + _data(url)
    assert page.context.request.get(data).status == 200
    hub.api("DELETE", "groups/lab/users", {"users": ["bob"]})
    left = _seconds_until_refused(page, data, "not shared with you (bob)")
    hub.api("POST", "groups/lab/users", {"users": ["bob"]})
    hub.api("DELETE", "groups/lab/users", {"users": ["alice"]})
    lost = _seconds_until_refused(page, data, "may not share these data any more")
    hub.api("POST", "groups/lab/users", {"users": ["alice"]})
    hub.wait(lambda: page.context.request.get(data).status == 200, "access after coming back", 15)
    token = hub.api("POST", "users/alice/tokens", {"scopes": ["access:services!service=viewer"]})["token"]
    asked = urllib.request.Request(
        f"{hub.url}/services/viewer/shares/{links['maps'][1]}",
        headers={"Authorization": f"token {token}"},
        method="DELETE",
    )
    assert urllib.request.urlopen(asked).status == 200
    revoked = _seconds_until_refused(page, data, "alice withdrew this link")
    print(f"refused {left:.1f} s after the reader left, {lost:.1f} s after the owner, {revoked:.1f} s after a revoke")
    assert max(left, lost, revoked) < 10
    assert page.goto(hub.url + url).status == 401
    assert "alice withdrew this link" in page.inner_text("body")
