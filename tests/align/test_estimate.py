"""The model of the two clocks: planted truth, planted faults, and marker files of real recordings."""

import json

import mne
import numpy as np
import pytest
import scipy.io
import xarray as xr
from clocks import FREQUENCY, markers, recording, volumes

from multimap_kernel.align import apply_alignment, estimate_alignment
from multimap_kernel.schema import Alignment, InputError, SchemaError, sampling


@pytest.mark.parametrize("rounding", [np.ceil, np.rint, np.floor])
@pytest.mark.parametrize("jitter_s", [0.0, 20e-6])
def test_estimate_alignment__truth(rounding, jitter_s):
    """Offset within half a sample and 0.1 ms, drift within 1 ppm, at the size of the demo."""
    rng = np.random.default_rng(1)
    within = 0
    for seed in range(10):
        offset, ppm = rng.uniform(4, 20), rng.uniform(-30, 30)
        onset = markers(offset=offset, ppm=ppm, jitter_s=jitter_s, seed=seed, rounding=rounding)
        found = estimate_alignment(recording({"R128": onset}, offset + 250), volumes(120, 2.0))
        assert abs(found.offset_s - offset) < 0.5 / FREQUENCY + 1e-4
        assert abs(found.drift_ppm - ppm) < 1.0
        within += found.offset_interval_s[0] <= offset <= found.offset_interval_s[1]
        assert (found.verdict, found.reasons, found.matched, found.dummy) == ("good", (), 120, 0)
        assert all(found.covered)
    assert within >= 9  # 95 % intervals


def test_estimate_alignment__drift_from_rounding_alone():
    """300 volumes: the set of lines that round to the markers tells the drift to 0.05 ppm (root mean square)."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(-30, 30, 30)
    onsets = [markers(300, offset=rng.uniform(4, 20), ppm=ppm, rounding=np.rint) for ppm in truth]
    found = [estimate_alignment(recording({"R128": onset}, 640), volumes(300, 2.0)).drift_ppm for onset in onsets]
    assert np.sqrt(np.mean((np.array(found) - truth) ** 2)) < 0.05


def test_estimate_alignment__planted_faults():
    """Every lost, doubled and foreign marker is told, none is invented."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        onset = markers(offset=rng.uniform(4, 20), ppm=rng.uniform(-30, 30), jitter_s=20e-6, seed=seed)
        lost = np.sort(rng.choice(np.arange(1, 119), 2, replace=False))
        kept = np.delete(onset, lost)
        doubled = rng.choice(kept) + rng.choice([0.001, 0.004])
        foreign = onset[0] + 2.0 * (rng.integers(0, 119) + rng.uniform(0.2, 0.8))
        train = np.sort(np.concatenate([kept, [doubled, foreign]]))
        found = estimate_alignment(recording({"R128": train}, onset[-1] + 7), volumes(120, 2.0))
        assert found.missing == tuple(lost)
        assert sorted(train[list(found.extra)]) == pytest.approx(sorted([doubled, foreign]))
        assert found.dummy == 0
        assert found.matched == 118
        assert abs(found.offset_s - onset[0]) < 2e-4


def test_estimate_alignment__dummies():
    found = estimate_alignment(recording({"R128": markers(124)}, 265), volumes(120, 2.0))
    assert found.dummy == 4
    assert found.offset_s == pytest.approx(10.0123 + 8.0 * (1 + 8e-6), abs=2e-4)
    assert found.verdict == "suspect"
    assert "dummies" in found.reasons[0]


def test_estimate_alignment__recording_ends_before_the_scan():
    onset = markers(80)
    found = estimate_alignment(recording({"R128": onset}, onset[-1] + 1.5), volumes(120, 2.0))
    assert found.matched == 80
    assert found.covered == (True,) * 79 + (False,) * 41
    assert found.missing == ()
    assert found.residual_s[80] is None
    assert "the EEG does not cover 41 of 120 volumes whole" in found.reasons


