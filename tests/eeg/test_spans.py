"""Bad times: a planted artifact leaves no trace outside them, and nothing is told about the times themselves."""

import numpy as np
import pytest
from lazy import max_computes
from scanner import lazily, recording

from multimap_kernel.eeg import band_power, blank_spans, clean
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
