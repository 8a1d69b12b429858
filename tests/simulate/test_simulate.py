"""The simulated session, judged from the written files by nibabel, MNE and nilearn, and by its own truth."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mne
import mne_bids
import nibabel as nib
import numpy as np
import pytest
from nilearn.glm.first_level import spm_hrf
from nilearn.masking import compute_epi_mask
from nilearn.signal import clean
from scipy import ndimage, signal

from multimap_kernel.simulate import EFFECTS, FAULTS, SIZES, SimulationError, describe, simulate_session

LABEL = "sub-01_task-flicker"
REPETITION_S = 2.0


@dataclass(frozen=True)
class Session:
    """What is on disk."""

    study: Path

    @cached_property
    def facts(self):
        return json.loads((self.study / f"sourcedata/truth/{LABEL}_truth.json").read_text())

    @cached_property
    def truth(self):
        return dict(np.load(self.study / f"sourcedata/truth/{LABEL}_truth.npz"))

    @cached_property
    def image(self):
        return nib.load(self.study / f"sub-01/func/{LABEL}_bold.nii.gz")

    @cached_property
    def bold(self):
        return self.image.get_fdata(dtype=np.float32)

    @cached_property
    def raw(self):
        header = self.study / f"sub-01/eeg/{LABEL}_eeg.vhdr"
        raw = mne.io.read_raw_brainvision(header, preload=True, verbose="ERROR")
        return raw.set_channel_types({"ECG": "ecg"})  # BrainVision headers know no types

    def marker_samples(self, description="Response/R128"):
        found = self.raw.annotations
        onsets = found.onset[found.description == description]
        return np.rint(onsets * self.raw.info["sfreq"]).astype(int)

    def core(self, name, radius_mm=9.0):
        """Series (time, voxel) in % of their means, of voxels near the middle of a region."""
        region = next(r for r in self.facts["regions"] if r["name"] == name)
        index = np.stack(np.meshgrid(*map(np.arange, self.bold.shape[:3]), indexing="ij"), axis=-1)
        to_mni = self.truth["epi_to_mni"] @ self.image.affine
        place = index @ to_mni[:3, :3].T + to_mni[:3, 3]
        series = self.bold[np.linalg.norm(place - region["centre_mm"], axis=-1) < radius_mm].T
        return 100 * (series / series.mean(axis=0) - 1)

    def effect(self, name, drive, without=None):
        """Slope of a region on a course on the 10 Hz grid after nilearn's HRF; trend and curvature taken out.

        ``without`` is the same session without that effect: what is left of the two is the effect, free of noise.
        """
        hrf = spm_hrf(0.1, oversampling=1, time_length=32)
        at = (np.arange(self.bold.shape[3]) + 0.5) * REPETITION_S
        course = np.interp(at, self.truth["envelope_time"], np.convolve(drive, hrf / hrf.sum())[: drive.size])
        trend = np.linspace(-1, 1, at.size)
        design = np.stack([course, np.ones_like(trend), trend, trend**2], axis=1)
        series = self.core(name) - (0 if without is None else without.core(name))
        slope = np.linalg.lstsq(design, series.mean(axis=1), rcond=None)[0][0]
        return slope, slope * course.std()


def simulate(folder, **options):
    return Session(simulate_session(folder, **{"size": "tiny", "artifacts": False, "t1w": False, **options}))


@pytest.fixture(scope="module")
def scanned(tiny_study):
    return Session(tiny_study)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("still"))


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("idle"), task_effect=0.0)


@pytest.fixture(scope="module")
def uncoupled(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("uncoupled"), coupling=0)


def boxcar(session, condition):
    time, truth = session.truth["envelope_time"], session.truth
    inside = np.zeros(time.size)
    for onset, duration, name in zip(
        truth["event_onset"], truth["event_duration"], truth["event_condition"], strict=True
    ):
        inside[(time >= onset) & (time < onset + duration)] += name == condition
    return inside


def hashes(study):
    return {
        str(f.relative_to(study)): hashlib.sha256(f.read_bytes()).hexdigest() for f in study.rglob("*") if f.is_file()
    }


# --- what is promised ---


def test_describe__effect_sizes():
    text = describe("demo")
    promised = ("32x32x20", "120 volumes", "TR 2 s", "15 channels + ECG", "5000 Hz", "+1 % BOLD", "-1 % occipital")
    promised += ("-0.7 % parietal", "+0.5 % thalamus", "4 mV", "100 uV")
    assert not [words for words in promised if words not in text]
    assert (EFFECTS.tsnr, EFFECTS.autocorrelation, EFFECTS.alpha_snr) == (60, 0.3, 1.5)
    assert (SIZES["standard"].grid, SIZES["standard"].volumes, len(SIZES["standard"].channels)) == (
        (64, 64, 36),
        300,
        31,
    )


# --- BIDS ---


def test_simulate_session__bids(scanned):
    path = mne_bids.BIDSPath(root=scanned.study, subject="01", task="flicker", datatype="eeg", suffix="eeg")
    raw = mne_bids.read_raw_bids(path, verbose="ERROR")
    assert raw.info["sfreq"] == 5000
    assert raw.get_channel_types() == ["eeg"] * 8 + ["ecg"]
    assert raw.info["line_freq"] == 50
    heights = {name: place[2] for name, place in raw.get_montage().get_positions()["ch_pos"].items() if name != "ECG"}
    assert max(heights, key=heights.get) in {"C3", "C4", "Fz", "Pz"}
    assert (raw.annotations.description == "R128").sum() == 60
    sidecar = json.loads((scanned.study / f"sub-01/func/{LABEL}_bold.json").read_text())
    assert sidecar["RepetitionTime"] == REPETITION_S == scanned.image.header.get_zooms()[3]
    assert len(sidecar["SliceTiming"]) == scanned.bold.shape[2]
    assert 0 <= min(sidecar["SliceTiming"]) < max(sidecar["SliceTiming"]) < REPETITION_S
    assert scanned.image.get_data_dtype() == np.int16
    np.testing.assert_allclose(scanned.image.get_qform(), scanned.image.get_sform(), atol=1e-4)
    assert nib.load(scanned.study / "sub-01/anat/sub-01_T1w.nii.gz").ndim == 3


def test_simulate_session__study_grows(tmp_path):
    for subject, session in (("02", ""), ("01", "a"), ("01", "b")):
        simulate(tmp_path, subject=subject, session=session)
    assert (tmp_path / "participants.tsv").read_text().split() == ["participant_id", "sub-01", "sub-02"]
    assert mne_bids.get_entity_vals(tmp_path, "session", ignore_dirs="sourcedata") == ["a", "b"]
    assert len(list(tmp_path.glob("sourcedata/truth/*_truth.json"))) == 3


# --- the scanner in the EEG ---


def test_simulate_session__clocks(scanned):
    clock, hz = scanned.facts["clock"], scanned.raw.info["sfreq"]
    nominal = clock["offset_s"] + (1 + clock["drift_ppm"] * 1e-6) * REPETITION_S * np.arange(60)
    np.testing.assert_allclose(scanned.truth["volume_eeg_time"], nominal, atol=5 * 5e-6)  # jitter of 5 us
    np.testing.assert_array_equal(scanned.marker_samples(), np.ceil(scanned.truth["volume_eeg_time"] * hz))
    assert clock["offset_s"] % 1 != 0
    assert scanned.raw.n_times / hz > nominal[-1] + REPETITION_S


def test_simulate_session__artifact_follows_the_clock(scanned):
    """The delay between the artifacts of two volumes, from the phase of their spectra, is the true one."""
    hz, start = scanned.raw.info["sfreq"], scanned.marker_samples()
    strongest = np.argmax(np.ptp(scanned.raw.get_data(picks="eeg"), axis=1))
    volumes = [scanned.raw.get_data(picks=[strongest])[0, s : s + 10000] for s in start]
    true = scanned.truth["volume_eeg_time"] - start / hz
    frequency = np.fft.rfftfreq(10000, 1 / hz)
    band = (frequency > 60) & (frequency < 240)
    for volume in (20, 40, 59):
        cross = np.fft.rfft(volumes[volume])[band] * np.conj(np.fft.rfft(volumes[0])[band])
        shift = np.sum(-np.angle(cross) * frequency[band] * np.abs(cross)) / np.sum(
            2 * np.pi * frequency[band] ** 2 * np.abs(cross)
        )
        assert abs(shift - (true[volume] - true[0])) < 10e-6


def test_simulate_session__gradient_artifact(scanned):
    hz, first = scanned.raw.info["sfreq"], scanned.marker_samples()[0]
    eeg = scanned.raw.get_data(picks="eeg")
    height = np.ptp(eeg[:, first + 20000 : first + 40000], axis=1)
    assert np.median(height) == pytest.approx(EFFECTS.gradient_mv * 1e-3, rel=0.1)
    assert np.abs(eeg[:, : first - 1]).max() < 0.4e-3  # nothing before the scan starts
    assert np.abs(eeg).max() < 16e-3  # fits the amplifier
    spectrum = np.abs(np.fft.rfft(eeg[0, first : first + int(100 * hz)]))
    slices = spectrum[100 * 8 :: 100 * 8][:10]  # 16 slices in 2 s
    beside = spectrum[100 * 8 + 37 :: 100 * 8][:10]
    assert np.median(slices / beside) > 100


def test_simulate_session__pulse_artifact(scanned):
    low = scanned.raw.copy().pick("eeg").filter(None, 15, verbose="ERROR")
    hz = low.info["sfreq"]
    starts = (scanned.truth["r_peak_eeg_time"] * hz).astype(int)
    starts = starts[(starts > 0) & (starts + 4000 < low.n_times)]
    eeg = low.get_data()
    beat = np.mean([eeg[:, s : s + 4000] for s in starts], axis=0)
    assert np.median(np.ptp(beat, axis=1)) == pytest.approx(EFFECTS.pulse_uv * 1e-6, rel=0.35)
    ecg = scanned.raw.get_data(picks="ecg")[0, : scanned.marker_samples()[0]]
    r = (scanned.truth["r_peak_eeg_time"] * hz).astype(int)
    r = r[(r > 200) & (r < ecg.size - 2500)]
    at_r = [ecg[s - 50 : s + 50].max() for s in r]
    at_t = [ecg[s + 1000 : s + 2000].max() for s in r]
    assert np.median(at_r) == pytest.approx(1e-3, rel=0.15)
    assert np.median(at_t) == pytest.approx(1e-3, rel=0.25)  # as high as R


# --- the brain in the EEG ---


def test_simulate_session__written_eeg_is_the_clean_one(still):
    clock, facts = still.facts["clock"], still.facts["clean_eeg"]
    assert still.raw.info["sfreq"] == 250
    at = (still.raw.times - clock["offset_s"]) / (1 + clock["drift_ppm"] * 1e-6)
    slow = still.raw.copy().pick("eeg").filter(None, 40, verbose="ERROR").get_data()
    clean_eeg = mne.filter.filter_data(still.truth["clean_eeg"].astype(float), 250, None, 40, verbose="ERROR")
    index = np.arange(clean_eeg.shape[1]) / 250 + facts["start_s"]
    for written, true in zip(slow, clean_eeg, strict=True):
        expected = np.interp(at, index, true)
        inner = slice(250, -250)
        assert np.std(written[inner] - expected[inner]) < 0.12 * np.std(expected[inner])


def test_simulate_session__alpha_snr(still):
    """Alpha over a power law that is fitted where there is no rhythm, at the channel with the most alpha."""
    eeg = still.raw.get_data(picks="eeg")
    f, power = signal.welch(eeg, 250, nperseg=500)
    inside, free = (f >= 8) & (f <= 12), ((f >= 2) & (f <= 4)) | ((f >= 29) & (f <= 45))
    snr = []
    for row in power:
        slope, level = np.polyfit(np.log(f[free]), np.log(row[free]), 1)
        snr.append(np.sqrt(max(row[inside].sum() / np.exp(level + slope * np.log(f[inside])).sum() - 1, 0)))
    best = int(np.argmax(power[:, inside].sum(axis=1)))
    assert still.raw.ch_names[best] in {"O1", "O2"}
    assert snr[best] == pytest.approx(EFFECTS.alpha_snr, rel=0.25)


def test_simulate_session__alpha_envelope(still):
    start = still.facts["clean_eeg"]["start_s"]
    occipital = still.truth["clean_eeg"][list(still.truth["channel"]).index("O1")].astype(float)
    envelope = np.abs(signal.hilbert(mne.filter.filter_data(occipital, 250, 8, 12, verbose="ERROR")))
    time = start + np.arange(envelope.size) / 250
    inside = (still.truth["envelope_time"] > time[0] + 2) & (still.truth["envelope_time"] < time[-1] - 2)
    seen = np.interp(still.truth["envelope_time"][inside], time, envelope)
    assert np.corrcoef(seen, still.truth["alpha_envelope"][inside])[0, 1] > 0.75


# --- the brain in BOLD ---


def test_simulate_session__noise(still):
    brain = compute_epi_mask(still.image, opening=False).get_fdata() > 0
    series = still.bold[brain].T
    assert np.median(series.mean(axis=0) / series.std(axis=0)) == pytest.approx(EFFECTS.tsnr, rel=0.1)
    quiet = brain & (nib.load(still.study / f"sourcedata/truth/{LABEL}_space-native_dseg.nii.gz").get_fdata() == 0)
    found = []
    for z in range(3, brain.shape[2] - 3):  # the mean of a slice carries breath and pulse at its own moment
        voxels = still.bold[:, :, z][quiet[:, :, z]].T.astype(float)
        rest = clean(voxels, confounds=voxels.mean(axis=1)[:, None], standardize=None, detrend=True)
        found.extend(np.sum(rest[1:] * rest[:-1], axis=0) / np.sum(rest**2, axis=0))
    bias = (1 + 4 * EFFECTS.autocorrelation) / 60  # of the estimator
    assert np.median(found) + bias == pytest.approx(EFFECTS.autocorrelation, abs=0.06)


@pytest.mark.parametrize(("region", "condition"), [("calcarine", "flicker"), ("motor_left", "tapping")])
def test_simulate_session__task_effect(still, idle, region, condition):
    assert still.effect(region, boxcar(still, condition), idle)[0] == pytest.approx(EFFECTS.task_percent, abs=0.05)


@pytest.mark.parametrize(
    ("region", "percent"),
    [("occipital_left", -1.0), ("occipital_right", -1.0), ("parietal_left", -0.7), ("thalamus", 0.5)],
)
def test_simulate_session__alpha_effect(still, uncoupled, region, percent):
    assert still.effect(region, still.truth["alpha_envelope"], uncoupled)[1] == pytest.approx(percent, abs=0.05)


def test_simulate_session__motion(scanned):
    """Undoing the true motion brings a volume onto the first one; applying it twice makes matters worse."""
    affine, centre = scanned.image.affine, np.array(scanned.facts["motion"]["centre"])
    volume = int(np.argmax(np.abs(scanned.truth["motion"][:, :3]).sum(axis=1)))
    tx, ty, tz, rx, ry, rz = scanned.truth["motion"][volume]
    turn = np.eye(3)
    for axis, angle in (((0, 1), rz), ((2, 0), ry), ((1, 2), rx)):
        step = np.eye(3)
        step[axis[0], axis[0]] = step[axis[1], axis[1]] = np.cos(angle)
        step[axis[0], axis[1]], step[axis[1], axis[0]] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    moved = np.eye(4)
    moved[:3, :3] = turn
    moved[:3, 3] = centre + np.array([tx, ty, tz]) - turn @ centre

    def difference(matrix):
        to_index = np.linalg.inv(affine) @ matrix @ affine
        back = ndimage.affine_transform(scanned.bold[..., volume], to_index[:3, :3], to_index[:3, 3], order=3)
        return np.sqrt(np.mean((back - scanned.bold[..., 0])[3:-3, 3:-3, 3:-3] ** 2))

    assert difference(moved) < 0.9 * difference(np.eye(4))
    assert difference(np.eye(4)) < difference(np.linalg.inv(moved))
    middle = affine[:3, :3] @ ((np.array(scanned.bold.shape[:3]) - 1) / 2) + affine[:3, 3]
    np.testing.assert_allclose(centre, middle, atol=1e-3)


# --- what can be switched off ---


def test_simulate_session__coupling_0(still, tmp_path):
    alone = simulate(tmp_path, coupling=0)
    driven = {r["name"]: r["driven"] for r in alone.facts["regions"]}
    assert [name for name, on in driven.items() if on] == ["calcarine", "motor_left"]
    assert abs(np.corrcoef(alone.truth["arousal_eeg"], alone.truth["arousal_bold"])[0, 1]) < 0.5
    assert not np.array_equal(alone.truth["arousal_eeg"], alone.truth["arousal_bold"])
    np.testing.assert_array_equal(still.truth["arousal_eeg"], still.truth["arousal_bold"])
    labels = nib.load(still.study / f"sourcedata/truth/{LABEL}_space-native_dseg.nii.gz").get_fdata()
    alpha = [r["label"] for r in still.facts["regions"] if r["driver"] == "alpha"]
    far = ~ndimage.binary_dilation(np.isin(labels, alpha), iterations=2)
    np.testing.assert_allclose(alone.bold[far], still.bold[far], atol=0.11)  # same noise, same task; a step is 0.1
    assert np.abs(alone.core("occipital_left") - still.core("occipital_left")).max() > 0.5


def test_simulate_session__coupling_0_other_body(tmp_path):
    alone = simulate(tmp_path, coupling=0, artifacts=True)
    assert np.abs(alone.truth["motion"]).max() > 0.05
    assert np.abs(np.corrcoef(alone.truth["motion"][:, 0], alone.truth["motion_eeg"][:, 0])[0, 1]) < 0.99


def test_simulate_session__interaction(tmp_path):
    session = simulate(tmp_path, coupling="interaction")
    truth = session.truth
    theta, beta = (np.log(truth[f"{name}_envelope"]) for name in ("theta", "beta"))
    for single in (theta, beta, theta - beta):
        assert abs(np.corrcoef(single, truth["interaction"])[0, 1]) < 1e-3
    assert abs(np.corrcoef(theta, beta)[0, 1]) < 1e-6
    assert abs(np.corrcoef(truth["alpha_envelope"], truth["interaction"])[0, 1]) < 0.2
    regions = {r["name"]: r for r in session.facts["regions"]}
    driven = {name for name, region in regions.items() if region["driven"]}
    assert driven == set(regions)
    assert session.effect("prefrontal", truth["interaction"])[1] == pytest.approx(EFFECTS.interaction_percent, abs=0.35)
    centres = {name: np.array(region["centre_mm"]) for name, region in regions.items()}
    for name in ("prefrontal", "insula_right"):
        others = [n for n, r in regions.items() if r["driver"] != "interaction"]
        gaps = [
            np.linalg.norm(centres[name] - centres[n]) - regions[name]["radius_mm"] - regions[n]["radius_mm"]
            for n in others
        ]
        assert min(gaps) > 10


def test_simulate_session__task_effect_0(still, tmp_path):
    rest = simulate(tmp_path, task_effect=0)
    assert {r["driver"] for r in rest.facts["regions"] if r["driven"]} == {"alpha"}
    assert (rest.study / f"sub-01/func/{LABEL}_events.tsv").read_text() == (
        still.study / f"sub-01/func/{LABEL}_events.tsv"
    ).read_text()
    occipital = [list(s.truth["channel"]).index("O1") for s in (rest, still)]
    f, silent = signal.welch(rest.truth["clean_eeg"][occipital[0]], 250, nperseg=1000)
    _, flickering = signal.welch(still.truth["clean_eeg"][occipital[1]], 250, nperseg=1000)
    assert flickering[f == 15][0] > 5 * silent[f == 15][0]


# --- faults ---


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_simulate_session__fault(still, tmp_path, fault):
    broken = simulate(tmp_path, faults=(fault,))
    count = {
        "missing": 57,
        "extra": 63,
        "duplicate": 62,
        "dummies": 63,
        "no_markers": 0,
        "late_start": 57,
        "truncated_eeg": 49,
    }
    markers = broken.marker_samples()
    assert markers.size == count.get(fault, 60)
    planted = broken.facts["planted"].get(fault)
    exact = np.ceil(broken.truth["volume_eeg_time"] * 250)
    if fault == "missing":
        np.testing.assert_array_equal(markers, np.delete(exact, planted))
    elif fault == "extra":
        assert set(markers) - set(exact) == set(planted)
    elif fault == "jitter":
        np.testing.assert_array_equal(markers - exact, planted)
    elif fault == "dummies":
        np.testing.assert_array_equal(markers[3:], exact)
        sidecar = json.loads((broken.study / f"sub-01/func/{LABEL}_bold.json").read_text())
        assert sidecar["NumberOfVolumesDiscardedByScanner"] == 3
    elif fault == "late_start":
        assert exact[2] < 0 <= markers[0] == exact[3]
    elif fault == "unsteady_start":
        brightness = broken.bold[12, 12, 8] / still.bold[12, 12, 8]
        np.testing.assert_allclose(brightness[:4], [1.3, 1.11, 1.04, 1.0], atol=0.03)


# --- the same again ---


def test_simulate_session__deterministic(tmp_path):
    first, second = (simulate_session(tmp_path / name, seed=3) for name in ("a", "b"))
    assert hashes(first) == hashes(second)
    other = simulate(tmp_path / "c", seed=4)
    assert not np.array_equal(other.bold, Session(first).bold)


def test_simulate_session__written_once(tmp_path):
    study = simulate(tmp_path).study
    before = {file: file.stat().st_mtime_ns for file in study.rglob("*")}
    simulate(tmp_path)
    assert before == {file: file.stat().st_mtime_ns for file in study.rglob("*")}
    with pytest.raises(SimulationError, match=r"already holds .* seed=0 \(asked for 1\); choose another study folder"):
        simulate(tmp_path, seed=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": "huge"}, "size must be one of tiny, demo, standard, but got 'huge'"),
        ({"coupling": "strong"}, "coupling must be a number or 'interaction', but got 'strong'"),
        ({"faults": ("lost",)}, "faults must be among missing.*but got lost"),
        ({"faults": "missing"}, r"write \('missing',\)"),
        ({"subject": "sub-01"}, "subject must be letters and digits .* but got 'sub-01'"),
        ({"task": ""}, "task must be letters and digits"),
    ],
)
def test_simulate_session__refusal(tmp_path, options, match):
    with pytest.raises(SimulationError, match=match):
        simulate(tmp_path, **options)
    assert not list(tmp_path.iterdir())
