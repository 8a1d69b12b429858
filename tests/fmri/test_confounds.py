"""Confounds: displacement, DVARS, motion models and drifts, each against its published definition."""

import numpy as np
import pytest
import xarray as xr
from heads import run_of
from lazy import max_computes

from multimap_kernel.fmri import confounds
from multimap_kernel.fmri.rigid import PARAMETERS
from multimap_kernel.schema import InputError

COUNT = 60


@pytest.fixture
def ds():
    values = 500 + np.random.default_rng(2).standard_normal((COUNT, 3, 4, 5)).astype(np.float32)
    mask = np.zeros((3, 4, 5), bool)
    mask[1:] = True
    run = run_of(values, np.eye(4), 2.0, steady=np.arange(COUNT) >= 2)
    return run.assign(mask=(("z", "y", "x"), mask))


@pytest.fixture
def motion():
    pose = np.cumsum(np.random.default_rng(1).standard_normal((COUNT, 6)) * [0.03, 0.03, 0.03, 3e-4, 3e-4, 3e-4], 0)
    pose[30:, 0] += 2
    pose[30:, 3] += 0.01
    return xr.Dataset({"motion": (("time", "parameter"), pose)}, coords={"parameter": list(PARAMETERS)})


def test_confounds__displacement_is_that_of_power(ds, motion):
    found = confounds(ds, motion=motion)["framewise_displacement"].values
    pose = motion["motion"].values
    for k in (1, 30):
        step = np.abs(pose[k] - pose[k - 1])
        assert found[k] == pytest.approx(step[:3].sum() + 50 * step[3:].sum())
    assert found[0] == 0
    assert found.argmax() == 30


def test_confounds__flags_moved_volumes_and_dummies(ds, motion):
    found = confounds(ds, motion=motion, model="none", fd_threshold_mm=1.0)["confound"]
    spikes = found.sel(regressor=[name for name in found["regressor"].values if name.startswith("spike")])
    assert spikes["regressor"].values.tolist() == ["spike_0000", "spike_0001", "spike_0030"]
    assert np.argwhere(spikes.values)[:, 0].tolist() == [0, 1, 30]


@pytest.mark.parametrize(("model", "count"), [("motion6", 6), ("motion24", 24), ("none", 0)])
def test_confounds__motion_models_have_their_size(ds, motion, model, count):
    found = confounds(ds, motion=motion, model=model)["confound"]
    columns = found.values[:, [name.startswith(("trans", "rot")) for name in found["regressor"].values]]
    assert columns.shape[1] == count
    np.testing.assert_allclose(columns.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(columns.std(0), 1)
    assert np.linalg.matrix_rank(found.values) == found.sizes["regressor"]


def test_confounds__cosines_are_slow(ds, motion):
    """120 s and 0.02 Hz: 2 f T = 4.8, so four cosines, orthogonal to each other and to a constant."""
    found = confounds(ds, motion=motion, model="none", fd_threshold_mm=99, high_pass_hz=0.02)["confound"]
    cosines = found.values[:, [name.startswith("cosine") for name in found["regressor"].values]]
    assert cosines.shape[1] == 4
    gram = np.c_[cosines, np.ones(COUNT)].T @ np.c_[cosines, np.ones(COUNT)]
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-9)


def test_confounds__leaves_out_motion_that_was_not_estimated(ds, motion):
    found = confounds(ds, motion=motion * 0)["confound"]
    assert not any(name.startswith(("trans", "rot")) for name in found["regressor"].values)


def test_confounds__dvars_is_the_change_within_the_mask(ds, motion):
    values = ds["bold"].values[:, ds["mask"].values].astype(float)
    wanted = 1000 / values.mean() * np.sqrt((np.diff(values, axis=0) ** 2).mean(1))
    found = confounds(ds, motion=motion)["dvars"].values
    np.testing.assert_allclose(found, np.append(0, wanted), rtol=1e-5)


def test_confounds__takes_the_mask_of_the_run_for_raw_volumes(ds, motion):
    raw = confounds(ds.drop_vars("mask"), motion=motion.assign(mask=ds["mask"]))
    assert raw["dvars"].equals(confounds(ds, motion=motion)["dvars"])


@pytest.mark.parametrize("chunks", [{"time": 7}, {"time": 1, "x": 2}, {"time": -1}])
def test_confounds__does_not_depend_on_chunks(ds, motion, chunks):
    whole = confounds(ds, motion=motion)
    with max_computes(0):
        lazy = confounds(ds.chunk(chunks), motion=motion)
    np.testing.assert_allclose(lazy["dvars"].compute(), whole["dvars"], rtol=1e-12)
    assert lazy["confound"].equals(whole["confound"])


def test_confounds__refuses_to_explain_everything(ds, motion):
    with pytest.raises(InputError, match=r"found \d+ \(60 of flagged volumes\) for 60 volumes; raise"):
        confounds(ds, motion=motion, fd_threshold_mm=0.01)


def test_confounds__refuses_an_unknown_model(ds, motion):
    with pytest.raises(InputError, match="'motion12'"):
        confounds(ds, motion=motion, model="motion12")


def test_confounds__refuses_motion_of_another_run(ds, motion):
    with pytest.raises(InputError, match="the same volumes, found 59 and 60"):
        confounds(ds, motion=motion.isel(time=slice(1, None)))
