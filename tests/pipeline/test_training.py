"""The joint model in the line: the fuse step, and the runs of a study that the model learns from."""

import json

import numpy as np
import pytest
import xarray as xr
from coupled import CHANNELS, coupled_runs

import multimap_kernel as mm
from multimap_kernel.io.bids import Session
from multimap_kernel.io.store import Product, replace
from multimap_kernel.pipeline import Inputs, training_runs
from multimap_kernel.pipeline.steps import fuse
from multimap_kernel.schema import InputError, affine_coordinate

RECIPE = mm.Recipe.parse({"fuse": {"model": "joint", "split": {"folds": 2}}})


def features(run, keep=slice(None)):
    """What the features step gives: every region one voxel of 24 mm, so that each is a cube of its own."""
    series = run["region_series"].values[:, keep]
    mask = np.ones((series.shape[1], 1, 1), bool)
    voxels = xr.Dataset(
        {"series": (("time", "voxel"), series), "mask": (("z", "y", "x"), mask)},
        {"affine": affine_coordinate(np.diag([24.0, 24.0, 24.0, 1.0]))},
    )
    return xr.merge([run.drop_dims("region"), voxels], combine_attrs="override").assign_attrs(run.attrs)


@pytest.fixture(scope="module")
def runs():
    return list(coupled_runs(2, minutes=6.0, coupling=1.0, channels=CHANNELS[6:], regions=3).values())


def test_fuse__with_the_joint_model_leaves_an_embedding_of_both_sides_and_a_card(runs, tmp_path):
    inputs = Inputs(
        session=Session("01", task="flicker"),
        options={"fuse": RECIPE.fuse},
        datasets={"features": {"": features(runs[0])}},
    )
    store = mm.Store(str(tmp_path), "study")
    store.write("sub-01/task-flicker/fuse", "key", fuse(inputs), {})
    found = store.open("sub-01/task-flicker/fuse", "key")
    assert found[""]["prediction"].dims == ("time", "voxel")
    embedding = found["joint"]["embedding"]
    assert embedding.dims == ("time", "modality", "latent")
    assert embedding.shape[1:] == (2, 4)  # at most half of eight regions
    known = embedding.values[np.isfinite(embedding.values[:, 0, 0])]
    assert len(known) > 150
    np.testing.assert_allclose(np.linalg.norm(known, axis=2), 1, atol=1e-5)
    values = store.commit("sub-01/task-flicker/fuse", "key")["values"]
    assert values["card"].startswith("# Joint model of EEG and BOLD\n\n**In short:** no gain over the ridge")
    assert set(values["evaluation"]["scores"]) >= {"mean", "design only", "ridge", "joint"}


def test_training_runs__are_the_regions_that_all_sessions_have(runs, tmp_path):
    store = mm.Store(str(tmp_path), "study")
    for number, (run, keep) in enumerate(zip(runs, (slice(None), slice(6)), strict=True), 1):
        place = f"sub-0{number}/task-flicker"
        store.write(f"{place}/features", "key", Product({"": features(run, keep)}), {})
        pointer = {"steps": {"features": {"place": f"{place}/features", "key": "key"}}}
        replace(store.url(place, "current", "default.json"), json.dumps(pointer).encode())
    found = training_runs(store, RECIPE)
    assert list(found) == ["sub-01_task-flicker", "sub-02_task-flicker"]
    assert [ds.sizes["region"] for ds in found.values()] == [6, 6]
    np.testing.assert_allclose(
        found["sub-02_task-flicker"]["region_series"], runs[1]["region_series"][:, :6], rtol=1e-6
    )
    assert list(training_runs(store, RECIPE, ["sub-01_task-flicker"])) == ["sub-01_task-flicker"]
    with pytest.raises(InputError, match="study 'other' must have a session with features to learn from, found none"):
        training_runs(mm.Store(str(tmp_path), "other"), RECIPE)
