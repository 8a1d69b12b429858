"""Inflated copies: whole or refused, one per machine, gone with their owner."""

import gc
import gzip
import os
import pickle
import re
import tempfile
import threading

import pytest

from multimap_kernel.io.inflate import PlainCopy, inflate, looks_whole
from multimap_kernel.schema import InputError

CONTENT = os.urandom(100_000)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(CONTENT))
    return path


def test_plain_copy__is_made_once_for_all_threads(packed, tmp_path):
    copy = PlainCopy(str(packed), len(CONTENT))
    assert not copy.path.exists()
    found = []
    threads = [threading.Thread(target=lambda: found.append(copy.ready())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    with open(found[0], "rb") as file:  # noqa: PTH123  # what a reader does
        assert file.read() == CONTENT
    assert sorted(path.name for path in copy.path.iterdir()) == ["lock", "plain.nii"]


def test_plain_copy__only_its_owner_removes_it(packed):
    copy = PlainCopy(str(packed), len(CONTENT))
    folder, travelled = copy.path, pickle.loads(pickle.dumps(copy))
    travelled.ready()
    del travelled
    gc.collect()
    assert (folder / "plain.nii").exists()
    del copy
    gc.collect()
    assert not folder.exists()


def test_inflate__refuses_what_breaks_off(packed):
    whole = packed.read_bytes()
    inflate(str(packed), None, len(CONTENT))
    with pytest.raises(InputError, match=r"a\.nii\.gz must inflate to 100001 bytes, found 100000"):
        inflate(str(packed), None, len(CONTENT) + 1)
    packed.write_bytes(whole[:-5000])
    with pytest.raises(InputError, match=r"a\.nii\.gz must be a whole gzip file of 100000 bytes, it breaks off after"):
        PlainCopy(str(packed), len(CONTENT)).ready()


def test_inflate__tells_how_much_can_be_read(packed):
    packed.write_bytes(packed.read_bytes()[:-5000])
    with pytest.raises(InputError, match="breaks off after") as refused:
        inflate(str(packed), None, len(CONTENT))
    told = int(re.search(r"breaks off after (\d+)", str(refused.value))[1])
    assert 90_000 < told < 100_000  # the bytes are random: what is packed is as long as what it holds


def test_looks_whole__by_the_last_four_bytes(packed):
    assert looks_whole(str(packed), len(CONTENT))
    packed.write_bytes(packed.read_bytes()[:-10])
    assert not looks_whole(str(packed), len(CONTENT))


def test_inflate__several_gzip_members_are_whole(packed):
    packed.write_bytes(gzip.compress(CONTENT[:60_000]) + gzip.compress(CONTENT[60_000:]))
    assert not looks_whole(str(packed), len(CONTENT))  # only the last one's length is stated
    inflate(str(packed), None, len(CONTENT))
