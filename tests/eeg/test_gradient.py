"""Average artifact subtraction: what it removes and what it must leave, on simulated scans."""

import dask.array as da
import mne
import numpy as np
import pytest
from lazy import max_computes
from scanner import brain, lazily, quality, recording, scan, spectrum_ratio
from scipy import signal

from multimap_kernel.eeg import remove_gradient_artifact
from multimap_kernel.schema import InputError, SchemaError

HARD = {"ppm": 8.0, "jitter_s": 20e-6, "motion": 0.002}


def corrected(run, values=None, **options) -> np.ndarray:
    ds = run.dataset(values)
    options = {"repetition_time": run.repetition_time, "volumes": run.volumes} | options
    return remove_gradient_artifact(ds, **options)["eeg"].values


@pytest.fixture(scope="module")
def hard():
    run = scan(channels=4, volumes=60, **HARD)
    return run, corrected(run)


@pytest.mark.parametrize("repetition_time", [2.0, 2.1603])
def test_remove_gradient_artifact__error_at_its_limit(repetition_time):
    """10 log10(30) - 1 dB over all volumes, with drift, jitter and motion; also where a volume is no whole sample."""
    run = scan(channels=4, volumes=60, repetition_time=repetition_time, seed=1, **HARD)
    assert quality(run.brain, run.brain + run.artifact, run.frequency, run.inside) < -10
    assert quality(run.brain, corrected(run), run.frequency, run.inside) >= 10 * np.log10(30) - 1


def test_remove_gradient_artifact__small_window(hard):
    run, _ = hard
    found = quality(run.brain, corrected(run, window=8), run.frequency, run.inside)
    assert found >= 10 * np.log10(8) - 1


def test_remove_gradient_artifact__first_and_last_volumes(hard):
    """The error has the same size in the first and last volumes as in the middle."""
    run, found = hard
    sos = signal.butter(4, [0.5, 70], "band", fs=run.frequency, output="sos")
    error = signal.sosfiltfilt(sos, found - run.brain, axis=1)[:, run.inside][:, : 60 * 10000]
    size = np.sqrt((error**2).reshape(4, 60, -1).mean((0, 2)))
    assert size[[0, 1, -2, -1]].max() < 1.5 * np.median(size)


def test_remove_gradient_artifact__slice_and_volume_lines(hard):
    run, found = hard
    segment = round(4 * run.repetition_time * run.frequency)
    truth, kept = run.brain[:, run.inside], found[:, run.inside]
    slices = spectrum_ratio(truth, kept, run.frequency, np.arange(1, 5) * 15.0, segment)
    lines = spectrum_ratio(truth, kept, run.frequency, np.arange(1, 16) / run.repetition_time, segment)
    assert slices.min() >= 0.8
    assert slices.max() <= 1.25
    assert 0.9 <= np.median(lines) <= 1.1


def test_remove_gradient_artifact__keeps_alpha_and_a_slow_sine(hard):
    run, found = hard
    f, truth = signal.welch(run.brain[:, run.inside], run.frequency, nperseg=20000)
    alpha = (f >= 8) & (f <= 12)
    kept = signal.welch(found[:, run.inside], run.frequency, nperseg=20000)[1]
    assert 0.9 <= np.median(kept[:, alpha].sum(1) / truth[:, alpha].sum(1)) <= 1.1
    time = run.start + np.arange(found.shape[1]) / run.frequency
    sine = 50e-6 * np.sin(2 * np.pi * 0.3 * time)
    passed = (corrected(run, run.brain + run.artifact + sine) - found)[:, run.inside]
    gain = passed @ sine[run.inside] / (sine[run.inside] @ sine[run.inside])
    assert gain == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.diff(passed)).max() < 5e-6  # no steps between volumes


def test_remove_gradient_artifact__clean_eeg_stays(hard):
    run, _ = hard
    change = corrected(run, run.brain) - run.brain.astype(np.float32)
    assert np.all(change[:, ~run.inside] == 0)
    assert 10 * np.log10((change[:, run.inside] ** 2).mean() / (run.brain[:, run.inside] ** 2).mean()) <= -20


def test_remove_gradient_artifact__better_than_mne():
    """MNE's average subtraction with as many volumes in the template, judged where it corrects at all."""
    run = scan(channels=2, volumes=36, **HARD)
    time = run.start + np.arange(run.brain.shape[1]) / run.frequency
    inner = (time >= 13 * 2.0) & (time < 22 * 2.0)
    onset = np.ceil((np.arange(36) * 2.0 - run.start) * run.frequency).astype(int)
    raw = mne.io.RawArray(run.brain + run.artifact, mne.create_info(2, run.frequency, "eeg"), verbose="error")
    theirs = mne.preprocessing.remove_fmri_gradient_artifact(raw, onset, window=(12, 12), tr_tol=1, verbose="error")
    ours = corrected(run, window=24)
    assert (
        quality(run.brain, ours, run.frequency, inner) > quality(run.brain, theirs.get_data(), run.frequency, inner) + 2
    )
    assert quality(run.brain, ours, run.frequency, run.inside) > 10


def test_remove_gradient_artifact__volumes_cut_by_the_ends():
    """The recording starts within volume 2 and stops within volume 37: their parts are corrected as well."""
    run = scan(channels=2, volumes=40, before=-5.0, after=-4.3, **HARD)
    found = corrected(run)
    assert quality(run.brain, found, run.frequency, run.inside) > 12
    time = run.start + np.arange(found.shape[1]) / run.frequency
    for part in (time < 6.0, time >= 74.0):
        assert np.std((found - run.brain)[:, part]) < 0.02 * np.std(run.artifact[:, part])