@pytest.mark.parametrize("last", [0.5, 1.0, 1.0005])
@pytest.mark.parametrize("lost", ["first", "last"])
@pytest.mark.parametrize("repetition_time", [0.8, 2.16])
def test_estimate_alignment__one_marker_lost_at_an_end_is_never_good(repetition_time, lost, last):
    """A recording that ends within the last volume marked does not tell which end lacks a marker."""
    onset = np.delete(markers(repetition_time=repetition_time), 0 if lost == "first" else -1)
    ds, bold = recording({"R128": onset}, onset[-1] + last * repetition_time), volumes(120, repetition_time)
    found = estimate_alignment(ds, bold)
    assert found.verdict == "suspect"
    assert found.reasons[0].startswith("assumed: the recording ends before the scan; the last 1 volumes")
    decided = estimate_alignment(ds, bold, first_volume=1 if lost == "first" else 0)
    assert decided.offset_s == pytest.approx(10.0123, abs=2e-4)
    assert decided.verdict == "good"


def test_estimate_alignment__as_many_dummies_as_volumes_that_are_not_recorded():
    """Three dummies, and an EEG stopped three volumes early, have as many markers as there are volumes."""
    onset = markers(123)
    cut = onset[onset < onset[120] - 0.01]
    ds, bold = recording({"R128": cut}, onset[120]), volumes(120, 2.0)
    found = estimate_alignment(ds, bold)
    assert found.matched == 120
    assert found.verdict == "suspect"
    assert found.reasons[0].startswith("assumed: no dummies; the recording ends within the last volume marked")
    decided = estimate_alignment(ds, bold, first_volume=-3)
    assert decided.offset_s == pytest.approx(10.0123 + 6.0 * (1 + 8e-6), abs=2e-4)
    assert decided.verdict == "good"


def test_estimate_alignment__a_recording_cropped_to_the_scan_is_good():
    onset = markers(offset=0.1)
    found = estimate_alignment(recording({"R128": onset}, onset[-1] + 2.0), volumes(120, 2.0))
    assert (found.verdict, found.reasons) == ("good", ())


def test_estimate_alignment__recording_starts_within_the_scan():
    onset = markers(offset=-20.5)
    found = estimate_alignment(recording({"R128": onset[onset > 0]}, onset[-1] + 30), volumes(120, 2.0))
    assert found.offset_s == pytest.approx(-20.5, abs=2e-4)
    assert found.covered.index(True) == 11


def test_estimate_alignment__amplifier_pulse_is_no_volume():
    """The sync pulse of BrainAmp comes every 2 s, just as the volumes here."""
    sync = np.arange(0.3, 260, 2.0)
    found = estimate_alignment(recording({"Sync On": sync, "R128": markers()}, 262), volumes(120, 2.0))
    assert found.marker == "R128"


def test_estimate_alignment__slice_markers_are_no_volumes():
    slices = np.sort(np.concatenate([markers() + 2.0 / 30 * part for part in range(30)]))
    responses = np.random.default_rng(3).uniform(10, 250, 40)
    found = estimate_alignment(recording({"S 1": slices, "S 2": responses, "V": markers()}, 262), volumes(120, 2.0))
    assert found.marker == "V"
    with pytest.raises(InputError, match=r"120 times, every 2 s; found 'S 1' \(3600, every 0.066"):
        estimate_alignment(recording({"S 1": slices, "S 2": responses}, 262), volumes(120, 2.0))


@pytest.mark.parametrize(
    ("onsets", "count", "match"),
    [
        ({"Sync On": markers()}, 120, "Name the volume marker as align.marker"),
        ({"R128": markers(), "T": markers() + 0.7}, 120, "found several that fit: 'R128' .120., 'T' .120."),
        ({"R128": np.delete(markers(), np.arange(20, 40))}, 120, "found 20 volumes without marker"),
        ({"R128": markers(119)}, 120, "cannot be known which end lacks 1"),
        ({"R128": markers(120)}, 90, "at most 10 markers may come before"),
        ({"R128": markers(repetition_time=2.1)}, 120, "check RepetitionTime"),
    ],
)
def test_estimate_alignment__refuses(onsets, count, match):
    with pytest.raises(InputError, match=match):
        estimate_alignment(recording(onsets, 275), volumes(count, 2.0))


def test_estimate_alignment__named_marker_and_first_volume():
    ds = recording({"R128": markers(119), "T": markers(119) + 0.7}, 275)
    found = estimate_alignment(ds, volumes(120, 2.0), marker="T", first_volume=1)
    assert found.marker == "T"
    assert found.offset_s == pytest.approx(10.7123 - 2.0, abs=1e-3)
    assert found.missing == (0,)


def test_estimate_alignment__needs_repetition_time():
    bold = volumes(120, 2.0)
    del bold.attrs["repetition_time"]
    with pytest.raises(SchemaError, match="repetition_time in seconds, found none"):
        estimate_alignment(recording({"R128": markers()}, 262), bold)


