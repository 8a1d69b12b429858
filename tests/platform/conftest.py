"""One hub for all tests of this folder, and people with browsers of their own."""

import urllib.request

import pytest
from hubs import Hub

from multimap_kernel.share.routes import CLIENT


@pytest.fixture(scope="package")
def hub(tmp_path_factory):
    assert (CLIENT / "index.html").exists(), "the client of links must be there; make it with: make client"
    hub = Hub(tmp_path_factory.mktemp("hub"))
    try:
        hub.wait(lambda: hub.api("GET", "users"), "the hub")
        hub.wait(
            lambda: urllib.request.urlopen(f"{hub.url}/services/viewer/health").status == 200, "the viewer service"
        )
        yield hub
    finally:
        hub.process.terminate()
        hub.process.wait(timeout=60)
        hub.output.close()


@pytest.fixture
def person(hub, chromium):
    """A new browser in which somebody opens an address and logs in when asked."""
    contexts = []

    def open_as(user: str, path: str):
        context = chromium.new_context(viewport={"width": 1400, "height": 760})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(180_000)
        page.goto(f"{hub.url}{path}")
        assert "/hub/login" in page.url
        answers = []
        page.on("response", lambda answer: answers.append((answer.status, answer.url)))
        hub.login(page, user)
        page.wait_for_load_state()
        page.answers = answers
        return page

    yield open_as
    for context in contexts:
        context.close()
