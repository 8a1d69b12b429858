"""Band-pass, quality and reference: sines of known frequency, planted bad channels."""

import dask.array as da
import numpy as np
import pytest
from lazy import max_computes
from scanner import brain, lazily, recording

from multimap_kernel.eeg import blank_spans, clean
from multimap_kernel.schema import InputError

FREQUENCY = 250.0


def plain_eeg(channels=8, seconds=60, seed=0):
    return brain(channels, round(seconds * FREQUENCY), FREQUENCY, np.random.default_rng(seed))


def test_clean__band():
    """Gain within 1 % from 0.5 to 70 Hz; a mean of 5 mV, drift and 95 Hz are gone; no delay."""
    time = np.arange(30000) / FREQUENCY
    hertz = np.array([0.5, 1.0, 10.0, 69.0])
    kept = np.sin(2 * np.pi * hertz[:, None] * time)
    lost = np.stack([5e3 + 0 * time, 3 * time, np.sin(2 * np.pi * 0.02 * time), np.sin(2 * np.pi * 95 * time)])
    found = clean(recording(kept + lost, 0.0, FREQUENCY), reference="recording")["eeg"].values
    inner = slice(2000, -2000)
    assert np.abs(found - kept)[:, inner].max() < 0.012


def test_clean__average_reference_without_bad_channels():
    eeg = plain_eeg()
    eeg[2] *= 30
    eeg[5] = 0.0
    ds = recording(np.vstack([eeg, 1e-3 * eeg[:1]]), 0.0, FREQUENCY, ["eeg"] * 8 + ["ecg"])
    found = clean(ds)
    np.testing.assert_array_equal(found["good"], [True, True, False, True, True, False, True, True, True])
    np.testing.assert_allclose(found["eeg"].values[[0, 1, 3, 4, 6, 7]].mean(0), 0, atol=1e-10)
    alone = clean(ds, reference="recording")["eeg"].values
    np.testing.assert_array_equal(found["eeg"].values[8], alone[8])
    np.testing.assert_allclose(found["eeg"].values[2], alone[2] - alone[[0, 1, 3, 4, 6, 7]].mean(0), atol=1e-9)


def test_clean__quality_names_what_is_wrong():
    eeg = plain_eeg()
    time = np.arange(eeg.shape[1]) / FREQUENCY
    rng = np.random.default_rng(1)
    eeg[1] += 4e-6 * np.sin(2 * np.pi * 50 * time)
    eeg[3] += 60e-6 * rng.standard_normal(len(time))
    eeg[4, 5000:11000] = eeg[4, 5000]
    comb = np.zeros(len(time))
    comb[:: round(2.0 * FREQUENCY)] = 400e-6
    eeg[6] += comb
    quality = clean(recording(eeg, 0.0, FREQUENCY).assign_attrs(repetition_time=2.0), reference="recording")["quality"]
    assert quality.dims == ("channel", "metric")
    quality = quality.drop_sel(metric="saturated")
    worst = {str(name): str(quality.sel(metric=name).idxmax("channel").values) for name in quality["metric"].values}
    assert worst == {
        "deviation": "E3", "flat": "E4", "fast": "E3", "line_noise": "E1", "gradient_residual": "E6"
    }  # fmt: skip
    calm = quality.sel(channel=["E0", "E2", "E5", "E7"])
    assert float(abs(calm.sel(metric="gradient_residual") - 1).max()) < 0.25
    assert float(calm.sel(metric="line_noise").max()) < 3
    assert float(calm.sel(metric="deviation", channel="E0")) == pytest.approx(12e-6, rel=0.3)


