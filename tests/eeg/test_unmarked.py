"""Scanning without volumes is found where it was planted, and then reaches no volume; silence and muscles are none."""

import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording, scan

from multimap_kernel.eeg import (
    band_power,
    blank_spans,
    clean,
    decimate,
    find_unmarked_scanning,
    remove_gradient_artifact,
)
from multimap_kernel.schema import InputError

BANDS = {"alpha": (8.0, 12.0), "beta": (13.0, 30.0), "gamma": (30.0, 60.0)}
VOLUMES = 12


@pytest.fixture(scope="module")
def planted():
    """Twenty volumes of which four at each end have no marker: time 0 is the fifth; 4 s of silence before, 3 s after.

    Gives the run, the Dataset with all of it, and the one whose scanner is silent outside the volumes.
    """
    run = scan(channels=4, volumes=VOLUMES + 8, frequency=1000.0, seed=2)
    start = run.start - 8.0
    time = start + np.arange(run.brain.shape[1]) / run.frequency
    silent = run.artifact * ((time >= 0) & (time < 2.0 * VOLUMES))
    loud, quiet = (recording(run.brain + one, start, run.frequency) for one in (run.artifact, silent))
    return run, loud, quiet


def found(ds, **options):
    return find_unmarked_scanning(ds, **{"repetition_time": 2.0, "volumes": VOLUMES} | options)


def power(ds, spans=()):
    ds = remove_gradient_artifact(ds, repetition_time=2.0, volumes=VOLUMES, window=8)
    ds = clean(decimate(blank_spans(ds, spans=spans) if spans else ds), reference="recording")
    return band_power(ds, bands=BANDS, repetition_time=2.0, volumes=VOLUMES)["band_power"].values


def test_find_unmarked_scanning__where_it_was_planted(planted):
    _, loud, _ = planted
    np.testing.assert_allclose(found(loud), [(-8.0, 0.0), (24.0, 32.0)], atol=0.25)
    assert found(loud)[0][1] == 0.0  # not a sample of the first volume
    assert found(loud)[1][0] == 24.0
    np.testing.assert_allclose(found(loud, dummies=2), [(-8.0, -4.0), (24.0, 32.0)], atol=0.25)
    np.testing.assert_allclose(found(loud, volumes=16), [(-8.0, 0.0)], atol=0.25)


def test_find_unmarked_scanning__keeps_it_out_of_first_and_last_volumes(planted):
    _, loud, quiet = planted
    truth, ends = power(quiet), [0, 1, -2, -1]
    assert (power(loud) / truth)[ends].max() > 10  # what happens without
    ratio = (power(loud, found(loud)) / truth)[ends]
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


def test_find_unmarked_scanning__a_few_samples_and_weak_scanning_apart_from_the_run(planted):
    run, loud, quiet = planted
    cut = loud.isel(time=slice(int(11.95 * 1000), None))
    assert found(cut)[0] == pytest.approx((cut["time"].values[0], 0.0))
    weak = quiet.copy(deep=True)
    weak["eeg"][:, 1000:3000] += (0.2 * run.artifact[:, 6000:8000]).astype(np.float32)  # a shim, 9 s before
    np.testing.assert_allclose(found(weak), [(-11.0, -9.0)], atol=0.25)


def test_find_unmarked_scanning__silence_muscles_and_broken_channels_are_none(planted):
    _, loud, quiet = planted
    assert found(quiet) == ()
    rng = np.random.default_rng(0)
    muscles = quiet.copy(deep=True)
    muscles["eeg"][1, :9000] += 3e-4 * rng.standard_normal(9000)
    muscles["eeg"][:, :9000] += 1.5e-5 * rng.standard_normal((4, 9000))
    muscles["eeg"][:, 5000:] += 2e-3  # all electrodes jump
    assert found(muscles) == ()
    loud = loud.copy(deep=True)
    loud["eeg"][0], loud["eeg"][2, 50] = 0.0, np.nan
    np.testing.assert_allclose(found(loud), [(-8.0, 0.0), (24.0, 32.0)], atol=0.25)
    loud["eeg"][:] = np.nan
    assert found(loud) == ()


def test_find_unmarked_scanning__lazily_reads_only_what_it_needs(planted):
    _, loud, _ = planted
    with max_computes(10):
        assert found(lazily(loud, (2, 7000))) == found(loud)


def test_find_unmarked_scanning__refuses(planted):
    with pytest.raises(InputError, match=r"volumes >= 1 and dummies >= 0 must hold, found 2.0 s, 0 and 0"):
        found(planted[2], volumes=0)
