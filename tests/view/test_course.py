"""The course of the voxel under a point: the planted response, in percent, and nothing outside of the mask."""

import numpy as np
import planted
import pytest

from multimap_kernel.schema import InputError
from multimap_kernel.view.course import voxel_course


@pytest.mark.parametrize("grid", planted.GRIDS)
def test_voxel_course__is_that_of_the_voxel_at_the_point(grid):
    told = voxel_course(planted.series(grid).chunk(), planted.LEFT_MOTOR)
    affine = planted.GRIDS[grid][0]
    half = np.abs(affine[:3, :3]).sum(1) / 2 + 1e-9
    assert (np.abs(np.array(told["position"]) - planted.LEFT_MOTOR) <= half).all()
    measured = np.array(told["measured"])
    assert np.ptp(measured) == pytest.approx(3.0, rel=0.02)  # 30 of a mean of about 1010
    assert set(np.array(told["time"])[measured > 0]) == {t for t in range(0, 120, 2) if 10 <= t % 40 < 26}
    assert told["unit"] == "% of the mean"
    assert [event["condition"] for event in told["events"]] == ["hand", "rest", "hand"]
    predicted = told["predicted"]
    assert [predicted[int(t / 2)] for t in (50, 52, 54, 56)] == [None] * 4
    assert predicted[int(12 / 2)] == pytest.approx(1.5, rel=0.02)


def test_voxel_course__elsewhere_is_flat_and_outside_is_said():
    told = voxel_course(planted.series(), planted.RIGHT_VISUAL)
    assert np.ptp(told["measured"]) == 0
    for point in ((0.0, -18.0, 90.0), (500.0, 0.0, 0.0)):
        told = voxel_course(planted.series(), point)
        assert told["inside"] is False
        assert "measured" not in told


def test_voxel_course__without_prediction_events_or_mean():
    ds = planted.series().drop_vars(["prediction", "event_onset", "event_duration", "event_condition"])
    told = voxel_course(ds.assign(series=ds["series"] - ds["series"].mean("time")), planted.LEFT_MOTOR)
    assert told["events"] == []
    assert "predicted" not in told
    assert told["unit"] == "deviation from the mean"
    assert np.ptp(told["measured"]) == pytest.approx(30.0, rel=1e-5)


@pytest.mark.parametrize("point", [(1.0, 2.0), (np.nan, 0.0, 0.0)])
def test_voxel_course__refuses_what_is_no_position(point):
    with pytest.raises(InputError, match="three numbers in mm"):
        voxel_course(planted.series(), point)
