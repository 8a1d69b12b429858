"""Pulse artifact: R peaks against planted beats, artifact and alpha against the simulated parts."""

import dask.array as da
import numpy as np
import pytest
from lazy import max_computes
from scanner import brain, electrocardiogram, heartbeats, lazily, pulse_artifact, recording
from scipy import signal

from multimap_kernel.eeg import blank_spans, remove_pulse_artifact
from multimap_kernel.schema import InputError, SchemaError

FREQUENCY = 250.0


def magnet(seconds=240, channels=8, seed=0, start=-2.5):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * FREQUENCY)) / FREQUENCY
    beats = heartbeats(seconds, rng)
    ecg = electrocardiogram(beats, time, rng)
    eeg, artifact = brain(channels, len(time), FREQUENCY, rng), pulse_artifact(beats, time, channels, rng)
    ds = recording(np.vstack([eeg + artifact, ecg]), start, FREQUENCY, ["eeg"] * channels + ["ecg"])
    return ds, eeg, artifact, beats + start


def band(values, low=0.5):
    sos = signal.butter(4, [low, 40], "band", fs=FREQUENCY, output="sos")
    return signal.sosfiltfilt(sos, values, axis=1)[:, 1250:-1250]


@pytest.mark.parametrize("seed", range(5))
def test_remove_pulse_artifact__r_peaks(seed):
    """T waves higher than R: sensitivity and predictive value at least .995, jitter at most 5 ms."""
    ds, _, _, beats = magnet(channels=1, seed=seed)
    found = remove_pulse_artifact(ds)["r_peak"].values
    found = found[np.isfinite(found)]
    apart = np.abs(found[:, None] - beats)
    assert (apart.min(0) < 0.05).mean() >= 0.995
    assert (apart.min(1) < 0.05).mean() >= 0.995
    late = found - beats[apart.argmin(1)]
    assert np.std(late[np.abs(late) < 0.05]) < 0.005
    assert abs(np.median(late)) < 0.005


def test_remove_pulse_artifact__inverted_small_ecg_with_bursts():
    ds, _, _, beats = magnet(channels=1, seed=7)
    ecg = -0.1 * ds["eeg"].values[1]
    ecg *= np.linspace(0.6, 1.4, len(ecg))  # the electrode loosens
    ecg[20000:20300] += 3e-4 * np.random.default_rng(0).standard_normal(300)  # the patient moves
    ds["eeg"][1] = ecg
    found = remove_pulse_artifact(ds)["r_peak"].values
    found = found[np.isfinite(found)]
    calm = np.abs(beats + 2.5 - 80.6) > 2
    assert (np.abs(found[:, None] - beats[calm]).min(0) < 0.05).mean() >= 0.99


@pytest.mark.parametrize("seed", range(3))
def test_remove_pulse_artifact__artifact_goes_and_alpha_stays(seed):
    """At most 25 % of the artifact (RMS) stays; alpha power keeps within 10 %."""
    ds, eeg, artifact, _ = magnet(seed=seed)
    found = remove_pulse_artifact(ds)["eeg"].values[:-1]
    rest = band(found - eeg).std(1) / band(artifact).std(1)
    assert np.median(rest) < 0.25
    f, truth = signal.welch(band(eeg), FREQUENCY, nperseg=2000)
    kept = signal.welch(band(found), FREQUENCY, nperseg=2000)[1]
    alpha = (f >= 8) & (f <= 12)
    assert 0.9 < np.median(kept[:, alpha].sum(1) / truth[:, alpha].sum(1)) < 1.1


@pytest.mark.parametrize("height", [0.5e-3, 5e-3])
def test_remove_pulse_artifact__a_movement_spoils_no_other_beat(height):
    """Within 10 s of one second of movement, no more of the artifact stays than without it."""
    ds, eeg, artifact, _ = magnet()
    time = np.arange(eeg.shape[1]) / FREQUENCY - 120
    movement = height * np.sin(2 * np.pi * 1.7 * time) * np.sin(np.pi * np.clip(time, 0, 1))
    calm = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg
    ds["eeg"][:-1] += movement.astype(np.float32)
    moved = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg - movement
    near = (np.abs(time - 0.5) > 2.5) & (np.abs(time - 0.5) < 10)
    assert np.median(calm[:, near].std(1) / artifact[:, near].std(1)) < 0.25  # the bound where nobody moves
    assert np.median(moved[:, near].std(1) / artifact[:, near].std(1)) < 0.25
    assert np.median(moved[:, near].std(1) / calm[:, near].std(1)) < 1.1


