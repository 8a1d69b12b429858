"""Links of a machine without a hub, and maps that are shown whatever becomes of their link."""

import getpass
import os
import time

import planted
import pytest
from pages import warm_pixels

import multimap_kernel as mm
from multimap_kernel.schema import SchemaError, StorageError
from multimap_kernel.share.places import local_user


@pytest.fixture(autouse=True)
def laptop(tmp_path, monkeypatch):
    """No hub, no Lab, a batch run (no viewer is started), and a store of its own."""
    for name in (
        "JUPYTERHUB_API_URL",
        "JUPYTERHUB_SERVICE_PREFIX",
        "MULTIMAP_LINKS",
        "MULTIMAP_PLACES",
        "JPY_PARENT_PID",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MULTIMAP_BATCH", "1")
    monkeypatch.setenv("MULTIMAP_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "store"


def drawn(shown) -> bool:
    """Whether the picture has the planted blob in it."""
    return warm_pixels(shown.png) > 300


def test_share__lists_and_withdraws_and_gives_the_same_link_again(laptop):
    made = mm.share(planted.activation(), title="Hand")
    assert made.url.startswith("/multimap/s/")
    assert mm.share(planted.activation()).url == made.url
    assert mm.share(planted.activation(), with_=["group:lab"]).url != made.url
    assert [one.identifier for one in mm.list_links()].count(made.identifier) == 1
    assert mm.revoke_link(made.identifier).revoked
    assert mm.share(planted.activation()).url != made.url
    assert len(list((laptop / "shared").iterdir())) == 1  # the layers are stored once


def test_show__in_a_batch_run_gives_the_picture_and_a_link(laptop):
    laptop.mkdir()
    shown = mm.show(planted.activation())
    assert shown.link == mm.list_links()[0].url
    assert drawn(shown)
    assert mm.show(planted.activation(), link="").link == ""


@pytest.mark.parametrize("store", ["file", "nosuch://bucket/a"])
def test_show__draws_the_maps_when_the_store_is_none(laptop, monkeypatch, store):
    laptop.write_text("a file where the store should be")
    monkeypatch.setenv("MULTIMAP_STORE", str(laptop) if store == "file" else store)
    with pytest.warns(UserWarning, match="these maps have no link"):
        shown = mm.show(planted.activation())
    assert shown.link == ""
    assert drawn(shown)
    with pytest.raises(Exception):  # noqa: B017, PT011  # asked for by name; what it is depends on the store
        mm.show(planted.activation(), with_=["group:lab"])


def test_show__draws_the_maps_when_records_cannot_be_written(laptop):
    laptop.mkdir()
    (laptop / "shares").write_text("a file where the records should be")
    with pytest.warns(UserWarning, match="shares must be writable"):
        assert drawn(mm.show(planted.activation()))
    with pytest.raises(StorageError, match="shares must be writable"):
        mm.share(planted.activation())


def test_show__makes_no_store(laptop):
    assert mm.show(planted.activation()).link == ""
    assert not laptop.exists()


def test_show__without_a_store_writes_nothing(laptop, monkeypatch, tmp_path):
    monkeypatch.delenv("MULTIMAP_STORE")
    monkeypatch.chdir(tmp_path)
    assert drawn(mm.show(planted.activation()))
    assert not list(tmp_path.iterdir())


def test_show__tells_of_wrong_maps_before_it_tells_of_a_link():
    with pytest.raises(SchemaError):
        mm.show(planted.activation().drop_vars("affine"))


def test_owner__is_a_number_when_the_machine_knows_no_name(laptop, monkeypatch):
    laptop.mkdir()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    with pytest.raises((OSError, KeyError)):
        getpass.getuser()
    assert local_user() == str(os.getuid())
    assert mm.show(planted.activation()).link == mm.list_links()[0].url


def test_gc__removes_what_no_link_shows_any_more(laptop):
    kept, ended = mm.share(planted.activation()), mm.share(planted.activation(), with_=["group:lab"])  # one scene
    other = mm.share(planted.activation(), anatomy=planted.anatomy())
    folders = sorted(laptop.joinpath("shared").iterdir())
    assert len(folders) == 2
    mm.revoke_link(ended.identifier)
    mm.revoke_link(other.identifier)
    assert mm.remove_ended_scenes(str(laptop)) == ()  # of today: somebody may be at work
    for file in laptop.joinpath("shared").rglob("*"):
        os.utime(file, (time.time() - 2 * 86400,) * 2)
    (gone,) = mm.remove_ended_scenes(str(laptop), dry_run=True)
    assert sorted(laptop.joinpath("shared").iterdir()) == folders
    assert mm.remove_ended_scenes(str(laptop)) == (gone,)
    (left,) = laptop.joinpath("shared").iterdir()
    assert str(left) != gone
    assert mm.share(planted.activation()).url == kept.url
