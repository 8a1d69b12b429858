"""Decisions of people about the clocks: what they repair, and that they say who and why."""

import numpy as np
import pytest
from clocks import markers, recording, volumes

from multimap_kernel.align import correct_alignment, correct_markers, estimate_alignment
from multimap_kernel.schema import Decision, InputError


def decision(action, value, user="ann", reason="seen in the log"):
    return Decision(
        f"1-{action}-{value}", "sub-01_task-x", user, "2026-01-01T00:00:00+00:00", action, str(value), reason
    )


def test_correct_alignment__without_decisions_is_the_estimate():
    ds, bold = recording({"R128": markers()}, 262), volumes(120, 2.0)
    accept = decision("accept", "")
    assert correct_alignment(ds, bold, (accept,)) == estimate_alignment(ds, bold)


def test_correct_alignment__shift_moves_offset_interval_and_residual():
    ds, bold = recording({"R128": markers()}, 262), volumes(120, 2.0)
    before, after = estimate_alignment(ds, bold), correct_alignment(ds, bold, (decision("shift", "0.025"),))
    assert after.offset_s == pytest.approx(before.offset_s + 0.025)
    assert np.subtract(after.offset_interval_s, before.offset_interval_s) == pytest.approx([0.025, 0.025])
    assert np.subtract(after.residual_s, before.residual_s) == pytest.approx(-0.025)
    assert after.verdict == "good"
    assert after.reasons == ("offset shifted by 0.025 s by ann: seen in the log",)


def test_correct_alignment__deleted_and_inserted_markers_repair_what_was_refused():
    """20 of 120 markers lost is too much to repair; with 16 of them inserted by hand it is not."""
    onset = markers()
    lost = np.arange(20, 40)
    ds, bold = recording({"R128": np.delete(onset, lost)}, 275), volumes(120, 2.0)
    with pytest.raises(InputError, match="found 20 volumes without marker"):
        correct_alignment(ds, bold)
    added = tuple(decision("add_marker", f"{time:.6f}") for time in onset[lost[:16]])
    found = correct_alignment(ds, bold, added)
    assert found.missing == tuple(lost[16:])
    assert found.matched == 116
    assert found.offset_s == pytest.approx(10.0123, abs=2e-4)
    assert found.reasons[-1].startswith(f"marker at {onset[35]:.6f} s inserted by ann")


def test_correct_alignment__a_deleted_marker_is_missing_and_the_extra_one_is_gone():
    onset = markers()
    doubled = onset[50] + 0.004
    ds, bold = recording({"R128": np.sort(np.append(onset, doubled))}, 275), volumes(120, 2.0)
    assert correct_alignment(ds, bold).extra == (51,)
    assert correct_alignment(ds, bold, (decision("drop_marker", f"{doubled:.6f}"),)).extra == ()
    both = (decision("drop_marker", f"{doubled:.6f}"), decision("drop_marker", f"{onset[7]:.6f}"))
    assert correct_alignment(ds, bold, both).missing == (7,)
    with pytest.raises(InputError, match=r"a marker at 3.0 s must be there to be deleted, found the nearest at 10\.0"):
        correct_alignment(ds, bold, (decision("drop_marker", "3.0"),))


def test_correct_alignment__marker_first_volume_and_repetition_time():
    ds = recording({"R128": markers(119), "T": markers(119) + 0.7}, 275)
    given = (decision("marker", "T"), decision("first_volume", "1"))
    found = correct_alignment(ds, volumes(120, 2.0), given)
    assert (found.marker, found.missing) == ("T", (0,))
    slow = recording({"R128": markers(repetition_time=2.1)}, 275)
    with pytest.raises(InputError, match="check RepetitionTime"):
        correct_alignment(slow, volumes(120, 2.0))
    found = correct_alignment(slow, volumes(120, 2.0), (decision("repetition_time", "2.1"),))
    assert found.repetition_time == 2.1
    assert found.matched == 120


def test_correct_markers__keeps_what_was_not_decided():
    ds = recording({"R128": markers(20), "S 1": np.array([11.0, 15.5])}, 60)
    found = correct_markers(ds, (decision("add_marker", "55.5"),))
    assert found.sizes["marker"] == 23
    assert found["marker_label"].values[-1] == "R128"
    assert sorted(found["marker_label"].values.tolist()).count("S 1") == 2
    assert correct_markers(ds, (decision("bad_channel", "Cz"),)) is ds
    with pytest.raises(InputError, match="must be told the label"):
        correct_markers(recording({"x": np.empty(0)}, 60), (decision("add_marker", "1"),))
