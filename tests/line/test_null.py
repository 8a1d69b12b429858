"""Twenty tiny sessions in which nothing is planted: maps must find nothing. Many more seeds: ``make validate``."""

import numpy as np
import pytest
from truth import activation_auc, alpha_auc
from walk import tiny_maps

pytestmark = pytest.mark.line

SEEDS = range(20)
LABEL = "sub-01_task-flicker"


@pytest.fixture(scope="module")
def nulls(tmp_path_factory):
    """For each seed without task and without coupling: smallest p of the coupling family, and how regions stand out."""
    found = []
    for seed in SEEDS:
        bids = tmp_path_factory.mktemp(f"null-{seed}")
        maps = tiny_maps(bids, seed, coupling=0, task_effect=0)
        activation, coupling = maps["activation"], maps["coupling"]
        task = [activation_auc(activation, bids, LABEL, condition) for condition in ("flicker", "tapping")]
        smallest = float(np.nanmin(coupling["p_fwe"].values))
        found.append((smallest, float(np.mean(task)), alpha_auc(coupling, bids, LABEL)))
    return np.array(found)


def test_coupling__family_wise_error_holds_without_coupling(nulls):
    assert (nulls[:, 0] < 0.05).sum() <= 3, nulls[:, 0]


def test_maps__regions_do_not_stand_out_without_effects(nulls):
    assert abs(nulls[:, 1].mean() - 0.5) <= 0.05
    assert abs(nulls[:, 2].mean() - 0.5) <= 0.05
