"""EEG and markers: values against MNE on real files, laziness, and every way a recording is broken."""

import shutil
import warnings

import dask
import mne
import numpy as np
import pytest
import xarray as xr
from lazy import max_computes
from recordings import write_brainvision

from multimap_kernel.io.eeg import read_eeg, read_markers, to_volts
from multimap_kernel.schema import InputError, SchemaError, sampling

REAL = (
    "eeglab_sample/eeglab_data.set",
    "eeglab_sample/testbva.vhdr",
    "eeglab_sample/test.bdf",
    "eeglab_sample/test.edf",
    "mne_io/brainvision/test.vhdr",
    "mne_io/brainvision/testv2.vhdr",
    "mne_io/brainvision/test_old_layout_latin1_software_filter.vhdr",
    "mne_io/edf/test.bdf",
    "mne_io/edf/duplicate_channel_labels.edf",
    "physionet_eeg/S001R01.edf",
)
READERS = {"set": "eeglab", "vhdr": "brainvision", "bdf": "bdf", "edf": "edf"}


def by_mne(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd files on purpose
        return getattr(mne.io, f"read_raw_{READERS[path.suffix[1:]]}")(path, verbose="ERROR")


@pytest.mark.parametrize("file", REAL)
def test_read_eeg__real_files_agree_with_mne(shared_data, file):
    raw = by_mne(shared_data / file)
    ds = to_volts(read_eeg(str(shared_data / file)))
    assert sampling(ds) == (0.0, pytest.approx(raw.info["sfreq"]), raw.n_times)
    volts = ds["eeg"].isel(channel=np.flatnonzero(ds["channel_type"] == "eeg"))
    expected = raw.get_data(picks=volts["channel"].values.tolist())
    assert np.abs(volts.values - expected).max() < 1e-6 * np.abs(expected).max()


def test_read_eeg__markers_agree_with_mne(shared_data):
    path = shared_data / "mne_io" / "brainvision" / "test.vhdr"
    raw, ds = by_mne(path), read_eeg(str(path))
    kept = ds["marker_label"] != "New Segment"
    np.testing.assert_allclose(ds["marker_onset"][kept], raw.annotations.onset, atol=1e-12)
    assert ds["marker_label"][kept].values.tolist() == [text.split("/")[1] for text in raw.annotations.description]


def test_read_eeg__status_channel_of_a_bdf_gives_markers(shared_data):
    path = shared_data / "eeglab_sample" / "test.bdf"
    events = mne.find_events(by_mne(path), shortest_event=1, mask=0xFFFF, mask_type="and", verbose="ERROR")
    ds = read_eeg(str(path))
    assert "Status" not in ds["channel"]
    assert ds["marker_label"].values.tolist()[-len(events) :] == [str(code) for code in events[:, 2]]


def test_read_eeg__finds_the_heart_and_the_electrodes(shared_data):
    ds = read_eeg(str(shared_data / "physionet_eeg" / "Subject00_1.edf"))
    assert ds["channel"][ds["channel_type"] == "ecg"].values.tolist() == ["ECG ECG"]
    place = ds["position"].sel(channel="EEG O1").values
    assert place[0] < 0
    assert place[1] < -80  # left and behind, in mm
    assert np.isnan(ds["position"].sel(channel="ECG ECG")).all()


def test_read_eeg__is_lazy_and_reads_each_byte_once(tmp_path):
    counts = np.random.default_rng(0).integers(-(2**15), 2**15, (3, 150_000)).astype("i2")
    path = write_brainvision(tmp_path, "a", counts=counts, markers=[("Response", "R128", 1)])
    with max_computes(0):
        ds = read_eeg(str(path))
        volts = to_volts(ds)
    assert ds["count"].dtype == np.int16
    assert ds["count"].chunks == ((3,), (65_536, 65_536, 18_928))
    np.testing.assert_array_equal(ds["count"].values, counts)
    assert volts["eeg"].dtype == np.float32
    np.testing.assert_allclose(volts["eeg"].values, counts * 0.5e-6, rtol=1e-6)
    assert volts["eeg"].attrs["units"] == "V"


@pytest.mark.parametrize("chunks", [(1, 400), (3, 77), (2, 1000)])
def test_to_volts__any_chunks_give_the_same(chunks):
    count = np.random.default_rng(0).integers(-100, 100, (3, 1000)).astype("i2")
    scale, offset = np.array([0.5e-6, 1e-6, 2e-6]), np.array([0.0, 1e-6, -1e-6])
    plain = xr.Dataset(
        {"count": (("channel", "time"), count), "scale": ("channel", scale), "offset": ("channel", offset)}
    )
    lazy = plain.assign(count=(("channel", "time"), dask.array.from_array(count, chunks=chunks)))
    np.testing.assert_array_equal(to_volts(lazy)["eeg"].values, to_volts(plain)["eeg"].values)
    np.testing.assert_allclose(to_volts(plain)["eeg"], count * scale[:, None] + offset[:, None], atol=1e-11)


def test_to_volts__refuses_volts():
    with pytest.raises(SchemaError, match=r"to_volts: count .* must be there"):
        to_volts(xr.Dataset({"eeg": (("channel", "time"), np.zeros((1, 2)))}))


@pytest.mark.parametrize("file", ["sub34_r01_raw.set", "sub34_r01_eval.set"])
def test_read_eeg__missing_fdt_is_named(shared_data, file):
    with pytest.raises(InputError, match=rf"{file} must have its data beside it, .*\.fdt not found"):
        read_eeg(str(shared_data / "bcgnet_sub34" / file))


def test_read_eeg__missing_markers_are_an_error(tmp_path):
    path = write_brainvision(tmp_path, "a")
    path.with_suffix(".vmrk").unlink()
    with pytest.raises(InputError, match=r"a\.vhdr must have its markers beside it, found no a\.vmrk"):
        read_eeg(str(path))


def test_read_eeg__renamed_triplet_is_found_and_told(tmp_path):
    counts = np.arange(3000, dtype="i2").reshape(3, 1000)
    write_brainvision(tmp_path, "recorder", counts=counts, markers=[("Response", "R128", 11)])
    for file in tmp_path.glob("recorder.*"):
        file.rename(file.with_stem("sub-01_task-x_eeg"))
    ds = read_eeg(str(tmp_path / "sub-01_task-x_eeg.vhdr"))
    np.testing.assert_array_equal(ds["count"].values, counts)
    assert ds["marker_onset"].values.tolist() == [0.002]
    assert [text.split()[2] for text in ds.attrs["warnings"]] == ["recorder.eeg", "recorder.vmrk"]


def test_read_eeg__cut_data_states_both_sizes(tmp_path):
    path = write_brainvision(tmp_path, "a")
    data = path.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"a\.eeg must hold whole samples of 6 bytes, found 5997 bytes"):
        read_eeg(str(path))
    path.write_text(path.read_text().replace("[Binary", "DataPoints=1000\n[Binary"))
    data.write_bytes(data.read_bytes()[:4200])
    with pytest.raises(InputError, match=r"a\.eeg must hold 6000 bytes \(1000 samples\), found 4200"):
        read_eeg(str(path))