def test_apply_alignment__puts_volumes_on_their_times():
    ds = recording({"R128": markers()}, 262).assign(eeg=(("channel", "time"), np.zeros((1, 262 * 5000), np.float32)))
    found = estimate_alignment(ds, volumes(120, 2.0))
    moved = apply_alignment(ds, found)
    assert moved.attrs["clock"] == "scanner"
    assert moved["marker_onset"].values == pytest.approx(np.arange(120) * 2.0, abs=4e-4)
    axis = sampling(moved)
    assert axis.start == pytest.approx(-10.0123, abs=3e-4)
    assert axis.frequency == pytest.approx(5000 * (1 + 8e-6), rel=2e-7)
    assert axis.samples == ds.sizes["time"]
    with pytest.raises(SchemaError, match="time must be on the eeg clock, found 'scanner'"):
        apply_alignment(moved, found)


def test_alignment__json():
    found = estimate_alignment(recording({"R128": markers(124)}, 265), volumes(120, 2.0))
    assert Alignment.from_json(json.loads(json.dumps(found.to_json()))) == found


def real_markers(path, frequency: float, samples: int) -> xr.Dataset:
    notes = mne.read_annotations(path, sfreq=frequency)
    onsets = {name: notes.onset[notes.description == name] for name in np.unique(notes.description)}
    return recording(onsets, samples / frequency, frequency)


def test_estimate_alignment__real_rest_markers(shared_data):
    """Raw clock: the cleaned file starts 115.784 s after the raw one; its last volume is cut 52 ms short."""
    path = "derivatives/sub-32/eeg/sub-32_task-rest_eeg.vmrk"
    ds = real_markers(shared_data / "rest_fmri_markers" / path, 250.0, 162023)
    found = estimate_alignment(ds, volumes(300, 2.16))
    assert "Scan Start" in found.marker
    assert found.offset_s + 115.784 == pytest.approx(115.9280, abs=1e-4)
    assert found.matched == 300
    assert found.covered == (True,) * 299 + (False,)
    assert abs(found.drift_ppm) < 0.1
    assert found.verdict == "good"
    assert found.reasons == ("the EEG does not cover 1 of 300 volumes whole",)


def test_estimate_alignment__real_sync_status_is_no_volume(shared_data):
    path = shared_data / "rest_fmri_markers" / "sub-32" / "eeg" / "sub-32_task-rest_eeg.vmrk"
    with pytest.raises(InputError, match=r"found .*Sync On' \(398, every 2 s\)"):
        estimate_alignment(real_markers(path, 5000.0, 3980000), volumes(300, 2.16))


def test_estimate_alignment__real_s128_markers(shared_data):
    """The label is not R128; the tables of responses have none of the period."""
    stored = scipy.io.loadmat(shared_data / "bcgnet_sub34" / "sub34_r01_raw.set", squeeze_me=True)["EEG"]
    events = stored["event"].item()
    label = np.array([str(kind) for kind in events["type"]])
    onset = (events["latency"].astype(float) - 1) / 500.0
    ds = recording({name: onset[label == name] for name in np.unique(label)}, 156652 / 500, 500.0)
    found = estimate_alignment(ds, volumes(150, 2.1))
    assert found.marker == "S128"
    assert found.matched == 150
    assert found.offset_s == pytest.approx(0.2008, abs=1e-6)
    # 150 x 2.1 s = 315 s are more than the 313.3 s recorded: the last volume is cut.
    assert found.covered == (True,) * 149 + (False,)


def test_estimate_alignment__real_markers_rounded_to_a_tenth_of_a_second(shared_data):
    """10 Hz; TR 1.856 s is no multiple; the sidecar holds the true times."""
    folder = shared_data / "gastropy_fmri_egg"
    name = "sub-01_ses-0001_task-rest_physio"
    truth = json.loads((folder / f"{name}.json").read_text())
    table = np.loadtxt(folder / f"{name}.tsv.gz")
    onset = np.flatnonzero(table[:, truth["Columns"].index("trigger")] > 0) / 10.0
    found = estimate_alignment(recording({"trigger": onset}, len(table) / 10.0, 10.0), volumes(420, 1.856))
    assert found.matched == 420
    assert found.extra == ()
    assert abs(found.offset_s - truth["TriggerTimesSeconds"][0]) < 0.05
    assert abs(found.drift_ppm) < 5  # 779 s of markers 50 ms off
