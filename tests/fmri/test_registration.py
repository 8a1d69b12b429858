"""Run to anatomy to template: landmarks come home."""

import numpy as np
import pytest
import xarray as xr
from heads import GRID, MIDDLE, head, landmarks, upright
from lazy import max_computes
from scipy.spatial.transform import Rotation

from multimap_kernel.fmri import check_coverage, estimate_normalisation
from multimap_kernel.fmri.mask import brain_mask
from multimap_kernel.io.templates import load_template
from multimap_kernel.schema import InputError, SchemaError, affine_coordinate


@pytest.fixture(scope="module")
def template():
    return load_template(3.0)


def subject_to_template():
    """A head that is turned by up to 12 degrees, stretched by up to 7 %, and 15 mm off."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [0.2, -0.06, 0.08]).as_matrix() @ np.diag([1.06, 0.94, 1.03])
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ (MIDDLE + np.array([4, -9, 12]))
    return matrix


def oblique_grid():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [0.15, 0.03, -0.04]).as_matrix() @ np.diag([6.5, 6.5, 6.5])
    affine[:3, 3] = MIDDLE + np.array([6, -8, 8]) - affine[:3, :3] @ ((np.array(GRID) - 1) / 2)
    return affine


def run(flipped=False):
    """An EPI of the turned head on an oblique grid, with a bias field and noise; LAS storage if flipped."""
    affine = oblique_grid()
    image = head(affine, subject_to_template())
    z, _, x = np.indices(image.shape)
    rng = np.random.default_rng(8)
    image = image * (1 + 0.15 * x / 32 - 0.1 * z / 20) + 40 * rng.standard_normal(image.shape)
    if flipped:
        image = image[:, :, ::-1]
        affine = affine @ np.array([[-1, 0, 0, GRID[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mask = brain_mask(image, affine[:, [2, 1, 0, 3]], np.ones(image.shape, bool))
    dims = ("z", "y", "x")
    variables = {"reference": (dims, image.astype(np.float32).copy()), "mask": (dims, mask)}
    return xr.Dataset(variables, coords={"affine": affine_coordinate(affine)})


def errors(found):
    """Distance (n,) in mm between where landmarks of the template come to lie and where they belong."""
    marks = np.c_[landmarks(), np.ones(len(landmarks()))].T
    matrix = np.vstack([found["transform"].values, [0, 0, 0, 1]])
    return np.linalg.norm((matrix @ np.linalg.inv(subject_to_template()) @ marks - marks)[:3], axis=0)


@pytest.mark.parametrize("flipped", [False, True])
def test_estimate_normalisation__brings_landmarks_home(template, flipped):
    found = errors(estimate_normalisation(run(flipped), target=template))
    assert np.median(found) < 2  # a third of a voxel
    assert np.quantile(found, 0.95) < 3


def own_anatomy(template, stretch=1.0):
    """The subject's T1w: the template itself, seen from the subject's world; its way there may be stretched."""
    to_template = subject_to_template()
    affine = np.linalg.inv(to_template) @ np.vstack([template["affine"].values, [0, 0, 0, 1]])
    anatomy = template[["anatomy"]].assign_coords(affine=affine_coordinate(affine))
    wide = np.diag([stretch, stretch, stretch, 1.0]) @ to_template
    return anatomy.assign(transform=(("world", "index"), wide[:3]))


def test_estimate_normalisation__goes_through_the_anatomy(template):
    found = errors(estimate_normalisation(run(), target=template, anatomy=own_anatomy(template)))
    assert np.median(found) < 3


@pytest.mark.parametrize("stretch", [0.7, 1.5])
def test_estimate_normalisation__refuses_what_is_no_head(template, stretch):
    with pytest.raises(InputError, match=r"must stretch a head by 0.75 to 1.4, found"):
        estimate_normalisation(run(), target=template, anatomy=own_anatomy(template, stretch))


def test_estimate_normalisation__of_the_top_alone_needs_the_anatomy(template):
    """The 85 mm below the vertex tell no size: the run says so, and through the T1w its landmarks come home."""
    whole = run()
    top = whole.isel(z=slice(7, None))
    shift = np.vstack([whole["affine"].values, [0, 0, 0, 1]])
    shift[:3, 3] += 7 * shift[:3, 2]
    top = top.assign_coords(affine=affine_coordinate(shift))
    assert check_coverage(whole) == ()
    assert len(check_coverage(top)) == 1
    assert np.median(errors(estimate_normalisation(top, target=template, anatomy=own_anatomy(template)))) < 3


def test_estimate_normalisation__takes_a_t1w_for_the_head(template):
    affine = upright((70, 80, 66), (2.7, 2.7, 2.7))
    image = 1000 - head(affine, subject_to_template(), (70, 80, 66))
    anatomy = xr.Dataset(
        {"anatomy": (("z", "y", "x"), np.where(image < 995, image, 0).astype(np.float32))},
        coords={"affine": affine_coordinate(affine)},
    )
    assert np.median(errors(estimate_normalisation(anatomy, target=template))) < 3


def test_estimate_normalisation__is_lazy_and_bit_identical(template):
    ds = run()
    with max_computes(0):
        lazy = estimate_normalisation(ds.chunk(x=11), target=template)
    whole = estimate_normalisation(ds, target=template)
    np.testing.assert_array_equal(lazy["transform"].compute(scheduler="synchronous"), whole["transform"])


def test_estimate_normalisation__refuses_an_empty_mask(template):
    ds = run()
    ds["mask"][:] = False
    with pytest.raises(InputError, match="brain mask that is not empty"):
        estimate_normalisation(ds, target=template)


def test_estimate_normalisation__refuses_a_run_without_reference(template):
    with pytest.raises(SchemaError, match="reference"):
        estimate_normalisation(run().drop_vars("reference"), target=template)