def test_read_eeg__markers_beyond_the_end_are_told(tmp_path):
    markers = [("Response", "R128", 1 + 400 * k) for k in range(5)]
    ds = read_eeg(str(write_brainvision(tmp_path, "a", markers=markers)))
    assert ds.sizes["marker"] == 3
    assert ds.attrs["warnings"] == [
        "a.vhdr ends at 0.200 s, but has markers up to 0.320 s: 2 markers are left out, and the recording may be cut"
    ]


def test_read_eeg__version_line_is_not_needed(tmp_path):
    ds = read_eeg(str(write_brainvision(tmp_path, "a", markers=[("Response", "R128", 1)], version=False)))
    assert ds["marker_label"].values.tolist() == ["R128"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[Channel Infos]", "[Channels]", r"must have the sections \['channel infos'\]"),
        ("SamplingInterval=200", "SamplingInterval=0", "must state SamplingInterval in microseconds, found 0"),
        ("INT_16", "INT_24", "must hold binary data .* found BINARY INT_24"),
        ("NumberOfChannels=3", "NumberOfChannels=4", "must describe 4 channels, found 3"),
        ("=O1,", "=Fp1,", r"must name each channel once, found \['Fp1'\]"),
    ],
)
def test_read_eeg__refuses_a_broken_header(tmp_path, old, new, message):
    path = write_brainvision(tmp_path, "a")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=rf"a\.vhdr {message}"):
        read_eeg(str(path))


