"""Splits in which no EEG sample serves on both sides."""

import numpy as np
import pytest
from coupled import LAGS, coupled_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from multimap_kernel.fusion.split import check_manifest, cut, folds_of, group_of, manifest
from multimap_kernel.fusion.tables import Table
from multimap_kernel.schema import InputError


def table(*lengths, names=None, lags=LAGS):
    run = np.concatenate([np.full(length, number) for number, length in enumerate(lengths)])
    volume = np.concatenate([np.arange(length) for length in lengths])
    names = names or tuple(f"sub-{number + 1:02d}_task-x" for number in range(len(lengths)))
    none = np.zeros((len(run), 1), np.float32)
    return Table(names, run, volume, none, none, none, none, none, lags, 2.0, ("Cz",), ("alpha",), ("a",), ())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(150, 300), min_size=1, max_size=4), st.integers(2, 5), st.floats(14, 30))
def test_cut__no_eeg_sample_serves_on_both_sides(lengths, folds, gap_s):
    runs = table(*lengths)
    parts = cut(runs, np.arange(len(runs.run)), kind="block", folds=folds, gap_s=gap_s)
    stored = manifest(runs, parts, kind="block", gap_s=gap_s)
    check_manifest(stored)
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(len(runs.run)))
    for part, again in zip(parts, folds_of(runs, stored), strict=True):
        np.testing.assert_array_equal(part.train, again.train)
        np.testing.assert_array_equal(part.test, again.test)
        for run in np.unique(runs.run):
            test, train = (runs.volume[rows[runs.run[rows] == run]] * 2.0 for rows in (part.test, part.train))
            seen = {(name, t) for name, times in (("test", test), ("train", train)) for v in times
                    for t in np.arange(v - 12, v + 2, 0.5)}  # fmt: skip
            assert not {t for name, t in seen if name == "test"} & {t for name, t in seen if name == "train"}


def test_cut__keeps_runs_of_a_subject_together():
    names = ("sub-01_ses-a_task-x", "sub-01_ses-b_task-x", "sub-02_ses-a_task-x", "sub-03_ses-a_task-x")
    runs = table(50, 50, 50, 50, names=names)
    parts = cut(runs, np.arange(200), kind="subject", folds=9, gap_s=0.0)
    assert [sorted(set(runs.run[part.test])) for part in parts] == [[0, 1], [2], [3]]
    assert len(cut(runs, np.arange(200), kind="session", folds=9, gap_s=0.0)) == 4
    assert group_of("sub-01_ses-a_task-x", "run") == "sub-01_ses-a_task-x"


def test_cut__refuses_what_leaves_too_little():
    with pytest.raises(InputError, match=r"must leave at least 16 volumes for training, found \d+ of 40"):
        cut(table(40), np.arange(40), kind="block", folds=2, gap_s=16.0)
    with pytest.raises(InputError, match=r"split by subject needs at least two of them, found \['sub-01'\]"):
        cut(table(90), np.arange(90), kind="subject", folds=2, gap_s=16.0)


def test_check_manifest__finds_overlap_and_double_prediction():
    runs = table(120)
    stored = manifest(runs, cut(runs, np.arange(120), kind="block", folds=3, gap_s=16.0), kind="block", gap_s=16.0)
    near = {**stored, "folds": [{"test": [["r", 40, 60]], "train": [["r", 0, 34]]}]}
    with pytest.raises(InputError, match="found r volumes 40 to 60 and 0 to 34 in fold 0"):
        check_manifest(near)
    check_manifest({**near, "folds": [{"test": [["r", 40, 60]], "train": [["r", 0, 33]]}]})
    with pytest.raises(InputError, match=r"predicted once, found \('sub-01_task-x', \d+\) again"):
        check_manifest({**stored, "folds": [*stored["folds"], stored["folds"][0]]})


def test_read_table__refuses_runs_that_do_not_fit_together():
    from multimap_kernel.fusion.tables import read_table

    runs = coupled_runs(2, minutes=2.0, regions=6)
    a, b = runs.values()
    with pytest.raises(InputError, match=r"same regions as a, found others in \['b'\]"):
        read_table({"a": a, "b": b.isel(region=slice(1, None))}, LAGS)
    with pytest.raises(InputError, match="must share an EEG channel, found none"):
        read_table({"a": a, "b": b.assign_coords(channel=[f"X{n}" for n in range(b.sizes["channel"])])}, LAGS)
    with pytest.raises(InputError, match="one repetition time"):
        read_table({"a": a, "b": b.assign_attrs(repetition_time=1.0)}, LAGS)
    assert read_table({"a": a, "b": b.isel(channel=slice(3, None))}, LAGS).channels == tuple(a["channel"].values[3:])
    judged = b.assign_coords(good=("channel", np.arange(b.sizes["channel"]) != 1))  # not good in one run: read in none
    assert read_table({"a": a, "b": judged}, LAGS).channels == tuple(np.delete(a["channel"].values, 1))


def test_read_table__a_confound_of_one_unknown_value_is_still_taken_out():
    from multimap_kernel.fusion.tables import read_table

    ds = next(iter(coupled_runs(1, minutes=3.0, regions=4).values()))
    motion = 5 + np.random.default_rng(0).standard_normal((ds.sizes["time"], 1))
    series = ds["region_series"] + 3 * motion
    motion[ds.sizes["time"] // 2] = np.nan
    table = read_table({"a": ds.assign(region_series=series, confound=(("time", "regressor"), motion))}, LAGS)
    known = np.isfinite(motion[table.volume, 0])
    r = np.corrcoef(motion[table.volume][known, 0], table.target[known].T)[0, 1:]
    assert np.abs(r).max() < 0.05
