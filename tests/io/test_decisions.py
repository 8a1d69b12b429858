"""Decisions of people: append-only, later ones win, an undo takes back."""

import pytest

from multimap_kernel.io.decisions import decide, decided, effective, history
from multimap_kernel.io.store import Store
from multimap_kernel.schema import InputError

SESSION = "sub-01_task-rest"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path), "study")


def test_decide__is_kept_with_who_when_and_why(store):
    made = decide(store, SESSION, "exclude", reason="moved out of the coil")
    assert history(store, SESSION) == (made,)
    assert made.created.endswith("+00:00")
    assert made.user
    assert history(store, "sub-02_task-rest") == ()
    assert decided(store) == (SESSION,)


def test_effective__last_fate_wins_and_undo_takes_back(store):
    decide(store, SESSION, "accept")
    excluded = decide(store, SESSION, "exclude", reason="asleep")
    assert [d.action for d in effective(history(store, SESSION))] == ["exclude"]
    decide(store, SESSION, "undo", supersedes=excluded.identifier)
    assert [d.action for d in effective(history(store, SESSION))] == ["accept"]
    assert len(history(store, SESSION)) == 3


def test_effective__channels_add_up_and_shifts_replace_each_other(store):
    for name in ("Fp1", "Oz", "Fp1"):
        decide(store, SESSION, "bad_channel", value=name)
    decide(store, SESSION, "bad_span", value="3:4.5")
    decide(store, SESSION, "marker", value="R128")
    decide(store, SESSION, "marker", value="T")
    decide(store, SESSION, "shift", value="0.1")
    decide(store, SESSION, "shift", value="-0.2")
    held = {(d.action, d.value) for d in effective(history(store, SESSION))}
    channels = {("bad_channel", "Fp1"), ("bad_channel", "Oz")}
    assert held == channels | {("shift", "-0.2"), ("bad_span", "3:4.5"), ("marker", "T")}


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("forget", {}, "action must be one of"),
        ("exclude", {}, "exclude needs a reason"),
        ("shift", {"value": "later"}, "shift needs seconds"),
        ("shift", {"value": "nan"}, "shift needs seconds"),
        ("marker", {"value": " "}, "marker needs the label"),
        ("first_volume", {"value": "1.5"}, "first_volume needs the number of a volume, found '1.5'"),
        ("repetition_time", {"value": "0"}, "repetition_time needs seconds from volume to volume"),
        ("drop_marker", {"value": "-1"}, "drop_marker needs the marker's time"),
        ("add_marker", {"value": "inf"}, "add_marker needs a time on the EEG clock"),
        ("bad_span", {"value": "4"}, "bad_span needs start:stop"),
        ("bad_span", {"value": "4:3"}, "start before stop, found '4:3'"),
        ("bad_channel", {}, "bad_channel needs the channel's name"),
        ("undo", {"supersedes": "nothing"}, "undo needs the identifier"),
    ],
)
def test_decide__refuses_what_it_cannot_obey(store, action, options, message):
    with pytest.raises(InputError, match=message):
        decide(store, SESSION, action, **options)
    assert history(store, SESSION) == ()
