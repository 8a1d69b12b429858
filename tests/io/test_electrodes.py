"""Channel types and electrode positions."""

import json

import numpy as np
import pytest

from multimap_kernel.io.electrodes import channel_types, positions
from multimap_kernel.schema import InputError


def write(tmp_path, rows, **system):
    path = tmp_path / "sub-01_electrodes.tsv"
    path.write_text("name\tx\ty\tz\n" + "\n".join(rows) + "\n", encoding="utf-8")
    if system:
        (tmp_path / "sub-01_coordsystem.json").write_text(json.dumps(system), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("unit", "factor"), [("m", 1e-3), ("cm", 0.1), ("mm", 1.0)])
@pytest.mark.parametrize("stated", [True, False])
def test_positions__table_in_any_unit(tmp_path, unit, factor, stated):
    rows = [f"Fz\t0\t{60 * factor}\t{80 * factor}", f"O1\t{-30 * factor}\t{-90 * factor}\tn/a"]
    path = write(tmp_path, rows, **({"EEGCoordinateUnits": unit} if stated else {}))
    places, told = positions(["O1", "Fz", "ECG"], ["eeg", "eeg", "ecg"], path)
    np.testing.assert_allclose(places[1], [0, 60, 80])
    assert np.isnan(places[0, 2])
    assert np.isnan(places[2]).all()
    assert len(told) == 1 + (not stated)
    assert told[-1].startswith(
        "1 of 2 EEG channels have no position (O1), so that pictures of the head cannot be drawn"
    )


def test_positions__nose_along_x_is_turned(tmp_path):
    path = write(tmp_path, ["Fz\t90\t0\t40", "T7\t0\t80\t0"], EEGCoordinateUnits="mm", EEGCoordinateSystem="CTF")
    places, _ = positions(["Fz", "T7"], ["eeg", "eeg"], path)
    np.testing.assert_allclose(places, [[0, 90, 40], [-80, 0, 0]], atol=1e-9)


def test_positions__names_of_recorders_are_understood():
    names = ["Fp1", "EEG Fp1-Ref", "fp1..", "EEG FP1", "nothing"]
    places, told = positions(names, ["eeg"] * 5, "")
    for place in places[1:4]:
        np.testing.assert_array_equal(place, places[0])
    assert places[0, 0] < 0 < places[0, 1]
    assert 80 < np.linalg.norm(places[0]) < 120
    assert np.isnan(places[4]).all()
    assert len(told) == 1
    assert told[0].startswith("1 of 5 EEG channels have no position (nothing), so that pictures of the head leave them")
    assert positions(names[:4], ["eeg"] * 4, "")[1] == []


def test_positions__refuses_what_is_no_table_of_places(tmp_path):
    with pytest.raises(InputError, match=r"sub-01_electrodes\.tsv must hold numbers or n/a"):
        positions(["Fz"], ["eeg"], write(tmp_path, ["Fz\tleft\t0\t0"]))
    with pytest.raises(InputError, match=r"missing\.tsv must be a file"):
        positions(["Fz"], ["eeg"], str(tmp_path / "missing.tsv"))


def test_channel_types__by_name():
    types, told = channel_types(["Fp1", "ECG", "Ekg1", "VEOGo", "EMG", "O2"], "recording.vhdr")
    assert types.tolist() == ["eeg", "ecg", "ecg", "eog", "misc", "eeg"]
    assert told == []


def test_channel_types__table_wins_but_for_an_ecg_called_eeg(tmp_path):
    (tmp_path / "sub-01_task-x_channels.tsv").write_text(
        "name\ttype\tunits\nFp1\tEEG\tuV\nECG\tEEG\tuV\nX1\tECG\tuV\nX2\tTRIG\tV\n", encoding="utf-8"
    )
    types, told = channel_types(["Fp1", "ECG", "X1", "X2"], str(tmp_path / "sub-01_task-x_eeg.vhdr"))
    assert types.tolist() == ["eeg", "ecg", "ecg", "misc"]
    assert told == ["sub-01_task-x_channels.tsv calls ECG an EEG channel; by its name it is taken as ecg"]
