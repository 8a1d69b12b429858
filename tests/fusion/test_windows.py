"""Band power of the volumes before, as features."""

import numpy as np
from analysis import analysis_dataset

from multimap_kernel.fusion.windows import lagged_power


def test_lagged_power__lag_takes_the_volumes_before():
    ds = analysis_dataset(0, volumes=30, eeg_end=55.0)
    ds["channel_type"][1] = "ecg"
    got = lagged_power(
        ds["band_power_fine"].values, ds["bin"].values, ds["channel_type"].values,
        starts=ds["time"].values, repetition_time=2.0, lags_s=(0.0, 4.0),
    )  # fmt: skip
    per_volume = np.log(ds["band_power_fine"].values[:540]).reshape(27, 20, 4, 3).mean(axis=1)[:, [0, 2, 3]]
    assert got.shape == (30, 2 * 3 * 3)
    assert np.flatnonzero(np.isnan(got).any(axis=1)).tolist() == [0, 1, 27, 28, 29]
    np.testing.assert_allclose(got[2:27, :9], per_volume[2:].reshape(25, 9), rtol=1e-9)
    np.testing.assert_allclose(got[2:27, 9:], per_volume[:-2].reshape(25, 9), rtol=1e-9)


def test_lagged_power__channels_that_are_not_good_are_no_features():
    ds = analysis_dataset(0, volumes=30)
    table = (ds[name].values for name in ("band_power_fine", "bin", "channel_type"))
    options = {"starts": ds["time"].values, "repetition_time": 2.0, "lags_s": (0.0,)}
    power, bins, kinds = table
    got = lagged_power(power, bins, kinds, np.array([True, False, True, True]), **options)
    whole = lagged_power(power, bins, kinds, **options).reshape(30, 4, 3)
    np.testing.assert_array_equal(got, whole[:, [0, 2, 3]].reshape(30, 9))
