"""Decisions of people: append-only, later ones win, an undo takes back."""

import pytest

from multimap_kernel.io.decisions import decide, effective, history
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
    decide(store, SESSION, "shift", value="0.1")
    decide(store, SESSION, "shift", value="-0.2")
    held = {(d.action, d.value) for d in effective(history(store, SESSION))}
    assert held == {("bad_channel", "Fp1"), ("bad_channel", "Oz"), ("shift", "-0.2")}


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("forget", {}, "action must be one of"),
        ("exclude", {}, "exclude needs a reason"),
        ("shift", {"value": "later"}, "shift needs seconds"),
        ("bad_channel", {}, "bad_channel needs the channel's name"),
        ("undo", {"supersedes": "nothing"}, "undo needs the identifier"),
    ],
)
def test_decide__refuses_what_it_cannot_obey(store, action, options, message):
    with pytest.raises(InputError, match=message):
        decide(store, SESSION, action, **options)
    assert history(store, SESSION) == ()
