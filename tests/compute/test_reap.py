"""Who has too many clusters; what the real client makes of it is in tests/cluster."""

from types import SimpleNamespace

import pytest


def cluster(name, person, made):
    labels = {"hub.jupyter.org/username": person} if person else {}
    return SimpleNamespace(name=name, labels=labels, metadata={"creationTimestamp": f"2026-11-26T0{made}:00:00Z"})


@pytest.mark.parametrize(("most", "expected"), [(0, []), (1, ["b", "c"]), (2, ["c"]), (3, [])])
def test_surplus__is_what_a_person_made_last(most, expected):
    reap = pytest.importorskip("multimap_kernel.compute.reap", reason="the extra multimap[cloud] is not installed")
    clusters = [cluster("c", "ann", 3), cluster("a", "ann", 1), cluster("b", "ann", 2), cluster("z", "bob", 4)]
    nobody = [cluster(name, "", 5) for name in "xy"]  # whose it is cannot be told: its age ends it
    assert [one.name for one in reap.surplus([*clusters, *nobody], most)] == expected
