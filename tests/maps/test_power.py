"""Band power in windows, and channels that cannot be used."""

import numpy as np
import pytest
from analysis import analysis_dataset

from multimap_kernel.maps.power import log_power
from multimap_kernel.schema import InputError


def recording(ds):
    return log_power(ds["band_power_fine"].values, ds["bin"].values, ds["channel_type"].values)


def test_window_mean__is_the_mean_of_the_bins_inside():
    ds = analysis_dataset(0, volumes=20)
    got = recording(ds).window_mean(np.arange(20) * 2.0, 2.0)
    expected = np.log(ds["band_power_fine"].values).reshape(20, 20, 4, 3).mean(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_window_mean__odd_repetition_time_takes_bins_by_their_centre():
    ds = analysis_dataset(0, volumes=20)
    got = recording(ds).window_mean(np.array([2.16]), 2.16)[0]
    inside = (ds["bin"].values >= 2.16) & (ds["bin"].values < 4.32)
    np.testing.assert_allclose(got, np.log(ds["band_power_fine"].values[inside]).mean(axis=0), rtol=1e-9)


def test_window_mean__is_nan_where_not_measured_whole():
    ds = analysis_dataset(0, volumes=20, eeg_end=31.5)
    ds["band_power_fine"][105] = np.nan
    got = np.isnan(recording(ds).window_mean(np.arange(-1, 20) * 2.0, 2.0)).all(axis=(1, 2))
    assert np.flatnonzero(got).tolist() == [0, 6, 16, 17, 18, 19, 20]


def test_log_power__flat_and_other_channels_are_not_used():
    ds = analysis_dataset(0, volumes=20)
    ds["band_power_fine"][:, 1] = 0.0
    ds["channel_type"][3] = "ecg"
    made = recording(ds)
    assert np.isfinite(made.values).all(axis=(0, 2)).tolist() == [True, False, True, False]
    assert made.covered.all()
    assert (made.standardised()[:, [1, 3]] == 0).all()


def test_log_power__refuses_a_recording_without_eeg():
    ds = analysis_dataset(0, volumes=20)
    ds["channel_type"][:] = "ecg"
    with pytest.raises(InputError, match="at least one usable EEG channel, found 0 channels of type eeg"):
        recording(ds)


def test_log_power__channels_that_are_not_good_are_not_used():
    ds = analysis_dataset(0, volumes=20)
    power, bins, kinds = (ds[name].values for name in ("band_power_fine", "bin", "channel_type"))
    made = log_power(power, bins, kinds, np.array([True, False, True, True]))
    assert np.isfinite(made.values).all(axis=(0, 2)).tolist() == [True, False, True, True]
    with pytest.raises(InputError, match="found 4 channels of type eeg, 0 of them good"):
        log_power(power, bins, kinds, np.zeros(4, bool))