def test_read_eeg__refuses_other_formats_and_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"a\.cnt must be one of \.vhdr, \.edf"):
        read_eeg(str(tmp_path / "a.cnt"))
    for file in ("a.vhdr", "a.edf"):
        with pytest.raises(InputError, match=rf"{file} must be a file, found none"):
            read_eeg(str(tmp_path / file))
    (tmp_path / "bad.edf").write_bytes(b"0" * 100)
    with pytest.raises(InputError, match=r"bad\.edf must be a readable \.edf recording"):
        read_eeg(str(tmp_path / "bad.edf"))


@pytest.mark.parametrize("file", ["eeglab_sample/eeglab_data.set", "mne_io/brainvision/test.vhdr"])
def test_read_eeg__remote_recording(shared_data, tmp_path, monkeypatch, file):
    import tempfile

    import fsspec

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory, path = fsspec.filesystem("memory"), shared_data / file
    for part in path.parent.glob(f"{path.stem}.*"):
        memory.pipe_file(f"/remote/{part.name}", part.read_bytes())
    far, near = read_eeg(f"memory://remote/{path.name}"), read_eeg(str(path))
    xr.testing.assert_equal(far.load(), near.load())


def test_read_markers__real_run_of_300_volumes(shared_data):
    """First volume at 115.9280 s of the raw recording: the derivative starts 115.784 s after it (its README)."""
    folder = shared_data / "rest_fmri_markers"
    ds = read_markers(str(folder / "derivatives" / "sub-32" / "eeg" / "sub-32_task-rest_eeg.vmrk"))
    volumes = ds["marker_onset"].values[ds["marker_label"] == "Scan Start"]
    assert volumes.size == 300
    assert volumes[0] + 115.784 == pytest.approx(115.928, abs=1e-9)
    np.testing.assert_allclose(np.diff(volumes), 2.16, atol=1e-9)
    assert np.count_nonzero(ds["marker_label"] == "s") == 9000  # "s " in the file
    assert np.count_nonzero(ds["marker_label"] == "R") == 745
    raw = read_markers(str(folder / "sub-32" / "eeg" / "sub-32_task-rest_eeg.vmrk"))
    assert set(raw["marker_label"].values) == {"New Segment", "Sync On"}
    assert raw.attrs["sampling_frequency"] == 5000.0


def test_read_markers__refuses_a_file_without_markers(tmp_path):
    path = write_brainvision(tmp_path, "a").with_suffix(".vmrk")
    path.write_text("[Common Infos]\nDataFile=a.eeg\n")
    with pytest.raises(InputError, match=r"a\.vmrk must have a section \[Marker Infos\]"):
        read_markers(str(path))
    path.write_text("[Marker Infos]\nMk1=Response,R128,soon,1,0\n")
    with pytest.raises(InputError, match="found Mk1=Response,R128,soon"):
        read_markers(str(path))


def test_read_eeg__raw_files_stay_as_they_are(tmp_path, shared_data):
    folder = shutil.copytree(shared_data / "eeglab_sample", tmp_path / "raw")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for file in ("eeglab_data.set", "testbva.vhdr", "test.bdf"):
        read_eeg(str(folder / file)).load()
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
