"""The template against nilearn."""

import nilearn.datasets
import numpy as np
import pytest

from multimap_kernel.io.templates import load_template
from multimap_kernel.schema import InputError, affine_matrix, require


def test_load_template__is_that_of_nilearn():
    ds = load_template(8)
    image, brain = (
        nilearn.datasets.load_mni152_template(resolution=8),
        nilearn.datasets.load_mni152_brain_mask(resolution=8),
    )
    np.testing.assert_array_equal(ds["anatomy"], image.get_fdata(dtype=np.float32).T)
    np.testing.assert_array_equal(ds["mask"], brain.get_fdata().T > 0)
    np.testing.assert_array_equal(affine_matrix(ds), image.affine)
    require(ds, "anatomy", "mask", where="test")
    assert ds.attrs["space"] == "MNI152NLin2009aSym"


@pytest.mark.parametrize("resolution", [2.5, 6.0])
def test_load_template__brain_has_the_volume_of_a_brain(resolution):
    ds = load_template(resolution)
    litres = ds["mask"].sum().item() * resolution**3 / 1e6
    assert 1.8 < litres < 1.95  # 1.88 at 1 mm
    middle = np.linalg.inv(affine_matrix(ds)) @ [0, -20, 10, 1]
    x, y, z = np.round(middle[:3]).astype(int)
    assert ds["mask"].values[z, y, x]


@pytest.mark.parametrize("resolution", [0.5, 0, 50])
def test_load_template__refuses_other_resolutions(resolution):
    with pytest.raises(InputError, match="resolution_mm must lie between 1 and 20"):
        load_template(resolution)
