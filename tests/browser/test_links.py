"""A link on a laptop: made with a verb, served by `multimap lab` when the kernel is gone, opened in a real browser."""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import planted
import pytest
from pages import READY, warm_pixels

from multimap_kernel.share.links import list_links, revoke_link, share
from multimap_kernel.share.routes import CLIENT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("laptop") / "store"


@pytest.fixture(scope="module")
def lab(store):
    """`multimap lab` under a prefix, its token and port given by its own configuration; gives address and token."""
    assert (CLIENT / "index.html").exists(), "the client of links must be there; make it with: make client"
    folder, token = store.parent, secrets.token_hex()
    server = {"port": 0, "base_url": "/some/prefix/", "open_browser": False}
    (folder / "config").mkdir()
    settings = {"ServerApp": server, "IdentityProvider": {"token": token}}
    (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(settings))
    private = {f"JUPYTER_{name.upper()}_DIR": str(folder / name) for name in ("config", "data", "runtime")}
    command = [sys.executable, "-m", "multimap_kernel", "lab", str(folder), "--store", str(store)]
    with (
        (folder / "lab.log").open("wb") as log,
        subprocess.Popen(command, env={**os.environ, **private}, stdout=log, stderr=log) as running,
    ):
        try:
            yield _address(running, folder / "runtime"), token
        finally:
            _end(folder / "runtime")
            running.wait(timeout=60)


def _address(running, runtime: Path) -> str:
    for _ in range(3000):
        for found in runtime.glob("jpserver-*.json"):
            with suppress(json.JSONDecodeError):  # the file is there a moment before it holds something
                return json.loads(found.read_text())["url"]
        assert running.poll() is None, "multimap lab ended; see lab.log"
        time.sleep(0.1)
    raise AssertionError("multimap lab must write where it listens within 300 s")


def _end(runtime: Path) -> None:
    """The command waits for the server that it started; only that one is ended."""
    for found in runtime.glob("jpserver-*.json"):
        os.kill(json.loads(found.read_text())["pid"], 15)


def test_link__maps_are_served_under_the_token_of_the_lab(lab, store, chromium, tmp_path):
    address, token = lab
    begun = time.monotonic()
    made = share(planted.activation(), anatomy=planted.anatomy(), title="Hand <b>", store=str(store))
    assert share(planted.activation(), anatomy=planted.anatomy(), store=str(store)).url == made.url
    assert made.identifier in [one.identifier for one in list_links(store=str(store))]
    end = made.url.rsplit("/", 1)[-1]
    url = f"{address}multimap/s/{end}"
    seconds = time.monotonic() - begun

    stranger = chromium.new_context().request
    assert stranger.get(f"{address}multimap/data/{end}/viewer.zarr/zarr.json").status == 401
    assert stranger.get(f"{address}multimap/state/{end}").status == 401

    context = chromium.new_context(viewport={"width": 1400, "height": 760})
    page = context.new_page()
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("response", lambda answer: noise.append((answer.status, answer.url)) if answer.status >= 400 else None)
    page.set_default_timeout(180_000)
    page.goto(f"{url}?token={token}")
    assert page.title() == "Hand <b>"
    inner = page.wait_for_selector("#inner:not([hidden])").content_frame()
    inner.wait_for_selector("#where", state="attached")
    inner.wait_for_function(READY, timeout=180_000)
    page.wait_for_timeout(500)
    assert warm_pixels(page.screenshot(path=tmp_path / "link.png"), top=150) > 300
    assert [one for one in noise if not str(one).count("zarr.json")] == []
    assert inner.locator("#map option").count() == 4

    ask = context.request.get
    chunk = f"{address}multimap/data/{end}/viewer.zarr/activation-hand-BOLD/c/0/0/0"
    whole = ask(chunk)
    part = ask(chunk, headers={"Range": "bytes=10-19"})
    assert (whole.status, part.status, part.body()) == (200, 206, whole.body()[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.body())}"
    assert ask(chunk, headers={"Range": "bytes=999999999-"}).status == 416
    assert ask(chunk, headers={"Sec-Fetch-Site": "cross-site"}).status == 401
    data = f"{address}multimap/data/{end}/"
    assert _status(f"{data}viewer.zarr/zarr.json", token) == 200
    for path in ("layers.json", "viewer.zarr/../layers.json", "viewer.zarr/%2e%2e/layers.json", "/etc/passwd"):
        assert _status(data + path, token) == 404
    (next(store.glob("shared/*/viewer.zarr/activation-hand-EEG/c/0/0/0"))).unlink()
    assert ask(f"{address}multimap/data/{end}/viewer.zarr/activation-hand-EEG/c/0/0/0").status == 500

    forged = page.goto(f"{address}multimap/s/{'0' * 32}")
    assert (forged.status, "There is no such link" in page.inner_text("body")) == (401, True)
    revoke_link(made.identifier, store=str(store))
    _until_refused(page, url)
    assert "withdrew this link" in page.inner_text("body")
    assert ask(chunk).status == 401
    print(f"link made in {seconds:.1f} s")
    context.close()


def test_link__damaged_data_are_told_before_an_empty_map_is_drawn(lab, store, chromium):
    address, token = lab
    made = share(planted.coupling(), store=str(store))
    context = chromium.new_context()
    page = context.new_page()
    (next(store.glob("shared/*/viewer.zarr/coupling-alpha/c/0/0/0"))).unlink()
    page.set_default_timeout(180_000)
    page.goto(f"{address}multimap/s/{made.url.rsplit('/', 1)[-1]}?token={token}")
    page.wait_for_selector("#state.fault")
    assert "damaged or gone" in page.inner_text("#state")
    assert page.locator("#inner").is_hidden()
    context.close()


def _status(url: str, token: str) -> int:
    """Of an address that is sent as it is; a browser would walk its dots first."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"token {token}"})) as answer:
            return answer.status
    except urllib.error.HTTPError as fault:
        fault.close()
        return fault.code


def _until_refused(page, url: str) -> None:
    begun = time.monotonic()
    while page.goto(url).status != 401:
        assert time.monotonic() - begun < 10, "a withdrawn link must end within 10 s"
        time.sleep(0.5)
