"""Clipped samples are counted where they are visible, and nothing else is taken for them."""

from collections import Counter

import dask.array as da
import numpy as np
import pytest
from lazy import max_computes
from scanner import brain, lazily, recording, scan

from multimap_kernel.eeg import blank_spans, clean, decimate, remove_gradient_artifact

RAIL = 3.2767e-3
VOLUMES = 12


def cleaned(ds, spans=()):
    ds = decimate(remove_gradient_artifact(ds, repetition_time=2.0, volumes=VOLUMES))
    return clean(blank_spans(ds, spans=spans) if spans else ds)


def saturated(found):
    return found["quality"].sel(metric="saturated").values


@pytest.fixture(scope="module")
def run():
    """Of six channels, seed 3, the gradient artifact of four is larger than the rails."""
    return scan(channels=6, volumes=VOLUMES, height=6e-3, jitter_s=20e-6, motion=0.02, seed=3)


@pytest.fixture(scope="module")
def clipped(run):
    return run.dataset(np.clip(run.brain + run.artifact, -RAIL, RAIL))


def test_clean__a_saturated_channel_is_bad(run, clipped):
    planted = (np.abs(run.brain + run.artifact) >= RAIL)[:, run.inside].mean(1)
    assert (planted > 0.01).sum() == 4
    found = cleaned(clipped)
    np.testing.assert_allclose(saturated(found), planted, atol=2e-5)
    np.testing.assert_array_equal(found["good"], planted < 0.002)
    assert "saturated" not in found
    assert saturated(cleaned(run.dataset())).max() < 5e-5


def test_clean__clipped_peaks_of_one_sample_count():
    """At 1 kHz, with an artifact up to 500 Hz."""
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(2000)
    values = brain(3, 30000, 1000.0, rng)
    values[:, 4000:28000] += 2e-3 / np.abs(wave).max() * np.tile(wave, VOLUMES)
    rail = np.quantile(np.abs(values[0, 4000:28000]), 0.995)
    values[0] = np.clip(values[0], -rail, rail)
    assert (np.diff(np.flatnonzero(np.abs(values[0]) == rail)) == 1).mean() < 0.2
    found = cleaned(recording(values, -4.0, 1000.0))
    np.testing.assert_allclose(saturated(found), [0.005, 0, 0], atol=1e-4)
    np.testing.assert_array_equal(found["good"], [False, True, True])


def test_clean__one_rail_is_enough(run):
    values = run.brain + run.artifact
    values[0] = np.minimum(values[0] + 0.02, 0.02 + np.quantile(values[0, run.inside], 0.99))  # on an electrode's level
    found = cleaned(run.dataset(values))
    assert saturated(found)[0] == pytest.approx(0.01, rel=0.02)
    np.testing.assert_array_equal(found["good"], [False, True, True, True, True, True])


def test_clean__what_is_no_saturation(run):
    """Coarse counts with the gradient artifact and without, a gap of zeros, a dead channel, one of two values."""
    values = run.brain + run.artifact
    values[0] = 0.5e-6 * np.round(values[0] / 0.5e-6)
    values[1] = 10e-6 * np.round(values[1] / 10e-6)
    values[2] = 0.5e-6 * np.round(run.brain[2] / 0.5e-6)
    values[3] += 0.02
    values[3, 40000:50000] = 0.0
    values[4] = 0.0123
    values[5] = 0.5e-6 * (np.random.default_rng(0).random(values.shape[1]) > 0.5)
    found = saturated(cleaned(run.dataset(values)))
    assert found[:4].max() < 1e-4
    np.testing.assert_array_equal(found[4:], 0)


def test_clean__saturation_in_a_bad_span_is_forgiven(run):
    values = run.brain + 0.3 * run.artifact
    pop = np.abs(run.start + np.arange(values.shape[1]) / run.frequency - 9.0) < 0.5
    values[1, pop] = 20e-3
    assert saturated(cleaned(run.dataset(values)))[1] == pytest.approx(1.0 / (2.0 * VOLUMES), rel=0.01)
    found = cleaned(run.dataset(values), spans=[(8.0, 10.5)])
    assert saturated(found)[1] < 5e-5
    assert found["good"].all()


def test_clean__saturation_that_nobody_measured_is_not_known():
    found = clean(recording(brain(4, 15000, 250.0, np.random.default_rng(0)), 0.0, 250.0))
    assert np.isnan(saturated(found)).all()
    assert found["good"].all()


@pytest.mark.parametrize("chunks", [(1, 40000), (4, 33333)])
def test_clean__saturation_is_lazy_and_reads_each_block_once(clipped, chunks):
    asked = Counter()

    def read(block, block_info):
        asked[tuple(block_info[0]["chunk-location"])] += 1
        return block

    lazy = lazily(clipped, chunks)
    lazy["eeg"].data = da.map_blocks(read, lazy["eeg"].data, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    with max_computes(1):
        found = cleaned(lazy).compute()
    assert set(asked.values()) == {1}
    plain = cleaned(clipped)
    np.testing.assert_allclose(saturated(found), saturated(plain), atol=1e-7)
    np.testing.assert_array_equal(found["good"], plain["good"])