@pytest.mark.parametrize("seconds", [12, 20])
def test_remove_pulse_artifact__a_long_movement_spoils_no_other_beat(seconds):
    """More than half of a window of beats in a row are bad: those before and after have templates without them."""
    ds, eeg, artifact, _ = magnet()
    time = np.arange(eeg.shape[1]) / FREQUENCY - 120
    sos = signal.butter(2, [1, 5], "band", fs=FREQUENCY, output="sos")
    movement = signal.sosfiltfilt(sos, np.random.default_rng(1).standard_normal(eeg.shape), axis=1)
    movement *= 1e-3 / movement.std() * ((time > 0) & (time < seconds))
    ds["eeg"][:-1] += movement.astype(np.float32)
    rest = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg - movement
    near = ((time > -10) & (time < -2)) | ((time > seconds + 2) & (time < seconds + 10))
    assert np.median(rest[:, near].std(1) / artifact[:, near].std(1)) < 0.25


def drifts(shape, height, seed=3):
    """Gaussian noise below 0.2 Hz of so many volts RMS."""
    f = np.fft.rfftfreq(shape[1], 1 / FREQUENCY)
    rng = np.random.default_rng(seed)
    free = rng.standard_normal((shape[0], len(f))) + 1j * rng.standard_normal((shape[0], len(f)))
    slow = np.fft.irfft(free * np.exp(-0.5 * (f / 0.07) ** 2) * (f < 0.2), shape[1])
    return height * slow / slow.std(1, keepdims=True)


@pytest.mark.parametrize("height", [2e-4, 1e-3])
def test_remove_pulse_artifact__drift_neither_harms_nor_goes(height):
    """Above 1 Hz as little stays as without drift; the drift itself stays for the filter that comes later."""
    ds, eeg, artifact, _ = magnet()
    drift = drifts(eeg.shape, height)
    calm = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg
    ds["eeg"][:-1] = (eeg + artifact + drift).astype(np.float32)
    rest = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg - drift
    assert np.median(band(rest, 1.0).std(1) / band(artifact, 1.0).std(1)) < 0.25
    assert (band(rest, 1.0).std(1) < 1.05 * band(calm, 1.0).std(1)).all()
    slow = signal.butter(2, 0.3, "low", fs=FREQUENCY, output="sos")
    assert (signal.sosfiltfilt(slow, rest - artifact, axis=1).std(1) < 0.02 * height).all()


@pytest.mark.parametrize("span", [(-2.5, 157.5), (77.5, 237.5), (60.0, 180.0)])
def test_remove_pulse_artifact__a_long_bad_span_makes_no_beats(span):
    """Its line is no ECG: filters leave rounding noise there, whose peaks had ruled the rhythm."""
    ds, eeg, artifact, beats = magnet()
    time = np.arange(eeg.shape[1]) / FREQUENCY - 2.5
    found = remove_pulse_artifact(blank_spans(ds, spans=[span]))
    peaks = found["r_peak"].values[np.isfinite(found["r_peak"].values)]
    known = beats[(beats < span[0] - 0.3) | (beats > span[1] + 0.3)]
    assert not ((peaks > span[0]) & (peaks < span[1])).any()
    assert (np.abs(peaks[:, None] - known).min(0) < 0.05).mean() >= 0.98
    well = (time < span[0] - 2) | (time > span[1] + 2)
    rest = found["eeg"].values[:-1] - eeg
    assert np.median(rest[:, well].std(1) / artifact[:, well].std(1)) < 0.25


