"""The design matrix: responses, drifts, contrasts, and events that cannot be used."""

import numpy as np
import pytest
from analysis import TR, analysis_dataset
from scipy.stats import gamma

from multimap_kernel.maps.design import make_design
from multimap_kernel.schema import InputError


def design(ds):
    return make_design(ds, hrf="spm", high_pass_hz=0.01, lazy=False)


def test_make_design__peaks_after_an_event_as_a_gamma_response_does():
    ds = analysis_dataset(0).isel(event=[0, 3])
    got = design(ds).task[:, 0]
    fine = np.arange(0, 240, 0.1)
    on = sum((fine >= onset) & (fine < onset + 8) for onset in ds["event_onset"].values).astype(float)
    expected = np.convolve(on, gamma.pdf(np.arange(0, 32, 0.1), 6))[:2400]
    middle = np.round((np.arange(120) + 0.5) * TR / 0.1).astype(int)
    assert np.corrcoef(got, expected[middle])[0, 1] > 0.97
    early = np.corrcoef(got, expected[middle - 10])[0, 1]
    assert np.corrcoef(got, expected[middle])[0, 1] > early  # sampled in the middle of a volume, not at its start


def test_make_design__takes_volumes_before_the_steady_state_out():
    ds = analysis_dataset(0)
    ds["steady_state"][:3] = False
    nuisance = design(ds).nuisance
    left = np.eye(120)[:, :3] - nuisance @ nuisance[:3].T
    np.testing.assert_allclose(left, 0, atol=1e-10)


def test_make_design__redundant_confounds_are_dropped():
    ds = analysis_dataset(0)
    twice = ds.drop_vars("confound").assign(
        confound=(("time", "regressor"), np.hstack([ds["confound"].values, ds["confound"].values * 3]))
    )
    assert design(twice).nuisance.shape == design(ds).nuisance.shape


def test_make_design__events_after_the_scan_are_listed():
    ds = analysis_dataset(0)
    ds["event_onset"][-1] = 240.0
    with pytest.raises(InputError, match=r"before the scan ends at 240 s, found 1 later ones \(row \d+ at 240 s\)"):
        design(ds)


def test_make_design__events_without_onset_are_listed():
    ds = analysis_dataset(0)
    ds["event_onset"][1] = np.nan
    with pytest.raises(InputError, match=r"rows \[1\] have not"):
        design(ds)


def test_split__coefficient_of_the_column_is_the_contrast():
    ds = analysis_dataset(0)
    ds["event_condition"][::2] = "rest"
    made, y = design(ds), analysis_dataset(0)["series"].values[:, :5]
    full = np.linalg.lstsq(np.column_stack([made.task, made.nuisance]), y, rcond=None)[0]
    target, others = made.split(np.array([1.0, -0.5]))
    part = np.linalg.lstsq(np.column_stack([target, others]), y, rcond=None)[0]
    np.testing.assert_allclose(part[0], full[0] - 0.5 * full[1], rtol=1e-8)


def test_weights__unknown_condition_gets_a_hint():
    with pytest.raises(InputError, match=r"found 'goo'; did you mean 'go'\?"):
        design(analysis_dataset(0)).weights({"a": {"goo": 1.0}})
    with pytest.raises(InputError, match="must have a weight other than 0"):
        design(analysis_dataset(0)).weights({"a": {"go": 0.0}})
