"""EEG as a scanner makes it, from formulas alone: the truth that the tests of the EEG verbs are judged by."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import signal

from multimap_kernel.schema import regular_time


@dataclass(frozen=True)
class Scan:
    """One recording in volts on the scanner clock, with its parts."""

    brain: np.ndarray
    artifact: np.ndarray
    start: float
    frequency: float
    repetition_time: float
    volumes: int

    @property
    def inside(self) -> np.ndarray:
        """Samples within the volumes."""
        time = self.start + np.arange(self.brain.shape[1]) / self.frequency
        return (time >= 0) & (time < self.volumes * self.repetition_time)

    def dataset(self, values: np.ndarray | None = None) -> xr.Dataset:
        values = self.brain + self.artifact if values is None else values
        return recording(values, self.start, self.frequency)


def recording(values: np.ndarray, start: float, frequency: float, kinds: list[str] | None = None) -> xr.Dataset:
    """A Dataset on the scanner clock; channels E0, E1, ..."""
    channels = len(values)
    return xr.Dataset(
        {
            "eeg": (("channel", "time"), values.astype(np.float32)),
            "channel_type": ("channel", kinds or ["eeg"] * channels),
        },
        coords={"channel": [f"E{row}" for row in range(channels)]},
        attrs={"clock": "scanner"},
    ).assign_coords(regular_time(start, frequency, values.shape[1]))


def brain(channels: int, samples: int, frequency: float, rng: np.random.Generator) -> np.ndarray:
    """1/f noise of 12 uV below 200 Hz, with bursts near 10 Hz whose phase wanders (a steady one would lock to TR)."""
    f = np.fft.rfftfreq(samples, 1 / frequency)
    shape = 1 / np.maximum(f, 0.5) ** 0.6 / (1 + (f / 200.0) ** 8)
    noise = np.fft.irfft(
        shape * (rng.standard_normal((channels, len(f))) + 1j * rng.standard_normal((channels, len(f)))), samples
    )
    noise *= 12e-6 / noise.std(1, keepdims=True)
    time = np.arange(samples) / frequency
    envelope = np.clip(
        np.interp(time, np.arange(0, time[-1] + 2, 1.0), rng.standard_normal(int(time[-1] + 2) + 1)), 0, None
    )
    wander = np.cumsum(rng.standard_normal(samples)) * np.sqrt(2 * np.pi * 0.3 / frequency)
    return noise + 12e-6 * np.linspace(0.3, 1, channels)[:, None] * envelope * np.sin(2 * np.pi * 10 * time + wander)


def gradient(phase: np.ndarray, repetition_time: float, slices: int, rng: np.random.Generator) -> np.ndarray:
    """Artifact of unit range at phases (s) within a volume: pulses and read-out of each slice, below 250 Hz."""
    rate = 20_000
    points = round(repetition_time * rate)
    t = np.arange(points) / rate
    within = t % (repetition_time / slices)
    wave = np.zeros(points)
    for begin, width, height in ((0.001, 0.004, 1.0), (0.0065, 0.003, 0.7), (0.0097, 0.0016, -0.7)):
        wave += height * np.exp(-(((within - begin - width / 2) / (width / 3)) ** 2))
    wave += 0.8 * np.sign(np.sin(2 * np.pi * 830 * within)) * (within > 0.0145)
    wave *= (1 + 0.05 * rng.standard_normal(slices))[np.minimum((t / repetition_time * slices).astype(int), slices - 1)]
    f = np.fft.rfftfreq(points, 1 / rate)
    cut = 1 / (1 + (f / 250.0) ** 8)
    field = np.fft.irfft(np.fft.rfft(np.gradient(wave)) * cut, points)
    field /= np.ptp(field)
    return np.interp(phase * rate, np.arange(points + 1), np.append(field, field[0]))


def scan(
    *,
    channels=4,
    volumes=40,
    repetition_time=2.0,
    frequency=5000.0,
    ppm=8.0,
    jitter_s=0.0,
    before=4.0137,
    after=3.0,
    slices=30,
    height=4e-3,
    motion=0.0,
    seed=0,
) -> Scan:
    """Simulate one run; ``frequency`` is nominal, the scanner sees it ``ppm`` off."""
    rng = np.random.default_rng(seed)
    pace = frequency * (1 + ppm * 1e-6)
    samples = round((before + volumes * repetition_time + after) * frequency)
    time = np.arange(samples) / pace - before
    volume = np.floor(time / repetition_time).astype(int)
    late = jitter_s * rng.standard_normal(volumes)
    known = np.clip(volume, 0, volumes - 1)
    phase = np.mod(time - volume * repetition_time - late[known], repetition_time)
    wave = gradient(phase, repetition_time, slices, rng) * ((volume >= 0) & (volume < volumes))
    gain = height * (0.3 + 1.4 * rng.random(channels)) * rng.choice([-1, 1], channels)
    pose = signal.sosfiltfilt(
        signal.butter(2, 0.5, fs=frequency, output="sos"), np.cumsum(rng.standard_normal(volumes))[known]
    )
    artifact = gain[:, None] * wave * (1 + motion * rng.standard_normal(channels)[:, None] * pose)
    return Scan(brain(channels, samples, frequency, rng), artifact, float(-before), pace, repetition_time, volumes)


def quality(truth: np.ndarray, found: np.ndarray, frequency: float, keep: np.ndarray) -> float:
    """Median over channels of signal over error in dB, 0.5 to 70 Hz, within the samples to keep."""
    sos = signal.butter(4, [0.5, 70], "band", fs=frequency, output="sos")
    want, got = (signal.sosfiltfilt(sos, np.asarray(x, float), axis=1)[:, keep] for x in (truth, found))
    return float(np.median(10 * np.log10((want**2).mean(1) / ((got - want) ** 2).mean(1))))


def spectrum_ratio(
    truth: np.ndarray, found: np.ndarray, frequency: float, lines: np.ndarray, segment: int
) -> np.ndarray:
    """Median over channels of the power at some lines, found over true."""
    f, want = signal.welch(truth, frequency, nperseg=segment)
    got = signal.welch(found, frequency, nperseg=segment)[1]
    places = [int(np.argmin(np.abs(f - line))) for line in lines]
    return np.median(got[:, places] / want[:, places], axis=0)


def heartbeats(duration: float, rng: np.random.Generator) -> np.ndarray:
    """Times of R peaks with slow and beat-to-beat variation."""
    beats, time = [], 0.4
    while time < duration - 0.9:
        beats.append(time)
        time += 0.85 + 0.05 * np.sin(2 * np.pi * 0.1 * time) + 0.03 * rng.standard_normal()
    return np.array(beats)


def electrocardiogram(beats: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """ECG of 1 mV in the magnet: the T wave is higher than the R peak."""
    ecg = 0.1 * rng.standard_normal(len(time)) + 0.3 * np.sin(2 * np.pi * 0.25 * time)
    for beat in beats:
        after = time - beat
        ecg += np.exp(-0.5 * (after / 0.010) ** 2) - 0.25 * np.exp(-0.5 * ((after - 0.03) / 0.012) ** 2)
        ecg += 1.15 * (1 + 0.15 * rng.standard_normal()) * np.exp(-0.5 * ((after - 0.27) / 0.05) ** 2)
    return 1e-3 * ecg


def pulse_artifact(beats: np.ndarray, time: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Two waves after each beat, each with its own field and its own variation from beat to beat, about 100 uV."""
    waves = np.zeros((2, len(time)))
    for beat in beats:
        near = slice(*np.searchsorted(time, [beat, beat + 0.8]))
        after = time[near] - beat
        first = np.exp(-0.5 * ((after - 0.21) / 0.04) ** 2) - 0.7 * np.exp(-0.5 * ((after - 0.30) / 0.05) ** 2)
        second = np.exp(-0.5 * ((after - 0.25) / 0.05) ** 2) - 0.6 * np.exp(-0.5 * ((after - 0.38) / 0.05) ** 2)
        size = 1 + 0.2 * rng.standard_normal()
        waves[0, near] += size * first
        waves[1, near] += size * 0.5 * (1 + 0.2 * rng.standard_normal()) * second
    field = rng.choice([-1, 1], (channels, 2)) * rng.uniform(0.7, 1.3, (channels, 2))
    return 80e-6 * field @ waves


def lazily(ds: xr.Dataset, chunks: tuple[int, int]) -> xr.Dataset:
    """The same Dataset with its EEG in Dask chunks of so many channels and samples."""
    return ds.assign(eeg=ds["eeg"].chunk(channel=chunks[0], time=chunks[1]))
