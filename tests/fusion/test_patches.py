"""Raw EEG around each volume, as tokens of the joint model."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from coupled import BY_RUN, coupled_runs

from multimap_kernel.fusion.patches import add_patches
from multimap_kernel.fusion.tables import read_table
from multimap_kernel.fusion.train import train
from multimap_kernel.schema import InputError, SchemaError, regular_time

HZ = 50.0
FEW = ("Fz", "F4", "C3", "O1")


def recording(seconds, start=-1.0, channels=FEW):
    """EEG whose value is the time of its sample plus a thousand for each channel."""
    count = round(seconds * HZ)
    values = start + np.arange(count) / HZ + 1000.0 * np.arange(len(channels))[:, None]
    ds = xr.Dataset({"eeg": (("channel", "time"), values)}, regular_time(start, HZ, count), {"clock": "scanner"})
    return ds.assign_coords(channel=list(channels))


def noisy(runs):
    """The runs with patches of noise."""
    draw = np.random.default_rng(5)
    found = {}
    for name, ds in runs.items():
        eeg = recording(ds.sizes["time"] * 2 + 2)
        eeg["eeg"] = eeg["eeg"].copy(data=draw.standard_normal(eeg["eeg"].shape))
        found[name] = add_patches(ds, eeg)
    return found


@pytest.fixture(scope="module")
def runs():
    return coupled_runs(2, minutes=3.0, regions=4, channels=FEW)


def test_add_patches__cuts_the_window_of_each_volume(runs):
    ds = next(iter(runs.values()))
    out = add_patches(ds, recording(100, channels=FEW[::-1]))  # the order of channels is that of the features
    assert out["eeg_patch"].shape == (90, 4, 100)
    assert out.attrs["patch_hz"] == HZ
    np.testing.assert_allclose(out["eeg_patch"].values[3, 3], 6.0 + np.arange(100) / HZ, atol=1e-4)
    np.testing.assert_allclose(out["eeg_patch"].values[3, 0], 3006.0 + np.arange(100) / HZ, atol=1e-3)
    known = np.isfinite(out["eeg_patch"].values).all(axis=(1, 2))
    assert known.tolist() == [True] * 49 + [False] * 41  # the recording ends at 99 s, in the middle of a volume


def test_add_patches__is_lazy_on_dask_and_the_same(runs):
    ds, eeg = next(iter(runs.values())), recording(200)
    lazy = add_patches(ds, eeg.assign(eeg=(eeg["eeg"].dims, da.from_array(eeg["eeg"].values, chunks=(2, 1000)))))
    assert isinstance(lazy["eeg_patch"].data, da.Array)
    xr.testing.assert_identical(lazy.compute(), add_patches(ds, eeg))


def test_add_patches__refuses_a_missing_channel_and_the_wrong_clock(runs):
    ds = next(iter(runs.values()))
    with pytest.raises(InputError, match=r"each channel of the features must be in the EEG, found none for \['O1'\]"):
        add_patches(ds, recording(200, channels=FEW[:3]))
    with pytest.raises(SchemaError, match="scanner clock"):
        add_patches(ds, recording(200).assign_attrs(clock="eeg"))


def test_table__gives_each_lag_the_patch_that_long_before(runs):
    given = {name: add_patches(ds, recording(200)) for name, ds in runs.items()}
    table = read_table(given, BY_RUN["lags_s"], patches=True)
    start = table.patch[table.window, 0, 0]  # the first channel's value is time
    np.testing.assert_allclose(start, table.volume[:, None] * 2.0 - np.array(table.lags_s), atol=1e-4)
    assert table.volume.min() == 6  # the longest lag is six volumes
    train_rows = np.flatnonzero(table.run == 0)
    patch = table.reading(train_rows).patch
    own = table.window[table.run == 1]
    assert patch[np.unique(own)].std(axis=(0, 2)) == pytest.approx(np.ones(4), rel=1e-3)
    with pytest.raises(InputError, match=r"each lag must be a whole number of volumes of 2 s, found lags of 0, 3 s"):
        read_table(given, (0.0, 3.0), patches=True)


def test_train__reads_patches_and_gives_the_same_again(runs):
    given = noisy(runs)
    options = {**BY_RUN, "folds": 2, "tokens": "patches"}
    fit, out = train(given, **options)
    again, _ = train(given, **options)
    plain, of_power = train(runs, **{**options, "tokens": "power"})
    assert fit == again
    assert fit.tokens == "patches"
    assert fit.weights_sha256 != plain.weights_sha256
    assert out.sizes["region"] == of_power.sizes["region"]
    assert np.isfinite(out["region_prediction"].values).all()
    with pytest.raises(SchemaError, match="eeg_patch"):
        train(runs, **options)
