"""The store: written once, read whole, safe for two writers."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.array as da
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr

from multimap_kernel.io.store import (
    CHUNKS,
    Product,
    Store,
    create_exclusive,
    digest,
    read_json,
    walk_keys,
)
from multimap_kernel.schema import StorageError, affine_coordinate, regular_time, sampling, volume_coordinates

PLACE, KEY = "sub-01/task-x/ingest", "0" * 32


def recording(samples: int = 70_000) -> xr.Dataset:
    """EEG of the size of a few chunks, text and all."""
    values = np.random.default_rng(0).standard_normal((3, samples)).astype("f4")
    ds = xr.Dataset({"eeg": (("channel", "time"), da.from_array(values, chunks=(1, 9_999)))}, attrs={"clock": "eeg"})
    ds = ds.assign_coords(regular_time(-10.1, 5_000.04, samples)).assign_coords(channel=["Fp1", "Öz", "ECG"])
    return ds.assign(marker_label=("marker", ["R128", "R128"]))


def volumes(count: int = 70) -> xr.Dataset:
    values = np.arange(count * 2 * 3 * 4, dtype="i2").reshape(count, 2, 3, 4)
    ds = xr.Dataset({"bold": (("time", "z", "y", "x"), da.from_array(values, chunks=(7, 2, 3, 4)))})
    return ds.assign_coords(volume_coordinates(count, 2.0)).assign_coords(affine=affine_coordinate(np.eye(4)))


def test_write__gives_back_what_was_written(tmp_path):
    store = Store(str(tmp_path), "study")
    store.write(PLACE, KEY, Product({"eeg": recording(), "bold": volumes()}, {"note": 1.5}), {"step": "ingest"})
    back = store.open(PLACE, KEY)
    np.testing.assert_array_equal(back["eeg"].eeg.values, recording().eeg.values)
    np.testing.assert_array_equal(back["bold"].bold.values, volumes().bold.values)
    assert back["bold"].bold.dtype == np.int16
    assert sampling(back["eeg"]) == pytest.approx((-10.1, 5_000.04, 70_000))
    assert list(back["eeg"].channel.values) == ["Fp1", "Öz", "ECG"]
    assert back["eeg"].attrs == {"clock": "eeg"}
    assert store.commit(PLACE, KEY)["values"] == {"note": 1.5}


def test_write__is_the_same_on_an_object_store():
    store = Store("memory://bucket", "study")
    store.write(PLACE, KEY, Product({"bold": volumes()}), {})
    np.testing.assert_array_equal(store.open(PLACE, KEY)["bold"].bold.values, volumes().bold.values)


def test_write__stores_chunks_inside_shards_and_no_time_axis_of_the_eeg(tmp_path):
    store = Store(str(tmp_path), "study")
    commit = store.write(PLACE, KEY, Product({"eeg": recording(), "bold": volumes()}), {})
    group = zarr.open_group(store.url(PLACE, KEY, commit["data"]), mode="r")
    assert group["bold/bold"].chunks == (CHUNKS["bold"][0], 2, 3, 4)
    assert group["bold/bold"].shards == (64, 2, 3, 4)
    assert group["eeg/eeg"].chunks == (3, 16_384)
    assert "time" not in group["eeg"]


def test_write__a_shard_is_never_larger_than_a_worker_can_hold(tmp_path):
    store = Store(str(tmp_path), "study")
    series = da.zeros((2_000, 70_000), chunks=(2_000, 5_000), dtype="f4")
    commit = store.write(PLACE, KEY, Product({"": xr.Dataset({"series": (("time", "voxel"), series)})}), {})
    array = zarr.open_group(store.url(PLACE, KEY, commit["data"]), mode="r")["series"]
    assert array.shards == (2_000, 8_192)  # 62.5 MiB, two chunks


def test_write__stays_lazy_until_the_shards_are_written(tmp_path):
    """Two shards of volumes are two writer tasks: no task ever holds the whole run."""
    store = Store(str(tmp_path), "study")
    largest = []
    wide = volumes(130).bold.data.map_blocks(
        lambda block: largest.append(block.shape[0]) or block, dtype="i2", meta=np.empty(0, "i2")
    )
    store.write(PLACE, KEY, Product({"bold": volumes(130).assign(bold=(("time", "z", "y", "x"), wide))}), {})
    assert max(largest) <= 64


def test_commit__second_writer_reads_the_first_ones_copy(tmp_path):
    store = Store(str(tmp_path), "study")
    first = store.write(PLACE, KEY, Product({"bold": volumes()}), {"host": "a"})
    second = store.write(PLACE, KEY, Product({"bold": volumes()}), {"host": "b"})
    assert second == first
    assert [path.name for path in Path(store.url(PLACE, KEY)).iterdir() if path.is_dir()] == [first["data"]]


def test_open__never_reads_what_was_not_committed(tmp_path):
    store = Store(str(tmp_path), "study")
    commit = store.write(PLACE, KEY, Product({"bold": volumes()}), {})
    Path(store.url(PLACE, KEY, "commit.json")).unlink()
    assert store.commit(PLACE, KEY) is None
    with pytest.raises(StorageError, match="must hold a finished result"):
        store.open(PLACE, KEY)
    assert list(walk_keys(store)) == [(PLACE, KEY)]
    assert Path(store.url(PLACE, KEY, commit["data"])).is_dir()


@pytest.mark.parametrize("root", ["", "memory://gone"])
def test_open__says_when_an_object_is_gone(tmp_path, root):
    store = Store(root or str(tmp_path), "study")
    store.write(PLACE, KEY, Product({"bold": volumes(), "eeg": recording()}), {})
    fs, folder = fsspec.core.url_to_fs(store.folder(PLACE, KEY))
    assert store.open(PLACE, KEY)["bold"].bold.sizes["time"] == 70
    fs.rm(next(path for path in sorted(fs.find(folder)) if "/bold/bold/c/" in path))
    with pytest.raises(StorageError, match=r"must hold the \d+ objects that were written, found \d+"):
        store.open(PLACE, KEY)


def test_write__says_when_the_store_cannot_be_written(tmp_path):
    (tmp_path / "study").write_text("a file where a folder must be")
    with pytest.raises(StorageError, match="must be writable"):
        Store(str(tmp_path), "study").write(PLACE, KEY, Product({"bold": volumes()}), {})


RACE = """
import sys, time
from pathlib import Path
import numpy as np, xarray as xr
from multimap_kernel.io.store import Product, Store
root, number = sys.argv[1:]
ds = xr.Dataset({"bold": (("time", "z", "y", "x"), np.arange(96, dtype="i2").reshape(4, 2, 3, 4))})
Path(root, f"ready-{number}").touch()
while len(list(Path(root).glob("ready-*"))) < 3:
    time.sleep(0.005)
