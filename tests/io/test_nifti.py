"""Reading NIfTI: geometry against nibabel, values, laziness, memory on disk, missing values."""

import gc
import pickle
import tempfile
from pathlib import Path

import dask
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from lazy import max_computes
from recordings import write_image

from multimap_kernel.io.nifti import check_values, read_anatomy, read_bold
from multimap_kernel.schema import InputError, affine_matrix

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([2.0, 2.5, 3.5]), [-40.0, -60.0, -30.0]
)
AFFINES = {
    "RAS": nib.affines.from_matvec(np.diag([3.0, 3.0, 3.0]), [-10.0, -20.0, -5.0]),
    "LAS": nib.affines.from_matvec(np.diag([-3.0, 3.0, 3.0]), [10.0, -20.0, -5.0]),
    "oblique": OBLIQUE,
    "anisotropic LSP": nib.affines.from_matvec(np.array([[-2.0, 0, 0], [0, 0, -1.5], [0, 5.0, 0]]), [4.0, 5.0, 6.0]),
}
RUN = np.random.default_rng(0).integers(-500, 500, (4, 5, 6, 19)).astype("i2")


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch) -> Path:
    """Inflated copies of one test in one place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_read_bold__same_value_at_the_same_place_as_nibabel(tmp_path, name, ending):
    path = write_image(tmp_path / f"a{ending}", RUN, AFFINES[name])
    ds, image = read_bold(str(path)).compute(), nib.load(path)
    np.testing.assert_allclose(affine_matrix(ds), image.affine, atol=1e-6)
    for i, j, k, volume in np.random.default_rng(1).integers(0, (4, 5, 6, 19), (20, 4)):
        assert ds["bold"][volume, k, j, i].item() == image.dataobj[i, j, k, volume]


def test_read_bold__is_lazy_until_computed(tmp_path, scratch):
    path = write_image(tmp_path / "a.nii.gz", RUN)
    with max_computes(0):
        ds = read_bold(str(path))
    assert ds["bold"].chunks[0] == (8, 8, 3)
    assert not scratch.exists()


def test_read_bold__two_readings_have_the_same_name(tmp_path):
    path = str(write_image(tmp_path / "a.nii.gz", RUN))
    assert read_bold(path)["bold"].data.name == read_bold(path)["bold"].data.name


def test_read_bold__inflates_once_and_cleans_up(tmp_path, scratch):
    ds = read_bold(str(write_image(tmp_path / "a.nii.gz", RUN)))
    late = ds["bold"].isel(time=slice(16, None))
    del ds
    np.testing.assert_array_equal(late.values, RUN.T[16:])
    assert len(list(scratch.glob("multimap-plain-*/plain.nii"))) == 1
    del late
    gc.collect()
    assert not list(scratch.iterdir())


def test_read_bold__graph_works_where_the_copy_is_missing(tmp_path, scratch):
    """As on a worker of another machine: the graph arrives by pickle, the first task's copy is elsewhere."""
    ds = read_bold(str(write_image(tmp_path / "a.nii.gz", RUN)))
    there = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(there["bold"].values, RUN.T)
    del ds
    gc.collect()
    np.testing.assert_array_equal(there["bold"].compute(scheduler="threads"), RUN.T)


@pytest.mark.parametrize("file", ["fmri1.nii.gz", "functional.nii", "functional.nii.gz"])
def test_read_bold__real_files_agree_with_nibabel(shared_data, file):
    path = shared_data / "nipy_small_fmri" / file
    ds, image = read_bold(str(path)), nib.load(path)
    np.testing.assert_allclose(ds["bold"].values, image.get_fdata().T, rtol=1e-6)
    np.testing.assert_allclose(affine_matrix(ds), image.affine, atol=1e-6)
    assert ds.attrs["repetition_time"] == (1.35 if file == "fmri1.nii.gz" else 2.0)


