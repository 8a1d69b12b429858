"""Showing maps: what a notebook and a batch run get, and that the viewer listens on loopback only."""

import base64
import gzip
import io
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import planted
import psutil
import pytest
from PIL import Image

from multimap_kernel.schema import InputError, SchemaError
from multimap_kernel.view.course import voxel_course
from multimap_kernel.view.embed import notebook_url, proxied_url, show
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.picked import PickedTime
from multimap_kernel.view.serving import serve
from multimap_kernel.view.volumes import make_volumes


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
    with pytest.raises(InputError, match="a picked time needs volumes"):
        serve(map_layers(planted.activation()), picked=PickedTime())


def test_serve__answers_the_course_of_a_voxel():
    _, url = serve(map_layers(planted.activation()), series=planted.series())
    told = json.loads(_read(f"{url}course?x=-40&y=-22&z=54"))
    assert told == voxel_course(planted.series(), planted.LEFT_MOTOR)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _read(f"{url}course?x=here&y=0&z=0")
    _, without = serve(map_layers(planted.activation()))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _read(f"{without}course?x=0&y=0&z=0")


def test_serve__time_follows_both_ways():
    picked = PickedTime(time=7.0)
    viewer, _ = serve((), volumes=make_volumes(planted.volumes(repetition_time=2.0)), picked=picked)
    assert viewer.state.position[3] == pytest.approx(3.5)
    picked.time = 21.25
    assert viewer.state.position[3] == pytest.approx(10.625)
    with viewer.txn() as state:
        state.position = [*state.position[:3], 4.0]
    assert picked.time == pytest.approx(8.0)


def test_show__volumes_alone_have_a_picture(monkeypatch):
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    shown = show(volumes=planted.volumes())
    pixels = np.asarray(Image.open(io.BytesIO(shown.png)).convert("L"))
    assert pixels.shape[1] > 900
    assert pixels.std() > 30
    with pytest.raises(SchemaError, match="a map, an anatomy or volumes"):
        show()


def test_show__niivue_without_ipyniivue_says_what_to_do(interactive, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)  # Python's own sign for a module that is not there
    with pytest.raises(InputError, match=r"install multimap\[niivue\]"):
        show(planted.activation(), backend="niivue")


def test_show__niivue_has_the_threshold_and_geometry_of_the_viewer(interactive):
    ds = planted.activation("oblique")
    shown = show(ds, anatomy=planted.anatomy(), backend="niivue")
    anatomy, heat = shown.widget.volumes
    layer = map_layers(ds)[0]
    assert (heat.cal_min, heat.cal_max) == (layer.threshold, layer.limits[1])
    image = nib.Nifti1Image.from_bytes(gzip.decompress(heat.data))
    peak = np.unravel_index(np.abs(image.get_fdata()).argmax(), image.shape)
    assert np.linalg.norm(nib.affines.apply_affine(image.affine, peak) - planted.LEFT_MOTOR) < 5.0
    assert anatomy.colormap == "gray"
    assert shown.outputs()[0]["image/png"]


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
