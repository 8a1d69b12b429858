"""The folder of a training run: events, orders and checkpoints outlive any end."""

import fsspec
import pytest

from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import InputError, RunFolder, StorageError


@pytest.fixture(params=["disk", "memory"])
def url(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "run")
    fs = fsspec.filesystem("memory")
    if fs.exists("/run"):
        fs.rm("/run", recursive=True)
    return "memory://run"


def test_folder__keeps_events_in_order_over_several_lives(url):
    first: RunFolder = RunDirectory(url)
    first.append_event({"event": "started", "jobs": 3})
    first.append_event({"event": "step", "step": 1})
    RunDirectory(url).append_event({"event": "resumed"})
    assert [event["event"] for event in RunDirectory(url).read_events()] == ["started", "step", "resumed"]


def test_folder__a_half_written_line_is_ended_and_skipped(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.jsonl").write_bytes(b'{"event":"started"}\n{"event":"st')
    RunDirectory(str(folder)).append_event({"event": "resumed"})
    assert [event["event"] for event in RunDirectory(str(folder)).read_events()] == ["started", "resumed"]


def test_folder__obeys_the_last_order_and_none_if_there_is_none(url):
    folder = RunDirectory(url)
    assert folder.read_control() == {}
    folder.write_control(pause=True)
    folder.write_control(stop=True)
    assert RunDirectory(url).read_control() == {"pause": False, "stop": True}


def test_folder__refuses_orders_that_it_does_not_know(tmp_path):
    (tmp_path / "control.json").write_text('{"halt": true}')
    with pytest.raises(InputError, match=r'must hold an object with pause and stop alone, found b.\{"halt": true\}'):
        RunDirectory(str(tmp_path)).read_control()


def test_checkpoint__is_replaced_whole_and_leaves_nothing_beside_it(url):
    folder = RunDirectory(url)
    assert folder.load_checkpoint("last.pt") is None
    folder.save_checkpoint("last.pt", b"one")
    folder.save_checkpoint("last.pt", b"two")
    assert folder.load_checkpoint("last.pt") == b"two"
    fs, path = fsspec.core.url_to_fs(f"{url}/checkpoints")
    assert [name.rpartition("/")[2] for name in fs.ls(path, detail=False)] == ["last.pt"]


@pytest.mark.parametrize("name", ["../last.pt", "a/b", "", ".hidden", ".."])
def test_checkpoint__cannot_leave_its_folder(tmp_path, name):
    with pytest.raises(InputError, match="must be a plain file name"):
        RunDirectory(str(tmp_path)).save_checkpoint(name, b"")


def test_folder__that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="must be writable"):
        RunDirectory(str(tmp_path / "file")).append_event({"event": "started"})
    with pytest.raises(StorageError, match="must be writable"):
        RunDirectory(str(tmp_path / "file")).save_checkpoint("last.pt", b"")
