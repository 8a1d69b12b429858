"""What a NIfTI header must say before it is trusted."""

import gzip

import numpy as np
import pytest
from recordings import write_image

from multimap_kernel.io.header import find_repetition_time, read_header, slice_times
from multimap_kernel.schema import InputError

RUN = np.zeros((4, 5, 6, 3), "i2")


def header(tmp_path, **fields):
    return read_header(str(write_image(tmp_path / "a.nii", RUN, **fields)))


@pytest.mark.parametrize(
    ("tr", "sidecar", "expected", "repaired"),
    [
        (2.0, {}, 2.0, 0),
        (0.0, {"RepetitionTime": 2.16}, 2.16, 0),
        (2000.0, {}, 2.0, 1),  # milliseconds under the unit of seconds
        (2.16, {"RepetitionTime": 2160}, 2.16, 1),
        (2.005, {"RepetitionTime": 2.0}, 2.0, 0),  # the sidecar wins within 1 %
    ],
)
def test_repetition_time__stated_or_repaired(tmp_path, tr, sidecar, expected, repaired):
    found = header(tmp_path, tr=tr)
    seconds, told = find_repetition_time(found, sidecar)
    assert seconds == pytest.approx(expected, abs=1e-9)
    assert len(told) + len(found.warnings) == repaired


def test_repetition_time__real_header_of_2000_seconds(shared_data):
    found = read_header(str(shared_data / "nifti_weird" / "nibabel" / "example4d.nii.gz"))
    assert find_repetition_time(found, {})[0] == 2.0
    assert "taken as milliseconds" in found.warnings[0]


@pytest.mark.parametrize(
    ("tr", "sidecar", "message"),
    [
        (0.0, {}, r"a\.nii must have a repetition time, found none"),
        (2.0, {"RepetitionTime": 2.5}, r"the header states 2 s, the sidecar 2\.5 s"),
        (2.0, {"RepetitionTime": 0}, r"RepetitionTime of .*a\.nii must be a positive number .* found 0"),
        (2.0, {"RepetitionTime": "fast"}, "found 'fast'"),
        (2.0, {"VolumeTiming": [0, 3]}, "must have regular volumes"),
    ],
)
def test_repetition_time__refuses(tmp_path, tr, sidecar, message):
    with pytest.raises(InputError, match=message):
        find_repetition_time(header(tmp_path, tr=tr), sidecar)


def test_read_header__milliseconds_by_their_unit(tmp_path):
    found = header(tmp_path, tr=2000.0, xyzt_units=2 | 16)
    assert (found.repetition_time, found.warnings) == (2.0, ())


SIX = [0.0, 0.3, 0.6, 0.9, 1.2, 1.5]


def test_slice_times__order_and_units(tmp_path):
    found = header(tmp_path)
    assert slice_times(found, {}, 2.0) == (None, [])
    np.testing.assert_allclose(slice_times(found, {"SliceTiming": SIX}, 2.0)[0], SIX)
    down, _ = slice_times(found, {"SliceTiming": SIX, "SliceEncodingDirection": "k-"}, 2.0)
    np.testing.assert_allclose(down, SIX[::-1])
    times, told = slice_times(found, {"SliceTiming": [1000 * t for t in SIX]}, 2.0)
    np.testing.assert_allclose(times, SIX)
    assert "taken as milliseconds" in told[0]
    times, told = slice_times(found, {"SliceTiming": [0.1] * 4, "SliceEncodingDirection": "i"}, 2.0)
    assert times is None
    assert "lie along i" in told[0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (SIX[:5], "must hold 6 times, found 5"),
        ([*SIX[:5], 2.0], r"must lie within a volume of 2 s, found 0 to 2 s"),
        ([-0.1, *SIX[1:]], "found -0.1 to 1.5 s"),
        (["a"] * 6, "must be a list of seconds"),
    ],
)
def test_slice_times__refuses(tmp_path, times, message):
    with pytest.raises(InputError, match=message):
        slice_times(header(tmp_path), {"SliceTiming": times}, 2.0)


def test_read_header__says_when_left_and_right_are_unknown(tmp_path):
    found = header(tmp_path, sform=0, qform=0)
    assert found.affine[0, 0] < 0  # as nibabel reads it
    assert "left and right are unknown" in found.warnings[0]


def test_read_header__refuses_two_orientations(tmp_path):
    path = write_image(tmp_path / "a.nii", RUN)
    content = bytearray(path.read_bytes())
    content[280:284] = np.array([3.0], "<f4").tobytes()  # srow_x[0]: the sform is flipped, the qform is not
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"sform \(RAS\) and qform \(LAS\) lie 18\.0 mm apart"):
        read_header(str(path))


@pytest.mark.parametrize(("at", "row"), [(280, [np.nan, 0, 0, 0]), (296, [0, 0, 0, 0])])
def test_read_header__refuses_a_broken_affine(tmp_path, at, row):
    path = write_image(tmp_path / "a.nii", RUN, qform=0)
    content = bytearray(path.read_bytes())
    content[at : at + 16] = np.array(row, "<f4").tobytes()  # a row of the sform; nibabel itself would write it anew
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii must have a finite, invertible sform"):
        read_header(str(path))


@pytest.mark.parametrize("file", ["CIT168.nii.gz", "atl-Anatom.nii.gz"])
def test_read_header__refuses_colours(shared_data, file):
    with pytest.raises(InputError, match=rf"{file} must hold one real number per voxel, found colours"):
        read_header(str(shared_data / "nifti_weird" / "niivue" / file))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nifti1.hdr", r"nifti1\.hdr must be a \.nii or \.nii\.gz"),
        ("row_major.dconn.nii", r"must have the shape .* found \(1, 1, 1, 1, 10, 10\)"),
        ("missing.nii", r"missing\.nii must be a file, found none"),
    ],
)
def test_read_header__refuses_other_files(shared_data, file, message):
    with pytest.raises(InputError, match=message):
        read_header(str(shared_data / "nifti_weird" / "nibabel" / file))


def test_read_header__refuses_cut_and_foreign_files(tmp_path):
    path = write_image(tmp_path / "a.nii", RUN)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=rf"a\.nii must hold {len(whole)} bytes, found {len(whole) - 100}"):
        read_header(str(path))
    (tmp_path / "b.nii.gz").write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match=r"b\.nii\.gz must be a whole gzip file"):
        read_header(str(tmp_path / "b.nii.gz"))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(InputError, match=r"c\.nii\.gz must be a NIfTI file"):
        read_header(str(tmp_path / "c.nii.gz"))
