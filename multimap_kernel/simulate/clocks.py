"""Two clocks, the volume markers between them, and what can go wrong with markers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from multimap_kernel.simulate.latents import Stream
from multimap_kernel.simulate.sizes import PLAIN_EEG_HZ, SCANNER_EEG_HZ, SimulationError, Size

Array = NDArray[np.float64]
Index = NDArray[np.int64]

FAULTS = {
    "missing": "three volume markers are lost",
    "extra": "three markers stand between volumes",
    "duplicate": "two markers are written twice, one sample apart",
    "jitter": "every marker is up to two samples early or late",
    "late_start": "the EEG starts in the third volume",
    "truncated_eeg": "the EEG stops after 80 % of the volumes",
    "dummies": "three volumes, discarded by the scanner, were marked before the first one of the file",
    "no_markers": "the file holds no volume marker at all",
    "unsteady_start": "the first three volumes are too bright (no steady state yet)",
}
DUMMIES = 3


@dataclass(frozen=True)
class Clocks:
    """How EEG time follows scanner time, and where the markers stand.

    Parameters
    ----------
    offset_s, drift_ppm
        ``eeg_time = offset_s + (1 + drift_ppm * 1e-6) * scanner_time``.
    sampling_hz, samples
        Of the EEG file.
    volume_time
        Start of every excitation train on the scanner clock, dummies (negative) first, s.
    marker_sample
        Samples (from 0) of the volume markers in the file.
    planted
        What was done to the markers: fault name to positions.
    dummies
        Volumes before the first one of the file.
    """

    offset_s: float
    drift_ppm: float
    sampling_hz: float
    samples: int
    volume_time: Array
    marker_sample: Index
    planted: dict[str, list[int]] = field(default_factory=dict)
    dummies: int = 0

    def to_eeg(self, scanner_time: Array) -> Array:
        """EEG time of moments on the scanner clock, s from the first sample."""
        return self.offset_s + (1 + self.drift_ppm * 1e-6) * scanner_time

    def to_scanner(self, eeg_time: Array) -> Array:
        """Scanner time of moments in the EEG, s from the start of the first volume."""
        return (eeg_time - self.offset_s) / (1 + self.drift_ppm * 1e-6)

    def sample_times(self) -> Array:
        """Scanner time of every EEG sample, s."""
        return self.to_scanner(np.arange(self.samples) / self.sampling_hz)


def check_faults(faults: Iterable[str]) -> tuple[str, ...]:
    """The names in order, once each; unknown ones are refused."""
    if isinstance(faults, str):
        raise SimulationError(f"faults must be a tuple of names, but got the string {faults!r}; write ({faults!r},)")
    names = tuple(sorted(set(faults)))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise SimulationError(f"faults must be among {', '.join(FAULTS)}, but got {', '.join(unknown)}")
    return names


def make_clocks(
    size: Size, stream: Stream, *, drift_ppm: float, jitter_us: float, artifacts: bool, faults: tuple[str, ...]
) -> Clocks:
    """Start, rate and end of the EEG, and its volume markers; a marker is the first sample not before its volume."""
    rng = stream("clocks")
    repetition, count = size.repetition_time, size.volumes
    dummies = DUMMIES if "dummies" in faults else 0
    offset = 10.0 + float(rng.uniform(0.05, 0.95)) + dummies * repetition
    if "late_start" in faults:
        offset = -2.4 * repetition
    end = count * repetition + 4.0 + float(rng.uniform(0.0, 1.0))
    if "truncated_eeg" in faults:
        end = (0.8 * count + 0.3) * repetition
    hz = SCANNER_EEG_HZ if artifacts else PLAIN_EEG_HZ
    index = np.arange(-dummies, count)
    volume_time = index * repetition + jitter_us * 1e-6 * rng.standard_normal(index.size)
    samples = int((offset + (1 + drift_ppm * 1e-6) * end) * hz)
    plain = Clocks(offset, drift_ppm, hz, samples, volume_time, np.zeros(0, np.int64))
    exact = np.ceil(np.round(plain.to_eeg(volume_time) * hz, 6)).astype(np.int64)
    exact = exact[(exact >= 0) & (exact < samples)]
    markers, planted = _spoil(exact, round(repetition * hz), faults, stream("faults"))
    return Clocks(offset, drift_ppm, hz, samples, volume_time, markers, planted, dummies)


def _spoil(
    exact: Index, period: int, faults: tuple[str, ...], rng: np.random.Generator
) -> tuple[Index, dict[str, list[int]]]:
    """Plant faults; positions of lost, doubled and shifted ones count markers, those of extra ones are samples."""
    markers, planted = exact, {}
    inner = np.arange(2, exact.size - 2)
    if "jitter" in faults:
        shift = rng.integers(-2, 3, exact.size)
        planted["jitter"] = shift.tolist()
        markers = exact + shift
    chosen = rng.permutation(inner)
    additional = []
    if "extra" in faults:
        planted["extra"] = sorted((exact[chosen[:3]] + rng.integers(period // 5, 4 * period // 5, 3)).tolist())
        additional += planted["extra"]
    if "duplicate" in faults:
        planted["duplicate"] = sorted(chosen[3:5].tolist())
        additional += (markers[planted["duplicate"]] + 1).tolist()
    if "missing" in faults:
        planted["missing"] = sorted(chosen[5:8].tolist())
        markers = np.delete(markers, planted["missing"])
    if "no_markers" in faults:
        planted["no_markers"] = []
        markers, additional = markers[:0], []
    return np.sort(np.r_[markers, np.array(additional, dtype=np.int64)]), planted
