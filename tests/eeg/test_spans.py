"""Bad times: a planted artifact leaves no trace outside them, and nothing is told about the times themselves."""

import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.eeg import band_power, blank_spans, clean, decimate
from multimap_kernel.eeg.spans import overlaps
from multimap_kernel.schema import InputError

FREQUENCY = 250.0
SPAN = (20.3, 27.9)


def alpha(seconds=60.0, *, artifact=False):
    """10 Hz of 20 µV in two channels; the artifact is 5 mV of slow steps and noise, within the span only."""
    time = np.arange(round(seconds * FREQUENCY)) / FREQUENCY
    values = np.stack([np.sin(2 * np.pi * 10 * time), np.cos(2 * np.pi * 10 * time)]) * 20e-6
    inside = (time > SPAN[0]) & (time < SPAN[1])
    if artifact:
        values[:, inside] += 5e-3 * np.cumsum(np.random.default_rng(0).standard_normal((2, inside.sum())), axis=1) / 10
    return recording(values, 0.0, FREQUENCY), inside


def test_blank_spans__an_artifact_does_not_reach_what_lies_beside_it():
    disturbed, inside = alpha(artifact=True)
    peaceful, _ = alpha()
    near = ~inside
    apart = [clean(one, reference="recording")["eeg"].values[:, near] for one in (disturbed, peaceful)]
    assert np.abs(apart[0] - apart[1]).max() > 100e-6  # what happens without
    spans = [clean(blank_spans(one, spans=[SPAN]), reference="recording") for one in (disturbed, peaceful)]
    np.testing.assert_allclose(spans[0]["eeg"].values[:, near], spans[1]["eeg"].values[:, near], atol=1e-9)


def test_blank_spans__noise_at_full_rate_does_not_reach_what_lies_beside_it():
    """Noise above all that is kept: a line between two samples of it is a step, which the high-pass spreads."""
    rng = np.random.default_rng(0)
    noise = 50e-6 * rng.standard_normal((6, 200_000))
    fine = recording(noise, 0.0, 5000.0)
    spans = [clean(decimate(one), reference="recording") for one in (blank_spans(fine, spans=[(20.0, 30.0)]), fine)]
    beside = np.r_[4750:5000, 7500:7750]
    apart, known = (spans[0]["eeg"] - spans[1]["eeg"]).values[:, beside], spans[1]["eeg"].values
    assert apart.std() < 0.2 * known.std()


def test_band_power__is_missing_where_a_span_touches_and_true_elsewhere():
    ds = blank_spans(alpha(artifact=True)[0], spans=[SPAN])
    power = band_power(ds, bands={"alpha": (8.0, 12.0)}, repetition_time=2.0, volumes=30)
    bad = np.flatnonzero(np.isnan(power["band_power"].values).any((1, 2)))
    assert bad.tolist() == [10, 11, 12, 13]  # 20 s to 28 s
    bins = power["bin"].values[np.isnan(power["band_power_fine"].values).any((1, 2))]
    assert bins.min() == pytest.approx(20.35)
    assert bins.max() == pytest.approx(27.85)
    far = np.r_[1:9, 15:29]
    np.testing.assert_allclose(power["band_power"].values[far], (20e-6) ** 2 / 2, rtol=0.02)


def test_overlaps__what_only_follows_is_not_touched():
    """Bins of 0.1 s up to the end of a run, where a span begins: 0.1 added up is more than the end by rounding."""
    ds, past = alpha(1.0)[0], 0
    for end in 0.7 * np.arange(50, 1000, 7):
        bins = np.arange(round(end / 0.1) + 1) * 0.1
        one = ds.assign(bad_span=(("span", "end"), [[end, end + 9.0]]))
        past += bins[-1] > end
        assert not overlaps(one, bins[:-1], bins[1:]).any(), end
        assert overlaps(one, bins[-1:], bins[-1:] + 0.1).all()
    assert past  # or this says nothing


def test_blank_spans__close_ones_and_one_outside_the_recording():
    ds, _ = alpha(4.0)
    found = blank_spans(ds, spans=[(1.0, 2.0), (2.008, 3.0), (3.0, 3.5), (9.0, 10.0)])["eeg"].values
    known = ds["eeg"].values
    np.testing.assert_array_equal(found[:, 500:502], known[:, 500:502])  # two samples between two spans
    np.testing.assert_allclose(found[:, 499], known[:, 500:502].mean(1), rtol=1e-5)
    np.testing.assert_allclose(found[:, 502], known[:, 500:502].mean(1), rtol=1e-5)
    np.testing.assert_array_equal(blank_spans(ds, spans=[(9.0, 10.0)])["eeg"].values, known)


def test_blank_spans__is_lazy_and_chunks_change_nothing():
    ds, _ = alpha(artifact=True)
    expected = blank_spans(ds, spans=[SPAN, (40.0, 41.0)])["eeg"].values
    with max_computes(0):
        found = blank_spans(lazily(ds, (1, 1000)), spans=[SPAN, (40.0, 41.0)])
    np.testing.assert_array_equal(found["eeg"].values, expected)


def test_blank_spans__refuses():
    ds, _ = alpha(4.0)
    with pytest.raises(InputError, match="must begin before it ends"):
        blank_spans(ds, spans=[(2.0, 1.0)])
    with pytest.raises(InputError, match="cover it whole; exclude it"):
        blank_spans(ds, spans=[(-1.0, 10.0)])
