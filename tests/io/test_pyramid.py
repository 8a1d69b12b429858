"""The pyramid: what is drawn of a window is what the samples span, from a bounded number of values."""

from collections import Counter

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import max_computes

from multimap_kernel.io.pyramid import add_overview, levels, read_window
from multimap_kernel.io.store import Product, Store
from multimap_kernel.schema import SchemaError, regular_time

FREQUENCY = 5000.0


def recording(count, *, start=0.0, scale=0.5e-6, chunks=None):
    """Counts with a scale that differs by channel, the last one turned round."""
    count = np.asarray(count, np.int16)
    data = da.from_array(count, chunks=chunks) if chunks else count
    factors = scale * np.arange(1, len(count) + 1) * np.where(np.arange(len(count)) == len(count) - 1, -1, 1)
    return xr.Dataset(
        {"count": (("channel", "time"), data, {"units": "1"}), "scale": ("channel", factors)},
        coords=regular_time(start, FREQUENCY, count.shape[1]),
        attrs={"clock": "eeg"},
    ).assign(offset=("channel", np.full(len(count), 1e-4)))


def noise(channels, samples, seed=0):
    return np.random.default_rng(seed).integers(-3000, 3000, (channels, samples))


def volts(ds):
    return ds["count"].values * ds["scale"].values[:, None] + ds["offset"].values[:, None]


@pytest.mark.parametrize("samples", [5, 8, 4097, 70_001, 200_000])
def test_add_overview__each_stretch_spans_its_samples(samples):
    count = noise(3, samples)
    found = add_overview(recording(count))["overview"]
    assert found.dims == ("channel", "stretch", "extreme")
    assert found.dtype == np.int16
    begin = 0
    for factor in levels(samples):
        for stretch in (0, (samples // factor) // 2, -(-samples // factor) - 1):
            part = count[:, stretch * factor : (stretch + 1) * factor]
            np.testing.assert_array_equal(found[:, begin + stretch].values, np.stack([part.min(1), part.max(1)], 1))
        begin += -(-samples // factor)
    assert found.sizes["stretch"] == begin


@pytest.mark.parametrize("chunks", [(2, 65_536), (3, 4096), (1, 10_000), (3, 100_001)])
def test_add_overview__is_lazy_and_chunks_change_nothing(chunks):
    count = noise(3, 100_001)
    with max_computes(0):
        lazy = add_overview(recording(count, chunks=chunks))
    np.testing.assert_array_equal(lazy["overview"].values, add_overview(recording(count))["overview"].values)


def test_add_overview__store_asks_for_each_block_once(tmp_path):
    """Signal and overview of a recording are written from one reading of the file."""
    count, read = noise(2, 300_000), Counter()

    def block(block_info):
        (_, _), (start, stop) = block_info[None]["array-location"]
        read[start] += 1
        return count[:, start:stop].astype("i2")

    data = da.map_blocks(block, chunks=((2,), (65_536,) * 4 + (37_856,)), dtype="i2", meta=np.empty((0, 0), "i2"))
    ds = recording(count).assign(count=(("channel", "time"), data, {"units": "1"}))
    store = Store(str(tmp_path), "study")
    store.write("sub-01/ingest", "key", Product({"eeg": add_overview(ds)}), {})
    assert set(read.values()) == {1}
    assert len(read) == 5
    stored = store.open("sub-01/ingest", "key")["eeg"]
    np.testing.assert_array_equal(stored["overview"].values, add_overview(recording(count))["overview"].values)


@given(
    samples=st.integers(1, 300_000),
    ends=st.tuples(st.floats(-1, 61), st.floats(-1, 61)).map(sorted),
    columns=st.integers(1, 1500),
)
@settings(deadline=None, max_examples=60)
def test_read_window__columns_span_all_samples_of_the_window(samples, ends, columns):
    ds = add_overview(recording(noise(2, samples), start=-0.5))
    window = read_window(ds, *ends, columns=columns)
    assert window.values.shape[1] <= columns or window.step * FREQUENCY < 1.5
    truth, edge = volts(ds), (window.start + 0.5) * FREQUENCY
    width = round(window.step * FREQUENCY)
    assert abs(edge - round(edge)) < 1e-3
    for column in {0, window.values.shape[1] // 2, window.values.shape[1] - 1} & set(range(window.values.shape[1])):
        first = round(edge) + column * width
        last = min(first + width, samples)
        if column == window.values.shape[1] - 1:  # the last column ends with the window's last stretch
            last = min(last, max(first + 1, int(np.ceil((ends[1] + 0.5) * FREQUENCY))))
            low, high = truth[:, first:last].min(1), truth[:, first:last].max(1)
            assert (window.values[:, column, 0] <= low + 1e-9).all()
            assert (window.values[:, column, 1] >= high - 1e-9).all()
        else:
            part = truth[:, first:last]
            np.testing.assert_allclose(window.values[:, column], np.stack([part.min(1), part.max(1)], 1), rtol=1e-5)
    covered = round(edge) + window.values.shape[1] * width
    assert covered >= min(np.floor((ends[1] + 0.5) * FREQUENCY), samples) or covered == round(edge)


def test_read_window__reads_a_bounded_number_of_values():
    """Ten minutes at 5 kHz: no window needs more than 8 values a column, signal and overview together."""
    samples, columns, piece, counted, most = 3_000_000, 1000, 500, Counter(), 0
    ds = add_overview(recording(np.zeros((1, samples), "i2")))
    for name in ("count", "overview"):
        source = ds[name].data

        def block(values, name=name):
            counted[name] += values.shape[1]
            return values

        lazy = da.from_array(source, chunks=(1, piece, 2)[: source.ndim])
        ds[name] = (ds[name].dims, lazy.map_blocks(block, dtype=source.dtype, meta=source[:0]), ds[name].attrs)
    for seconds in np.geomspace(0.01, 600, 30):
        counted.clear()
        read_window(ds, 10.0, 10.0 + seconds, columns=columns)
        most = max(most, counted.total())
    assert 2 * columns < most <= 8 * columns + 2 * piece  # blocks at both ends are asked for whole


def test_read_window__asks_for_the_overview():
    with pytest.raises(SchemaError, match="overview must be there"):
        read_window(recording(noise(1, 100)), 0, 1, columns=10)
    with pytest.raises(SchemaError, match=r"count or eeg \(channel, time\) must be there, found \['scale'\]"):
        add_overview(recording(noise(1, 100))[["scale"]])
