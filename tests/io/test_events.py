"""Events: what BIDS allows is read, what is no number is refused with its line."""

import pytest

from multimap_kernel.io.events import read_events
from multimap_kernel.schema import InputError


def table(tmp_path, *rows, columns="onset\tduration\ttrial_type\tvalue"):
    path = tmp_path / "events.tsv"
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_read_events__real_table(shared_data):
    folder = shared_data / "haxby_pymvpa" / "haxby2001" / "sub001" / "BOLD" / "task001_run001"
    ds = read_events(str(folder / "bold_events.tsv"))
    assert ds["event_condition"].values.tolist()[:3] == ["scissors", "face", "cat"]
    assert ds["event_onset"].values[1] == 52.5


def test_read_events__conditions_fall_back_to_value_row_by_row(tmp_path):
    ds = read_events(table(tmp_path, "5\t1\tn/a\t2", "1\tn/a\tface\t1", "9\t1\tn/a\tn/a"))
    assert ds["event_condition"].values.tolist() == ["face", "2"]
    assert ds["event_duration"].values.tolist() == [0.0, 1.0]
    assert ds.attrs["warnings"] == ["events.tsv: 1 events without a condition are left out"]


def test_read_events__late_ones_are_listed(tmp_path):
    ds = read_events(table(tmp_path, "1\t1\tface\t1", "20\t1\tface\t1", "30\t1\thouse\t1"), scan_s=20.0)
    assert ds["event_onset"].values.tolist() == [1.0]
    assert "left out: face at 20 s, house at 30 s" in ds.attrs["warnings"][0]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (["1\tface"], "onset\ttrial_type", r"must have the columns \['onset', 'duration'\]"),
        (["1\t1\tn/a"], "onset\tduration\ttrial_type", "must name a condition .* n/a in all 1 rows"),
    ],
)
def test_read_events__refuses(tmp_path, rows, columns, message):
    with pytest.raises(InputError, match=message):
        read_events(table(tmp_path, *rows, columns=columns))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("soon\t1\tface\t1", "seconds as onset in line 4, found 'soon'; correct it, or delete the line"),
        ("nan\t1\tface\t1", "onset in line 4, found 'nan'"),
        ("n/a\t1\tface\t1", "onset in line 4, found 'n/a'"),
        ("-inf\t1\tface\t1", "onset in line 4, found '-inf'"),
        ("1\t-1\tface\t1", "seconds, 0 or more, as duration in line 4, found '-1'; correct it, or write n/a"),
        ("1\tinf\tface\t1", "duration in line 4, found 'inf'"),
        ("1\tnan\tface\t1", "duration in line 4, found 'nan'"),
    ],
)
def test_read_events__bad_numbers_are_named_with_their_line(tmp_path, row, message):
    with pytest.raises(InputError, match=rf"events\.tsv must have a finite number of .*{message}"):
        read_events(table(tmp_path, "-1\t1\tface\t1", "", row))  # an onset before the run is BIDS


def test_read_events__a_table_without_events_says_so(tmp_path):
    ds = read_events(table(tmp_path))
    assert ds.sizes == {"event": 0}
    assert ds.attrs["warnings"] == ["events.tsv gives no event of this run: it is taken as one without events"]
    late = read_events(table(tmp_path, "30\t1\tface\t1"), scan_s=20.0)
    assert [text.split(":")[0] for text in late.attrs["warnings"]] == [
        "events.tsv",
        "events.tsv gives no event of this run",
    ]
