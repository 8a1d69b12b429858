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
from multimap_kernel.schema import InputError, regular_time

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


def test_find_unmarked_scanning__a_third_of_a_second_and_weak_scanning_apart_from_the_run(planted):
    run, loud, quiet = planted
    cut = loud.isel(time=slice(int(11.65 * 1000), None))
    assert found(cut)[0] == pytest.approx((cut["time"].values[0], 0.0))
    assert len(found(loud.isel(time=slice(int(11.95 * 1000), None)))) == 1  # what follows the run
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
    muscles["eeg"][:, 5050:] += 2e-3  # all electrodes jump
    muscles["eeg"][:, 6050:] -= 2e-3  # and back
    assert found(muscles) == ()
    loud = loud.copy(deep=True)
    loud["eeg"][0] = 0.0
    np.testing.assert_allclose(found(loud), [(-8.0, 0.0), (24.0, 32.0)], atol=0.25)
    loud["eeg"][:] = np.nan
    assert found(loud) == ()


def test_find_unmarked_scanning__missing_values_hide_nothing_and_are_none(planted):
    _, loud, quiet = planted
    for ds, spans in ((loud, [(-8.0, 0.0), (24.0, 32.0)]), (quiet, [])):
        holed = ds.copy(deep=True)
        holed["eeg"][0] = np.nan
        holed["eeg"][:, [50, 2000, 12500]], holed["eeg"][:, 1000:1100] = np.nan, np.nan
        np.testing.assert_allclose(np.reshape(found(holed), (-1, 2)), np.reshape(spans, (-1, 2)), atol=0.25)


@pytest.mark.parametrize("late_s", [-0.05, -0.002, 0.0005, 0.002, 0.05])
def test_find_unmarked_scanning__the_run_beside_its_markers_is_none(planted, late_s):
    _, _, quiet = planted
    start = float(quiet["time"][0]) + late_s
    axis = regular_time(start, 1000.0, quiet.sizes["time"])
    assert found(quiet.drop_vars("time").assign_coords(axis)) == ()


@pytest.mark.parametrize("hertz", [50.0, 60.0, 100.0, 120.0, 150.0, 50.1])
def test_find_unmarked_scanning__mains_are_none_and_hide_nothing(planted, hertz):
    """Beside a weak artifact: 0.2 mV root mean square, mains 90 microvolts."""
    run, loud, quiet = planted
    scale = 2e-4 / run.artifact[0, 12000:36000].std()
    mains = 9e-5 * np.sqrt(2) * np.sin(2 * np.pi * hertz * quiet["time"].values)
    for ds, spans in ((loud, [(-8.0, 0.0), (24.0, 32.0)]), (quiet, [])):
        weak = ds.assign(eeg=ds["eeg"].copy(data=run.brain + mains + scale * (ds["eeg"].values - run.brain)))
        np.testing.assert_allclose(np.reshape(found(weak), (-1, 2)), np.reshape(spans, (-1, 2)), atol=0.25)


def test_find_unmarked_scanning__short_bursts(planted):
    """A shim of 0.15 s each second."""
    run, _, quiet = planted
    bursts = quiet.copy(deep=True)
    on = (np.arange(8000) % 1000 < 150) * run.artifact[:, 12000:20000]
    bursts["eeg"][:, 4000:12000] += on.astype(np.float32)
    np.testing.assert_allclose(found(bursts), [(-8.0, 0.0)], atol=0.25)


def test_find_unmarked_scanning__lazily_reads_only_what_it_needs(planted):
    _, loud, _ = planted
    with max_computes(10):
        assert found(lazily(loud, (2, 7000))) == found(loud)


def test_find_unmarked_scanning__refuses(planted):
    with pytest.raises(InputError, match=r"volumes >= 1 and dummies >= 0 must hold, found 2.0 s, 0 and 0"):
        found(planted[2], volumes=0)