def test_remove_pulse_artifact__of_a_slow_heart_the_fundamental_goes_too():
    """42 beats per minute and an artifact that is mostly fundamental, 0.7 Hz: at most a tenth of it stays (RMS)."""
    rng = np.random.default_rng(0)
    time = np.arange(round(300 * FREQUENCY)) / FREQUENCY
    beats = np.cumsum(60 / 42 * (1 + 0.02 * rng.standard_normal(205)))
    ecg, eeg = electrocardiogram(beats, time, rng), 10e-6 * rng.standard_normal((1, len(time)))
    after = time - beats[:, None] - 0.21
    artifact = 60e-6 * np.exp(-0.5 * (after / 0.2) ** 2).sum(0)
    ds = recording(np.vstack([eeg + artifact, ecg]), 0.0, FREQUENCY, ["eeg", "ecg"])
    rest = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg
    assert (band(rest).std(1) < 0.1 * band(artifact[None]).std(1)).all()


def test_remove_pulse_artifact__unknown_samples_stay_where_they_are():
    ds, eeg, artifact, _ = magnet()
    calm = remove_pulse_artifact(ds)["eeg"].values
    ds["eeg"][0, 30000:30050] = np.nan
    ds["eeg"][1] = np.nan
    found = remove_pulse_artifact(ds)["eeg"].values
    assert np.isnan(found[1]).all()
    assert np.flatnonzero(np.isnan(found[0])).tolist() == list(range(30000, 30050))
    np.testing.assert_array_equal(found[2:], calm[2:])
    assert np.nanstd(found[0] - eeg[0]) / artifact[0].std() < 0.25


def test_remove_pulse_artifact__follows_an_artifact_that_changes_for_good():
    """The head lies otherwise for the last fifth: those beats are no outliers, and have templates of their own."""
    ds, eeg, artifact, _ = magnet()
    turned = np.where(np.arange(eeg.shape[1]) < 0.8 * eeg.shape[1], 1.0, -1.5) * artifact
    ds["eeg"][:-1] = (eeg + turned).astype(np.float32)
    rest = remove_pulse_artifact(ds)["eeg"].values[:-1] - eeg
    late = np.arange(eeg.shape[1]) > 0.9 * eeg.shape[1]
    assert np.median(rest[:, late].std(1) / turned[:, late].std(1)) < 0.25


def test_remove_pulse_artifact__ecg_stays():
    ds, *_ = magnet(60, 2)
    np.testing.assert_array_equal(remove_pulse_artifact(ds)["eeg"].values[-1], ds["eeg"].values[-1])


def test_remove_pulse_artifact__no_ecg():
    """Without an ECG nothing is guessed."""
    ds, *_ = magnet(60, 2)
    found = remove_pulse_artifact(ds.isel(channel=[0, 1]))
    assert found["r_peak"].shape == (0,)
    np.testing.assert_array_equal(found["eeg"].values, ds["eeg"].values[:2])


def test_remove_pulse_artifact__flat_ecg():
    ds, *_ = magnet(60, 2)
    ds["eeg"][2] = 0.0
    found = remove_pulse_artifact(ds)
    assert np.isnan(found["r_peak"].values).all()
    np.testing.assert_array_equal(found["eeg"].values, ds["eeg"].values)


@pytest.mark.parametrize("chunks", [(1, 4000), (5, 3333), (2, -1)])
def test_remove_pulse_artifact__chunks_change_nothing(chunks):
    ds, *_ = magnet(60, 4)
    plain = remove_pulse_artifact(ds)
    with max_computes(0):
        lazy = remove_pulse_artifact(lazily(ds, chunks))
    assert isinstance(lazy["eeg"].data, da.Array)
    np.testing.assert_array_equal(lazy["r_peak"].values, plain["r_peak"].values)
    scale = np.abs(plain["eeg"].values[:-1]).max()
    np.testing.assert_allclose(lazy["eeg"].values, plain["eeg"].values, atol=1e-5 * scale)


def test_remove_pulse_artifact__refuses():
    ds, *_ = magnet(60, 1)
    with pytest.raises(InputError, match=r"window must be at least 5 beats .* found 3 and 250"):
        remove_pulse_artifact(ds, window=3)
    with pytest.raises(SchemaError, match="call apply_alignment first"):
        remove_pulse_artifact(ds.assign_attrs(clock="eeg"))