Store(root, "study").write("sub-01/task-x/ingest", "0" * 32, Product({"": ds}), {"writer": number})
"""


def test_write__three_processes_at_once_leave_one_result(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path), str(number)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = Store(str(tmp_path), "study")
    assert store.commit(PLACE, KEY)["writer"] in {"0", "1", "2"}
    np.testing.assert_array_equal(store.open(PLACE, KEY)[""].bold.values.ravel(), np.arange(96))
    assert len([path for path in Path(store.url(PLACE, KEY)).iterdir() if path.is_dir()]) == 1


REPLACE = """
import json, sys
from multimap_kernel.io.store import replace
number = 0
while True:
    replace(sys.argv[1], json.dumps({"number": number, "text": "x" * 100_000}).encode())
    number += 1
"""


def test_replace__a_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    path = str(tmp_path / "current.json")
    writer = subprocess.Popen([sys.executable, "-c", REPLACE, path])
    while read_json(path) is None:
        time.sleep(0.01)
    for _ in range(50):
        assert len(read_json(path)["text"]) == 100_000
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(read_json(path)["text"]) == 100_000


def test_create_exclusive__only_the_first_wins(tmp_path):
    path = str(tmp_path / "a" / "commit.json")
    assert create_exclusive(path, b"1")
    assert not create_exclusive(path, b"2")
    assert Path(path).read_bytes() == b"1"
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["commit.json"]


def test_digest__sees_one_changed_byte_and_not_the_chunking():
    values = volumes()
    other = values.copy(deep=True).load()
    assert digest({"": values}) == digest({"": values.chunk(time=3)}) == digest({"": other})
    other.bold[0, 0, 0, 0] += 1
    assert digest({"": values}) != digest({"": other})
