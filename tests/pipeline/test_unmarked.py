"""The scanner runs before the first marker: the run says so, leaves that EEG out, and keeps the first volume."""

import shutil

import mne
import numpy as np
import pytest

import multimap_kernel as mm

RECIPE = mm.Recipe.parse({"clean_eeg": {"pulse": {"method": "none"}}, "realign": {"backend": "none"}})
LEAD_S = 3.0


def test_run__leaves_out_what_the_scanner_did_before_the_first_marker(tiny_study, tmp_path):
    """Reference scans as loud as volumes are laid over the last 3 s before the first one, in the file itself."""
    bids = tmp_path / "bids"
    shutil.copytree(tiny_study, bids)
    (header,) = bids.rglob("*_eeg.vhdr")
    raw = mne.io.read_raw_brainvision(header, verbose="error")
    first = round(next(one["onset"] for one in raw.annotations if "R128" in one["description"]) * raw.info["sfreq"])
    lead = round(LEAD_S * raw.info["sfreq"])
    stored = np.memmap(header.with_suffix(".eeg"), "<i2", "r+").reshape(-1, len(raw.ch_names))
    stored[first - lead : first] = stored[first : first + lead]
    stored.flush()

    runtime = mm.Runtime(store=str(tmp_path / "store"), cluster=mm.Cluster(kind="threads"))
    found = {}
    for study, where in (("quiet", tiny_study), ("loud", bids)):
        (result,) = mm.run(str(where), study=study, recipe=RECIPE, runtime=runtime, upto="clean_eeg")
        result.require_done()
        found[study] = mm.open_session(runtime.store, study, "sub-01_task-flicker")["clean_eeg"]
    assert found["quiet"].attrs["warnings"] == []
    assert "bad_span" not in found["quiet"]
    (told,) = found["loud"].attrs["warnings"]
    assert told.startswith("EEG from -3.")
    assert told.endswith("to 0.0 s (scanner time) left out: scanned without volume markers")
    np.testing.assert_allclose(found["loud"]["bad_span"].values, [[-LEAD_S, 0.0]], atol=0.25)
    options = {"bands": {"beta": (13.0, 30.0)}, "repetition_time": 2.0, "volumes": 5}
    power = {name: mm.band_power(tree.to_dataset(), **options)["band_power"].values for name, tree in found.items()}
    ratio = power["loud"] / power["quiet"]
    assert 0.8 < np.median(ratio[0]) < 1.25
    assert ratio[1:] == pytest.approx(1.0, abs=0.1)
