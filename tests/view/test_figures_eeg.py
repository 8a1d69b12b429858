"""Pictures of the EEG: spectra before and after, beats, sensors on the right side of the head."""

import numpy as np
import planted
import pytest

from multimap_kernel.schema import InputError, SchemaError
from multimap_kernel.view.figures_eeg import beats_figure, cleaning_figure

NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2", "T7", "T8", "Cz"]


def test_cleaning_figure__shows_the_artifact_before_and_not_after():
    before, after = planted.eeg(1000.0, artifact=True), planted.eeg(250.0, artifact=False)
    figure = cleaning_figure(before, after, repetition_time=2.0, excitations=20)
    assert figure.get_suptitle() == "Cleaning of channel Cz"
    spectra = {line.get_label(): line.get_xydata() for line in figure.axes[2].lines}
    for name, factor in (("before", 100), ("after", 0)):
        grid, density = spectra[name].T
        at_20, beside = density[np.abs(grid - 20).argmin()], np.median(density[(grid > 21) & (grid < 29)])
        assert at_20 / beside > factor
        assert (at_20 / beside < 3) == (name == "after")
    harmonics = [line.get_xdata()[0] for line in figure.axes[2].lines if line.get_color() == "#D55E00"]
    np.testing.assert_allclose(harmonics, np.arange(10, 100, 10))


def test_cleaning_figure__draws_microvolts_at_their_times():
    ds = planted.eeg(250.0, artifact=False)
    figure = cleaning_figure(ds, ds, repetition_time=2.0, channel="Oz", start=5.0, seconds=2.0)
    line = next(one for one in figure.axes[0].lines if len(one.get_xdata()) > 2)
    np.testing.assert_allclose(line.get_xdata(), 5 + np.arange(500) / 250)
    np.testing.assert_allclose(line.get_ydata(), ds["eeg"].sel(channel="Oz").values[1250:1750] * 1e6)


def test_cleaning_figure__refuses_the_wrong_clock_and_no_common_channel():
    ds = planted.eeg(250.0, artifact=False)
    with pytest.raises(SchemaError, match="time must be on the scanner clock"):
        cleaning_figure(ds.assign_attrs(clock="eeg"), ds, repetition_time=2.0)
    with pytest.raises(InputError, match="one EEG channel must be in both"):
        cleaning_figure(ds.isel(channel=[2]), ds, repetition_time=2.0)


def test_beats_figure__gives_the_rate():
    figure = beats_figure(planted.eeg(250.0, artifact=False))
    assert figure.get_suptitle() == "Heart: 25 beats, median 75 per minute"
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), 75.0)
    assert len(beats_figure(planted.eeg(250.0, artifact=False).drop_vars("channel_type")).axes) == 1
