"""Places: whose they are, and paths that cannot leave them."""

import pytest

from multimap_kernel.schema import InputError
from multimap_kernel.share.places import EVERYBODY, Place, configured_places, locate, may_share, name_folder


@pytest.fixture
def places(tmp_path):
    for name in ("lab/scene/viewer.zarr", "lab/other", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lab/scene/viewer.zarr/zarr.json").write_text("{}")
    (tmp_path / "lab/other/file").write_text("other")
    (tmp_path / "secret/file").write_text("secret")
    return {"lab": Place(str(tmp_path / "lab"), frozenset({"lab"}))}


def test_locate__finds_what_is_inside(places, tmp_path):
    found = locate("lab/scene", places, "viewer.zarr/zarr.json")
    assert found.fs.cat_file(found.path) == b"{}"
    assert locate("lab/scene", places).url == str((tmp_path / "lab/scene").resolve())


@pytest.mark.parametrize(
    "inside",
    "../other/file|..|.|viewer.zarr/../../other/file|/etc/passwd|//etc/passwd|viewer.zarr//zarr.json|a/./b|..\\x|a\0b|a/".split(
        "|"
    ),
)
def test_locate__refuses_to_leave(places, inside):
    assert locate("lab/scene", places, inside) is None


@pytest.mark.parametrize(
    "folder", ["secret", "lab", "lab/", "lab/..", "lab/../secret", "/lab/scene", "other/scene", ""]
)
def test_locate__refuses_other_roots(places, folder):
    assert locate(folder, places) is None


def test_locate__refuses_links_of_the_file_system_that_leave(places, tmp_path):
    (tmp_path / "lab/scene/file").symlink_to(tmp_path / "secret/file")
    (tmp_path / "lab/scene/up").symlink_to(tmp_path / "lab/other")
    (tmp_path / "lab/away").symlink_to(tmp_path / "secret")
    assert locate("lab/scene", places, "file") is None
    assert locate("lab/scene", places, "up/file") is None
    assert locate("lab/away", places, "file") is None


def test_may_share__asks_for_a_group_of_the_place(places):
    assert may_share("lab/scene", {"lab", "x"}, places)
    assert not may_share("lab/scene", {"x"}, places)
    assert not may_share("lab/scene", set(), places)
    assert not may_share("elsewhere/scene", {"lab"}, places)


def test_may_share__what_is_for_everybody_is_for_who_has_no_other_place():
    """As `team_of` of the chart: tests/helm/test_spawner.py compares the two."""
    places = {
        "sleep": Place("gs://bucket/sleep", frozenset({"sleep"})),
        "lab": Place("gs://bucket/lab", frozenset()),
        "late": Place("gs://bucket/late", frozenset()),
    }
    assert may_share("lab/scene", {EVERYBODY, "x"}, places)
    assert not may_share("lab/scene", {EVERYBODY, "sleep"}, places)
    assert may_share("sleep/scene", {EVERYBODY, "sleep"}, places)
    assert not may_share("late/scene", {EVERYBODY}, places)
    assert not may_share("lab/scene", set(), places)  # gone from the hub


def test_name_folder__names_the_place_or_refuses(places, tmp_path):
    assert name_folder(str(tmp_path / "lab/scene"), places) == "lab/scene"
    with pytest.raises(InputError, match="must lie in one of"):
        name_folder(str(tmp_path / "secret/scene"), places)
    with pytest.raises(InputError, match="must lie in one of"):
        name_folder(str(tmp_path / "lab-2/scene"), places)
    buckets = {"lab": Place("gs://bucket/lab", frozenset())}
    assert name_folder("gs://bucket/lab/a/b", buckets) == "lab/a/b"


def test_configured_places__are_named_by_the_environment(tmp_path):
    given = {"MULTIMAP_PLACES": '{"lab": {"url": "gs://bucket/lab", "groups": ["lab"]}}'}
    assert configured_places(given) == {"lab": Place("gs://bucket/lab", frozenset({"lab"}))}
    (local,) = configured_places({"MULTIMAP_STORE": str(tmp_path)}).values()
    assert local.url == str(tmp_path)
    for wrong in ("[]", "{", '{"lab": "gs://bucket"}', '{"lab": {"url": "x"}}'):
        with pytest.raises(InputError, match="MULTIMAP_PLACES must be JSON"):
            configured_places({"MULTIMAP_PLACES": wrong})
