"""Slices that were read one after the other, brought to one moment."""

import numpy as np
import pytest
from heads import run_of
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import max_computes

from multimap_kernel.fmri import correct_timing
from multimap_kernel.schema import InputError

TR = 2.0
SLICES = np.array([0.0, 0.5, 1.0, 1.5])


def wave(times):
    return 100 + 5 * np.sin(2 * np.pi * 0.03 * times) + 3 * np.cos(2 * np.pi * 0.06 * times)


def run(count=41, slices=SLICES):
    """Each slice sees the same wave at its own moment."""
    moments = TR * np.arange(count)[:, None] + slices
    values = np.broadcast_to(wave(moments)[:, :, None, None], (count, len(slices), 3, 2)).astype(np.float32)
    return run_of(values, np.eye(4), TR).assign_coords(slice_time=("z", slices))


def test_correct_timing__brings_all_slices_to_the_middle_of_the_volume():
    corrected = correct_timing(run())
    wanted = wave(corrected["time"].values + corrected.attrs["sampled_at"] * TR)[:, None, None, None]
    inner = slice(12, -12)  # the repeated volumes at both ends are not the wave
    # a cubic spline half-way at f = 0.12 cycles a sample is off by
    # 2 (f / (1 - f))^4 + 2 (f / (1 + f))^4 = 0.00095 of the wave: 0.0031 for both waves together
    assert np.abs(corrected["bold"].values - wanted)[inner].max() < 0.0033
    assert corrected.attrs["sampled_at"] == 0.5
    assert corrected.attrs["slice_time_reference"] == 1.0
    assert "slice_time" not in corrected.variables


def test_correct_timing__leaves_a_slice_at_the_middle_as_it_was():
    ds = run()
    np.testing.assert_allclose(correct_timing(ds)["bold"][:, 2], ds["bold"][:, 2], rtol=1e-6)


def test_correct_timing__does_nothing_without_slice_times():
    ds = run().drop_vars("slice_time")
    same = correct_timing(ds)
    assert same["bold"].identical(ds["bold"])
    assert same.attrs["sampled_at"] == 0.5


@pytest.mark.parametrize(("known", "sampled_at"), [(False, 0.0), (True, 0.25)])
def test_correct_timing__keeps_the_time_of_a_single_slice(known, sampled_at):
    ds = run(slices=np.array([0.5]))
    same = correct_timing(ds if known else ds.drop_vars("slice_time"))
    assert same.attrs["sampled_at"] == sampled_at
    np.testing.assert_array_equal(same["bold"], ds["bold"])


def test_correct_timing__keeps_missing_values_to_themselves():
    ds = run()
    ds["bold"][20, 1, 0, 0] = np.nan
    ds["bold"][:, 3, 2, 1] = np.nan
    found, whole = correct_timing(ds)["bold"].values, correct_timing(run())["bold"].values
    assert np.isnan(found).sum() == 1 + 41
    assert np.nanmax(np.abs(found - whole)) < 6  # within the wave, next to the gap
    untouched = np.s_[:, :, 1, :]
    np.testing.assert_array_equal(found[untouched], whole[untouched])


@pytest.mark.parametrize("excess", [(0.3,), (0.8, 0.35, 0.12, 0.05)])
def test_correct_timing__keeps_dummies_out_of_the_steady_state(excess):
    """A first volume 30 % brighter would else change the next one by -3 % to 13 %, slice by slice."""
    dummies, values = len(excess), np.full((41, 4, 3, 2), 1000, np.float32)
    values[:dummies] *= 1 + np.array(excess, np.float32)[:, None, None, None]
    ds = run_of(values, np.eye(4), TR, np.arange(41) >= dummies).assign_coords(slice_time=("z", SLICES))
    found = correct_timing(ds)["bold"].values
    np.testing.assert_allclose(found[dummies:], 1000, rtol=1e-5)
    np.testing.assert_array_equal(found[:dummies], values[:dummies])


@settings(max_examples=8, deadline=None)
@given(time=st.integers(1, 41), z=st.integers(1, 4), count=st.sampled_from([5, 17, 41]), dummies=st.integers(0, 4))
def test_correct_timing__does_not_depend_on_chunks(time, z, count, dummies):
    ds = run(count).assign_coords(steady_state=("time", np.arange(count) >= dummies))
    with max_computes(0):
        lazy = correct_timing(ds.chunk(time=min(time, count), z=z))
    np.testing.assert_array_equal(lazy["bold"].compute(), correct_timing(ds)["bold"])


@pytest.mark.parametrize("wrong", [SLICES * 1000, SLICES - 1, np.full(4, np.nan)])
def test_correct_timing__refuses_impossible_slice_times(wrong):
    with pytest.raises(InputError, match="slice_time must lie within 0 and the repetition time of 2 s"):
        correct_timing(run().assign_coords(slice_time=("z", wrong)))


def test_correct_timing__refuses_a_run_without_repetition_time():
    ds = run()
    del ds.attrs["repetition_time"]
    with pytest.raises(InputError, match="repetition_time"):
        correct_timing(ds)
