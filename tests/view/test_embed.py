"""Showing maps: what a notebook and a batch run get, and that the viewer listens on loopback only."""

import base64
import io
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import planted
import psutil
import pytest
from PIL import Image

from multimap_kernel.schema import InputError
from multimap_kernel.view.embed import notebook_url, proxied_url, serve, show
from multimap_kernel.view.layers import map_layers


@pytest.fixture
def interactive(monkeypatch):
    monkeypatch.delenv("MULTIMAP_BATCH", raising=False)
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_show__in_a_notebook_gives_frame_picture_and_link(interactive):
    shown = show(planted.activation(), anatomy=planted.anatomy(), link="https://hub.example/s/1?a=1&b=2")
    frame, picture, link = shown.outputs()
    assert f'src="{shown.url}"' in frame["text/html"]
    image = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert image.format == "PNG"
    assert image.width > 900
    assert 'href="https://hub.example/s/1?a=1&amp;b=2"' in link["text/html"]
    assert '"activation-hand-BOLD"' in _read(shown.url)


def test_show__in_batch_gives_picture_and_link_only(monkeypatch):
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    shown = show(planted.activation(), link="/s/1")
    assert [sorted(bundle) for bundle in shown.outputs()] == [["image/png", "text/plain"], ["text/html", "text/plain"]]
    assert shown.url == ""
    assert shown.viewer is None


def test_show__refuses_a_link_that_would_run():
    with pytest.raises(InputError, match="link must be a web address"):
        show(planted.activation(), link="javascript:alert(1)", backend="png")


def test_serve__listens_on_loopback_only():
    _, url = serve(map_layers(planted.activation()))
    port = urlsplit(url).port
    listening = [one.laddr.ip for one in psutil.Process().net_connections() if one.laddr and one.laddr.port == port]
    assert set(listening) == {"127.0.0.1"}


def test_serve__page_needs_the_token():
    _, url = serve(map_layers(planted.activation()))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _read(url.replace(url.split("/")[-2], "0" * 40))


def test_serve__refuses_another_port_and_no_layers():
    port = urlsplit(serve(map_layers(planted.activation())).url).port
    assert urlsplit(serve(map_layers(planted.activation()), port=port).url).port == port
    with pytest.raises(InputError, match=f"serves on port {port} already"):
        serve(map_layers(planted.activation()), port=port - 1)
    with pytest.raises(InputError, match="at least one map"):
        serve([])


def test_serve__forgets_the_oldest_viewers():
    layers = map_layers(planted.activation())
    urls = [serve(layers).url for _ in range(9)]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _read(urls[0])
    assert "<title>multimap" in _read(urls[-1])


def test_notebook_url__is_the_loopback_address_outside_of_jupyter(interactive):
    url = "http://127.0.0.1:4567/multimap/abc/"
    assert notebook_url(url) == url


@pytest.mark.parametrize(("prefix", "start"), [("/user/alice/", "/user/alice"), ("/", ""), ("/some/lab", "/some/lab")])
def test_proxied_url__keeps_port_and_path_under_the_prefix(prefix, start):
    assert proxied_url("http://127.0.0.1:4567/multimap/abc/", prefix) == f"{start}/proxy/4567/multimap/abc/"
