"""A run that shows too little of the brain says so, up to the report."""

import numpy as np
import pytest
import xarray as xr
from heads import head, run_of, upright

import multimap_kernel as mm
from multimap_kernel.fmri import check_coverage, realign
from multimap_kernel.io.bids import Session
from multimap_kernel.io.templates import load_template
from multimap_kernel.pipeline.keys import Inputs
from multimap_kernel.pipeline.publish import _report
from multimap_kernel.pipeline.steps import normalise_bold
from multimap_kernel.schema import SchemaError, affine_coordinate, affine_matrix

MM = 5.0


def brain(low=None, high=None, axis="z"):
    """The template's brain, of which a run shows the part from ``low`` to ``high``, mm from the first voxel of it."""
    ds = load_template(MM).drop_vars("anatomy").pad(dict.fromkeys("zyx", 4), constant_values=False)
    rows = np.flatnonzero(ds["mask"].any([name for name in "zyx" if name != axis]))
    ends = [None if mm is None else rows[0] + round(mm / MM) for mm in (low, high)]
    return ds.assign(mask=ds["mask"].astype(bool)).isel({axis: slice(*ends)})


def stored(ds, order, flip):
    """The same head in a file of another order and direction of its axes."""
    matrix = affine_matrix(ds)[:, [*order, 3]]
    names = ["xyz"[axis] for axis in order][::-1]
    turned = xr.Dataset({"mask": (("z", "y", "x"), ds["mask"].transpose(*names).values)})
    if flip:
        turned["mask"] = turned["mask"][::-1]
        matrix[:, 2] *= -1
    return turned.assign_coords(affine=affine_coordinate(matrix))


@pytest.mark.parametrize(
    ("low", "high", "axis", "told"),
    [
        (None, None, "z", None),
        (10, None, "z", None),  # the lower cerebellum alone is cut off
        (65, None, "z", "from bottom to top"),
        (None, 70, "z", "only 70 mm of the brain from bottom to top"),
        (40, 100, "z", "only 60 mm of the brain from bottom to top"),
        (60, 120, "y", "only 60 mm of the brain from back to front"),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("flip", [False, True])
def test_check_coverage__tells_a_brain_that_is_cut_off(low, high, axis, told, order, flip):
    found = check_coverage(stored(brain(low, high, axis), order, flip))
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


@pytest.mark.parametrize(("low", "high", "told"), [(None, None, 0), (65, None, 1), (None, 70, 1), (20, 130, 1)])
def test_check_coverage__slices_without_data_hide_no_cut(low, high, told):
    assert len(check_coverage(brain(low, high).pad(z=2, constant_values=False))) == told


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_check_coverage__tells_a_padded_run_as_realign_gives_it(padding):
    low = upright((32, 32, 13), middle=np.array([0.0, -18.0, 35.0]))
    still = head(low, grid=(32, 32, 13))
    noise = np.random.default_rng(6).standard_normal((4, *still.shape))
    volumes = np.pad((still + 20 * noise).astype(np.float32), ((0, 0), (padding, padding), (0, 0), (0, 0)))
    (told,) = check_coverage(realign(run_of(volumes, low), backend="none"))
    assert "from bottom to top" in told


def test_check_coverage__a_small_head_in_a_wide_field_is_whole():
    ds = brain()
    assert check_coverage(ds.assign_coords(affine=affine_coordinate(affine_matrix(ds) * 0.7))) == ()


def test_check_coverage__needs_a_mask():
    with pytest.raises(SchemaError, match="mask"):
        check_coverage(brain().drop_vars("mask"))


@pytest.mark.parametrize(("space", "told"), [("MNI", 1), ("native", 0)])
def test_normalise_bold__tells_the_report_of_a_brain_that_is_cut_off(space, told):
    """A T1w would help, and nothing needs help in native space."""
    low = upright((32, 32, 13), middle=np.array([0.0, -18.0, 35.0]))
    still = head(low, grid=(32, 32, 13))
    noise = np.random.default_rng(6).standard_normal((11, *still.shape))
    bold = run_of((still + 20 * noise).astype(np.float32), low)
    bold.attrs["warnings"] = []
    recipe = mm.Recipe.parse({"realign": {"backend": "none"}, "normalise": {"space": space}})
    inputs = Inputs(
        Session(subject="01", task="x", eeg="", bold="", sidecar={}),
        {part: getattr(recipe, part) for part in ("realign", "normalise", "confounds")},
        {
            "ingest": {"bold": bold, "eeg": xr.Dataset()},
            "realign": {"": realign(bold, backend="none")},
            "normalise_anatomy": {},
        },
        provenance={"recipe": {}, "keys": {}, "multimap": ""},
    )
    values = {"realign": {}, "clean_eeg": {}, "normalise": normalise_bold(inputs).values}
    page = _report(Inputs(inputs.session, {}, inputs.datasets, values, provenance=inputs.provenance), ((), ()))
    assert page.count("of the brain from bottom to top, cut off by the field of view") == told
