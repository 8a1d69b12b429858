"""Raw files on disk and far away."""

import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

from multimap_kernel.io.files import localise, read_json, read_table, read_text, read_values
from multimap_kernel.schema import InputError


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return fsspec.filesystem("memory")


def test_localise__local_path_is_itself(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"1")
    assert localise(str(tmp_path / "a.edf")) == tmp_path / "a.edf"
    assert localise(f"file://{tmp_path}/a.edf") == tmp_path / "a.edf"


def test_localise__remote_file_is_copied_once_per_version(memory):
    memory.pipe_file("/files/a.set", b"one")
    memory.pipe_file("/files/a.fdt", b"data")
    first, other = localise("memory://files/a.set"), localise("memory://files/a.fdt")
    assert first.read_bytes() == b"one"
    assert first.parent == other.parent
    made = first.stat().st_mtime_ns
    assert localise("memory://files/a.set").stat().st_mtime_ns == made
    memory.pipe_file("/files/a.set", b"three")
    assert localise("memory://files/a.set").read_bytes() == b"three"


@pytest.mark.parametrize("url", ["missing.edf", "memory://files/missing.edf"])
def test_localise__names_what_is_missing(memory, url):
    with pytest.raises(InputError, match=r"missing\.edf must be a file, found none"):
        localise(url)


def test_read_values__native_order_from_any_offset(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"xyz" + np.arange(10, dtype=">i4").tobytes())
    values = read_values(str(path), np.dtype(">i4"), 4, 3 + 8)
    assert values.tolist() == [2, 3, 4, 5]
    assert values.dtype.isnative
    with pytest.raises(InputError, match=r"a\.bin must hold 51 bytes, found 43"):
        read_values(str(path), np.dtype(">i4"), 10, 11)


def test_read_text__old_recorders_wrote_latin_1(tmp_path):
    (tmp_path / "a.vhdr").write_bytes("Ch1=Fp1,,0.5,µV".encode("latin-1"))
    assert read_text(str(tmp_path / "a.vhdr")).endswith("µV")
    (tmp_path / "a.vhdr").write_bytes("\ufeffBrain".encode())
    assert read_text(str(tmp_path / "a.vhdr")) == "Brain"


def test_read_table__text_and_missing_cells(tmp_path):
    path = Path(tmp_path / "a.tsv")
    path.write_text("name \tx\n 01\t\nb\n", encoding="utf-8")
    assert read_table(str(path), "name") == [{"name": "01", "x": "n/a"}, {"name": "b", "x": "n/a"}]
    with pytest.raises(InputError, match=r"must have the columns \['y'\], found \['name', 'x'\]"):
        read_table(str(path), "y")


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_read_json__refuses_what_is_no_sidecar(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json must hold (a )?JSON"):
        read_json(str(tmp_path / "a.json"))
