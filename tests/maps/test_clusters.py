"""Clusters of voxels and the family-wise p of their size."""

import numpy as np
import pytest
from analysis import analysis_dataset, lazy
from lazy import max_computes
from scipy import stats

from multimap_kernel.maps import activation_map
from multimap_kernel.maps.clusters import beyond, cluster_p, height_of
from multimap_kernel.schema import InputError

MASK = np.ones((3, 4, 5), bool)


def signs(*places):
    """One map (voxel,) from (z, y, x, sign)."""
    volume = np.zeros(MASK.shape, np.int8)
    for z, y, x, sign in places:
        volume[z, y, x] = sign
    return volume[MASK]


def test_cluster_p__counts_voxels_that_touch_and_have_one_sign():
    real = signs((0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 2, 1), (0, 2, 2, -1), (2, 3, 4, 1))
    # sizes: three by a face and an edge, one negative beside them, one alone
    null = [
        signs(),
        signs((1, 1, 1, 1)),
        signs((1, 1, 1, 1), (1, 1, 2, 1), (1, 1, 3, 1)),
        signs((1, 1, 1, 1), (1, 1, 2, -1)),
    ]
    p, largest = cluster_p(np.array([[real, *null]]), MASK)
    assert largest.tolist() == [0, 1, 3, 1]
    found = np.ones(MASK.shape)
    found[0, 0, 0] = found[0, 0, 1] = found[0, 1, 2] = 2 / 5
    found[0, 2, 2] = found[2, 3, 4] = 4 / 5
    np.testing.assert_allclose(p, found[MASK][None], rtol=1e-6)


def test_cluster_p__corners_do_not_touch():
    p, _ = cluster_p(np.array([[signs((0, 0, 0, 1), (1, 1, 1, 1)), signs((0, 0, 0, 1), (0, 0, 1, 1))]]), MASK)
    assert p[0, 0] == 1.0  # one voxel each, and the null had two


def test_cluster_p__maps_of_one_family_share_their_largest():
    one = [signs((0, 0, 0, 1)), signs(), signs((1, 1, 1, 1))]
    other = [signs((2, 2, 2, -1), (2, 2, 3, -1)), signs((1, 1, 1, 1), (1, 1, 2, 1)), signs()]
    p, largest = cluster_p(np.array([one, other]), MASK)
    assert largest.tolist() == [2, 1]
    assert p.min(axis=1) == pytest.approx([1.0, 2 / 3])


def test_height_of__is_the_correlation_of_that_p():
    r = height_of(0.001, 40)
    assert 2 * stats.t.sf(r * np.sqrt(40 / (1 - r**2)), 40) == pytest.approx(0.001)
    assert beyond(np.array([r + 0.01, -r - 0.01, r - 0.01, np.nan]), r).tolist() == [1, -1, 0, 0]
    with pytest.raises(InputError, match="must lie in"):
        height_of(0.2, 40)


@pytest.fixture(scope="module")
def ds():
    made = analysis_dataset(3, task=1.0)
    return made.assign(prediction=made["series"] * np.float32(0.1))


@pytest.mark.parametrize("null", ["phase", "shift"])
def test_activation_map__clusters_of_the_planted_voxels(ds, null):
    got = activation_map(ds, contrasts={}, null=null, cluster_p=0.001)
    p = got["p_cluster"].sel(condition="go", modality="bold").values[ds["mask"].values]
    truth = ds["truth_task"].values
    assert (p < 0.05)[truth].mean() > 0.5
    assert (p < 0.05)[~truth].mean() < 0.05
    assert got["p_cluster"].sel(modality="joint").isnull().all()
    plain = activation_map(ds, contrasts={}, null=null)
    assert "p_cluster" not in plain
    np.testing.assert_array_equal(got["p_fwe"], plain["p_fwe"])


def test_activation_map__clusters_on_dask_are_lazy_and_equal(ds):
    expected = activation_map(ds, contrasts={}, cluster_p=0.001, permutations=49)
    with max_computes(0):
        got = activation_map(lazy(ds), contrasts={}, cluster_p=0.001, permutations=49)
    np.testing.assert_allclose(got["p_cluster"].values, expected["p_cluster"].values)


def test_activation_map__null_runs_have_clusters_as_often_as_promised():
    found = 0
    for seed in range(40):
        null = analysis_dataset(4000 + seed, volumes=60, shape=(4, 6, 7))
        got = activation_map(null, contrasts={}, permutations=99, cluster_p=0.01)
        found += float(got["p_cluster"].min()) < 0.05
    assert found <= 6  # of 40 at .05: more in 1 %