def test_read_bold__scaled_values_are_float32(tmp_path):
    image = nib.Nifti1Image(RUN, np.eye(4))
    image.header.set_slope_inter(0.25, 100.0)
    image.header["pixdim"][4] = 2.0
    nib.save(image, tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("r+b") as file:  # nibabel sets the slope anew on saving integers
        file.seek(112)
        file.write(np.array([0.25, 100.0], "<f4").tobytes())
    ds = read_bold(str(tmp_path / "a.nii"))
    assert ds["bold"].dtype == np.float32
    np.testing.assert_allclose(ds["bold"].values, RUN.T * 0.25 + 100.0, rtol=1e-7)


def test_read_bold__big_endian_becomes_native(tmp_path):
    image = nib.Nifti1Image(RUN, np.eye(4), nib.Nifti1Header(endianness=">"))
    image.header["pixdim"][4] = 2.0
    nib.save(image, tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header.endianness == ">"
    values = read_bold(str(tmp_path / "a.nii"))["bold"].values
    assert values.dtype.isnative
    np.testing.assert_array_equal(values, RUN.T)


def test_read_bold__time_volumes_slices(tmp_path):
    path = write_image(tmp_path / "a.nii", RUN)
    (tmp_path / "a.json").write_text('{"RepetitionTime": 2.0, "SliceTiming": [0, 0.3, 0.6, 0.9, 1.2, 1.5]}')
    ds = read_bold(str(path), dummy_volumes=2)
    assert ds["time"].values.tolist() == [2.0 * k for k in range(19)]
    assert ds["steady_state"].values.tolist() == [False] * 2 + [True] * 17
    np.testing.assert_allclose(ds["slice_time"], [0, 0.3, 0.6, 0.9, 1.2, 1.5])
    assert ds["slice_time"].dims == ("z",)


@pytest.mark.parametrize("dummies", [-1, 19])
def test_read_bold__refuses_impossible_dummies(tmp_path, dummies):
    path = str(write_image(tmp_path / "a.nii", RUN))
    with pytest.raises(InputError, match=r"a\.nii must lie between 0 and 18"):
        read_bold(path, dummy_volumes=dummies)


def test_read_bold__refuses_one_volume_and_names_file_and_shape(shared_data):
    with pytest.raises(InputError, match=r"fmri_pitch\.nii\.gz must be 4-D .* \(64, 64, 35\)"):
        read_bold(str(shared_data / "nifti_weird" / "niivue" / "fmri_pitch.nii.gz"))


def test_read_bold__truncated_gzip_names_the_file(tmp_path):
    path = write_image(tmp_path / "cut.nii.gz", RUN)
    path.write_bytes(path.read_bytes()[:-600])
    ds = read_bold(str(path))
    with pytest.raises(InputError, match=r"cut\.nii\.gz must be a whole gzip file"):
        ds["bold"].compute()


def test_read_bold__remote_file(tmp_path):
    import fsspec

    path = write_image(tmp_path / "a.nii.gz", RUN)
    fsspec.filesystem("memory").pipe_file("/study/a.nii.gz", path.read_bytes())
    np.testing.assert_array_equal(read_bold("memory://study/a.nii.gz")["bold"].values, RUN.T)


def test_read_anatomy__agrees_with_nibabel_and_has_no_nan(shared_data):
    path = shared_data / "nipy_small_fmri" / "resampled_anat_moved.nii"
    image = nib.load(path).get_fdata()
    with max_computes(0):
        ds = read_anatomy(str(path))
    assert np.isnan(image).sum() == 153
    np.testing.assert_allclose(ds["anatomy"].values, np.nan_to_num(image).T, rtol=1e-6)
    assert ds["anatomy"].dtype == np.float32


def test_read_anatomy__refuses_a_run(tmp_path):
    with pytest.raises(InputError, match=r"must be a single 3-D image, found shape \(4, 5, 6, 19\)"):
        read_anatomy(str(write_image(tmp_path / "a.nii", RUN)))


@pytest.mark.parametrize("chunks", [None, (3, 2, 5, 4), (19, 6, 5, 1)])
def test_check_values__counts_gaps_whatever_the_chunks(chunks):
    values = np.ones((19, 6, 5, 4), "f4")
    values[:, 0, 0, :2] = np.nan  # two voxels outside
    values[3, 2, 2, 2] = np.inf  # one gap of 118 voxels
    data = values if chunks is None else dask.array.from_array(values, chunks=chunks)
    ds = xr.Dataset({"bold": (("time", "z", "y", "x"), data)})
    assert [text.split()[0] for text in check_values(ds)] == ["1", "2"]


def test_check_values__refuses_empty_volumes_and_many_gaps():
    values = np.ones((19, 6, 5, 4), "f4")
    values[[4, 7]] = np.nan
    with pytest.raises(InputError, match=r"found none in volumes \[4, 7\]"):
        check_values(xr.Dataset({"bold": (("time", "z", "y", "x"), values)}))
    values[[4, 7]] = 1
    values[5, :2] = np.nan
    with pytest.raises(InputError, match="40 of 120 voxels lack some"):
        check_values(xr.Dataset({"bold": (("time", "z", "y", "x"), values)}))