@pytest.mark.parametrize("end", [15.0, 45.0])
def test_clean__judges_outside_bad_spans(end):
    """A straight line is no flat channel: who was good stays so, the reference is taken, a broken channel is found."""
    eeg = plain_eeg()
    common = 20e-6 * np.sin(2 * np.pi * 7 * np.arange(eeg.shape[1]) / FREQUENCY)
    eeg[3] += 200e-6 * np.random.default_rng(1).standard_normal(eeg.shape[1])
    ds = recording(eeg + common, 0.0, FREQUENCY).assign_attrs(repetition_time=2.0)
    found = clean(blank_spans(ds, spans=[(0.0, end)]))
    np.testing.assert_array_equal(found["good"], [True, True, True, False, True, True, True, True])
    kept = found["eeg"].values[0, round((end + 2) * FREQUENCY) :]
    wave = common[round((end + 2) * FREQUENCY) :]
    assert abs(kept @ wave / (wave @ wave)) < 0.05
    apart = recording((eeg + common)[:, round(end * FREQUENCY) :], end, FREQUENCY).assign_attrs(repetition_time=2.0)
    quality, expected = found["quality"], clean(apart)["quality"]
    np.testing.assert_allclose(
        quality.sel(metric=["deviation", "fast"]), expected.sel(metric=["deviation", "fast"]), rtol=0.1
    )
    assert float(quality.sel(metric="flat").max()) == 0


def test_clean__no_stretch_clear_of_bad_spans():
    """Spectra of less than 4 s are not told; the channels are judged by what is left."""
    spans = [(begin, begin + 2.0) for begin in np.arange(0.0, 60.0, 4.0)]
    found = clean(blank_spans(recording(plain_eeg(), 0.0, FREQUENCY).assign_attrs(repetition_time=2.0), spans=spans))
    assert found["good"].all()
    assert np.isnan(found["quality"].sel(metric=["fast", "line_noise", "gradient_residual"])).all()


def test_clean__a_channel_with_nan_is_bad():
    eeg = plain_eeg()
    expected = clean(recording(np.delete(eeg, 2, axis=0), 0.0, FREQUENCY))["eeg"].values
    eeg[2] = np.nan
    found = clean(recording(eeg, 0.0, FREQUENCY))
    assert found["channel"].values[~found["good"].values].tolist() == ["E2"]
    np.testing.assert_allclose(np.delete(found["eeg"].values, 2, axis=0), expected, atol=1e-10)


def test_clean__gradient_residual_needs_a_repetition_time():
    assert np.isnan(clean(recording(plain_eeg(), 0.0, FREQUENCY))["quality"].sel(metric="gradient_residual")).all()


@pytest.mark.parametrize("chunks", [(1, 4000), (5, 3333), (3, -1)])
def test_clean__chunks_change_nothing(chunks):
    eeg = plain_eeg(seconds=160)
    eeg[3] *= 20
    ds = recording(eeg, 0.0, FREQUENCY)
    plain = clean(ds)
    with max_computes(0):
        lazy = clean(lazily(ds, chunks))
    assert isinstance(lazy["eeg"].data, da.Array)
    np.testing.assert_array_equal(lazy["good"], plain["good"])
    np.testing.assert_allclose(lazy["quality"], plain["quality"], rtol=1e-4)
    np.testing.assert_allclose(lazy["eeg"], plain["eeg"], atol=1e-5 * np.abs(plain["eeg"].values).max())


def test_clean__refuses():
    ds = recording(plain_eeg(2, 5), 0.0, FREQUENCY)
    with pytest.raises(InputError, match=r"longer than 6.\d+ s, the filter of 0.5 Hz; found 5 s"):
        clean(ds)
    with pytest.raises(InputError, match="found 1, 130 and 125 Hz, 'average'"):
        clean(ds, highpass_hz=1.0, lowpass_hz=130.0)
    flat = recording(np.zeros((4, 7500)), 0.0, FREQUENCY)
    with pytest.raises(InputError, match="at least one good EEG channel, found none of 4"):
        clean(flat)
    assert not clean(flat, reference="recording")["good"].any()
    with pytest.raises(InputError, match="'linked ears'"):
        clean(ds, reference="linked ears")
