"""What a link to maps shows is what was shared, and its addresses are the service's own."""

import json

import numpy as np
import planted
import pytest

from multimap_kernel.schema import InputError
from multimap_kernel.share.scene import read_scene, save_scene
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.scene import viewer_state


@pytest.fixture(scope="module")
def layers():
    return map_layers(planted.activation("oblique"), anatomy=planted.anatomy("oblique"))


def test_scene__has_the_state_of_its_layers(layers, tmp_path):
    folder = save_scene(layers, str(tmp_path))
    scene = read_scene(folder)
    sources = {one.name: f"{{data}}/viewer.zarr/{one.name}/|zarr3:" for one in layers}
    expected = json.loads(json.dumps(viewer_state(layers, sources)))
    for one in expected["layers"]:  # the dimensions of the arrays in viewer.zarr are x, y, z
        names = dict(zip("ijk", "xyz", strict=True))
        transform = one["source"]["transform"]
        transform["inputDimensions"] = {names[name]: size for name, size in transform["inputDimensions"].items()}
    assert json.loads(scene.state) == expected
    assert scene.names == tuple(one.name for one in layers)
    assert 'src="{client}"' in scene.page
    first = (tmp_path / folder.rsplit("/", 1)[-1] / "viewer.zarr" / scene.names[-1] / "c/0/0/0").stat()
    assert first.st_size > 0  # what the page asks for first


def test_scene__the_same_layers_are_one_folder(layers, tmp_path):
    folder = save_scene(layers, str(tmp_path))
    (tmp_path / folder / "viewer.zarr" / "mark").write_text("kept")
    assert save_scene(layers, str(tmp_path)) == folder
    assert (tmp_path / folder / "viewer.zarr" / "mark").exists()
    other = [*layers[:-1], layers[-1].__class__(**{**layers[-1].__dict__, "values": np.zeros_like(layers[-1].values)})]
    assert save_scene(other, str(tmp_path)) != folder


def test_scene__a_tampered_description_brings_no_address_in(layers, tmp_path):
    folder = save_scene(layers, str(tmp_path))
    described = tmp_path / folder / "layers.json"
    stored = json.loads(described.read_text())
    stored[0]["source"] = "zarr://https://elsewhere.example/"
    stored[1]["title"] = "<script>alert(1)</script>"
    described.write_text(json.dumps(stored))
    scene = read_scene(folder)
    assert "elsewhere.example" not in scene.state + scene.page
    assert "<script>alert" not in scene.page


def test_scene__what_is_damaged_is_told(tmp_path):
    (tmp_path / "layers.json").write_text("[1]")
    with pytest.raises(InputError, match="must hold the layers of a link"):
        read_scene(str(tmp_path))