def test_remove_gradient_artifact__dummies_before_time_zero():
    run = scan(channels=2, volumes=40, seed=2, **HARD)
    ds = recording(run.brain + run.artifact, run.start - 3 * run.repetition_time, run.frequency)
    found = remove_gradient_artifact(ds, repetition_time=2.0, volumes=37, dummies=3)["eeg"].values
    assert quality(run.brain, found, run.frequency, run.inside) > 13


def test_remove_gradient_artifact__a_volume_with_a_movement_spoils_no_other():
    run = scan(channels=3, volumes=40, seed=3, **HARD)
    jump = np.zeros(run.brain.shape[1])
    time = run.start + np.arange(len(jump)) / run.frequency
    jump[(time > 40.2) & (time < 41.6)] = 3e-3 * signal.windows.hann(int(((time > 40.2) & (time < 41.6)).sum()))
    wild = jump * np.sin(2 * np.pi * 35 * time)
    others = run.inside & ((time < 38) | (time > 44))
    assert quality(run.brain, corrected(run, run.brain + run.artifact + wild), run.frequency, others) > 13


def slow_movement(time):
    """1.7 Hz of 1 mV for a second in all channels: nothing of it above 20 Hz."""
    return 1e-3 * np.sin(2 * np.pi * 1.7 * time) * np.sin(np.pi * np.clip(time, 0, 1)) * np.ones((3, 1))


def pop(time):
    """One electrode jumps by 3 mV and comes back within half a second."""
    return 3e-3 * np.exp(-np.maximum(time, 0) / 0.5) * (time > 0) * np.array([[1.0], [0], [0]])


@pytest.mark.parametrize("event", [slow_movement, pop])
def test_remove_gradient_artifact__what_happens_in_one_volume_spoils_no_other(event):
    """In every channel the error of the other volumes stays within 1 dB of its limit."""
    run = scan(channels=3, volumes=40, seed=3, **HARD)
    time = run.start + np.arange(run.brain.shape[1]) / run.frequency
    happened = event(time - 40.4)
    found = corrected(run, run.brain + run.artifact + happened) - happened
    others = run.inside & ((time < 38) | (time > 44))
    for channel in range(3):
        one = slice(channel, channel + 1)
        assert quality(run.brain[one], found[one], run.frequency, others) >= 10 * np.log10(30) - 1


def test_remove_gradient_artifact__a_long_movement_spoils_no_other_volume():
    """Twenty volumes in a row are bad, more than half of a window; they keep templates themselves, of the others."""
    run = scan(channels=3, volumes=80, frequency=1000.0, seed=3, **HARD)
    time = run.start + np.arange(run.brain.shape[1]) / run.frequency
    sos = signal.butter(2, [1, 5], "band", fs=run.frequency, output="sos")
    movement = signal.sosfiltfilt(sos, np.random.default_rng(1).standard_normal(run.brain.shape), axis=1)
    movement *= 1e-3 / movement.std() * ((time > 60) & (time < 100))
    found = corrected(run, run.brain + run.artifact + movement) - movement
    for part in (run.inside & ((time < 58) | (time > 102)), (time > 60) & (time < 100)):
        assert quality(run.brain, found, run.frequency, part) >= 10 * np.log10(30) - 1


@pytest.mark.parametrize("broken", [np.nan, 0.0])
def test_remove_gradient_artifact__a_broken_channel_has_no_say_in_the_delays(broken):
    """One of the channels that tell the jitter has no values: the others are corrected to their limit."""
    run = scan(channels=4, volumes=40, seed=6, **HARD)
    values = run.brain + run.artifact
    values[1] = broken
    found, kept = corrected(run, values), [0, 2, 3]
    assert quality(run.brain[kept], found[kept], run.frequency, run.inside) >= 10 * np.log10(30) - 1


def test_remove_gradient_artifact__follows_an_artifact_that_changes_for_good():
    """The head lies otherwise for the last quarter: those volumes are no outliers, and have templates of their own."""
    run, other = (scan(channels=2, volumes=60, seed=seed, ppm=8.0) for seed in (4, 5))
    time = run.start + np.arange(run.brain.shape[1]) / run.frequency
    turned = run.brain + run.artifact + 0.05 * (time >= 90) * other.artifact
    late = run.inside & (time >= 102)
    assert quality(run.brain, corrected(run, turned, window=10), run.frequency, late) >= 10 * np.log10(10) - 1


@pytest.mark.parametrize("chunks", [(1, 40000), (3, -1), (2, 77777)])
def test_remove_gradient_artifact__chunks_change_nothing(chunks):
    run = scan(channels=3, volumes=8, **HARD)
    ds = run.dataset()
    plain = remove_gradient_artifact(ds, repetition_time=2.0, volumes=8)["eeg"]
    with max_computes(0):
        lazy = remove_gradient_artifact(lazily(ds, chunks), repetition_time=2.0, volumes=8)["eeg"]
    assert isinstance(lazy.data, da.Array)
    assert lazy.dtype == plain.dtype == np.float32
    np.testing.assert_allclose(lazy.values, plain.values, atol=1e-5 * np.abs(plain.values).max())


def test_remove_gradient_artifact__refuses():
    values = brain(2, 50000, 5000.0, np.random.default_rng(0))
    ds = recording(values, -1.0, 5000.0)
    with pytest.raises(InputError, match="at least 5 volumes whole for an average, found 4 of 9"):
        remove_gradient_artifact(ds, repetition_time=2.0, volumes=9)
    with pytest.raises(InputError, match="window >= 5"):
        remove_gradient_artifact(ds, repetition_time=1.0, volumes=9, window=2)
    with pytest.raises(SchemaError, match="call apply_alignment first"):
        remove_gradient_artifact(ds.assign_attrs(clock="eeg"), repetition_time=1.0, volumes=9)
