"""The EEG before the scanner gets at it: background, rhythms with known envelopes, blinks, mains; and its topographies.

Potentials come from MNE's three-shell sphere with a handful of dipoles; the reference is FCz. The signal is made at
250 Hz on the scanner clock and holds nothing above 115 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import mne
import numpy as np
from numpy.typing import NDArray

from multimap_kernel.simulate.latents import Array, Body, Events, Rhythms, Stream, boxcar
from multimap_kernel.simulate.sizes import EFFECTS

Signal = NDArray[np.float32]

CLEAN_HZ = 250.0
REFERENCE = "FCz"
MONTAGE = "colin27_1020"
LANDMARKS = ("nasion", "lpa", "rpa")
ALPHA_HZ, THETA_HZ, BETA_HZ, MOTOR_HZ, FLICKER_HZ, LINE_HZ = 10.0, 6.0, 24.0, 19.0, 15.0, 50.0
MOTOR_SUPPRESSION = 0.7  # of the motor rhythm's amplitude while tapping
BLINK_UV, LINE_UV = 120.0, 1.0
THETA_SNR, BETA_SNR, MOTOR_SNR = 1.0, 0.7, 0.6  # as alpha_snr, in 4-8, 13-30 and 13-30 Hz
SPHERE_CENTRE_M, SPHERE_RADIUS_M = (0.0, 0.012, 0.04), 0.098

# dipoles of each source: position (MNI, mm) and direction
SOURCES: dict[str, tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]] = {
    "alpha": (((-20, -80, 10), (-0.3, -0.8, 0.5)), ((20, -80, 10), (0.3, -0.8, 0.5))),
    "theta": (((0, 30, 40), (0.0, 0.4, 0.9)),),
    "beta": (((34, 24, 36), (0.5, 0.4, 0.75)),),
    "motor": (((-38, -22, 54), (-0.5, 0.0, 0.85)),),
    "flicker": (((0, -84, 4), (0.0, -0.9, 0.4)),),
}


@dataclass(frozen=True)
class Topographies:
    """Potentials at the channels: one column per source (largest 1), the background's mixing matrix, positions (m)."""

    source: dict[str, Array]
    mixing: Array
    position: Array
    landmark: dict[str, Array]


@dataclass(frozen=True)
class CleanEeg:
    """EEG without the scanner: ``signal`` (channel, time) V at 250 Hz, from ``start_s`` on the scanner clock."""

    signal: Signal
    start_s: float

    @property
    def time(self) -> Array:
        """Scanner time of each sample, s."""
        return self.start_s + np.arange(self.signal.shape[1]) / CLEAN_HZ


@lru_cache(maxsize=4)
def topographies(channels: tuple[str, ...]) -> Topographies:
    """Forward solution of the sphere for the named channels, referenced to FCz; positions in MNE's head frame."""
    montage = mne.channels.make_standard_montage(MONTAGE)
    to_head = mne.channels.compute_native_head_t(montage)
    info = mne.create_info([*channels, REFERENCE], CLEAN_HZ, "eeg")
    info.set_montage(montage)
    positions = info.get_montage().get_positions()
    centre = np.array(SPHERE_CENTRE_M)
    rng = np.random.default_rng(1020)  # the same cortex for every subject
    random = rng.standard_normal((2, 300, 3))
    random /= np.linalg.norm(random, axis=2, keepdims=True)
    points = [
        mne.transforms.apply_trans(to_head, np.array(p) / 1000) for dipoles in SOURCES.values() for p, _ in dipoles
    ]
    where = np.r_[points, centre + 0.065 * random[0]]
    gain = _gain(info, where).reshape(len(channels) + 1, -1, 3)
    gain = gain[:-1] - gain[-1]
    source, column = {}, 0
    for name, dipoles in SOURCES.items():
        pattern = sum(gain[:, column + i] @ np.array(way) for i, (_, way) in enumerate(dipoles))
        source[name] = pattern / np.abs(pattern).max()
        column += len(dipoles)
    background = np.einsum("cdx,dx->cd", gain[:, column:], random[1])
    place = np.array([positions["ch_pos"][name] for name in channels])
    eyes = np.array([mne.transforms.apply_trans(to_head, np.array([x, 62.0, -38.0]) / 1000) for x in (-32.0, 32.0)])
    ground = positions["ch_pos"][REFERENCE]
    blink = _near(place, eyes) - _near(ground[None], eyes)
    source["blink"] = blink / np.abs(blink).max()
    mixing = np.linalg.cholesky(background @ background.T)
    mixing /= np.sqrt(np.mean(np.sum(mixing**2, axis=1)))
    return Topographies(source, mixing, place, {name: positions[name] for name in LANDMARKS})


def _gain(info: mne.Info, where: Array) -> Array:
    """Potential at each channel for dipoles along x, y, z at each place (head frame, m)."""
    sphere = mne.make_sphere_model(SPHERE_CENTRE_M, SPHERE_RADIUS_M, info, verbose="ERROR")
    unit = np.tile([0.0, 0.0, 1.0], (len(where), 1))
    space = mne.setup_volume_source_space(pos={"rr": where, "nn": unit}, verbose="ERROR")
    forward = mne.make_forward_solution(
        info, trans=None, src=space, bem=sphere, meg=False, mindist=0.0, verbose="ERROR"
    )
    gain: Array = forward["sol"]["data"]
    if gain.shape[1] != 3 * len(where):
        raise AssertionError(f"the sphere must hold all {len(where)} dipoles, but {gain.shape[1] // 3} came back")
    return gain


def _near(place: Array, eyes: Array) -> Array:
    """Potential of the eyes' fields, falling with the square of the distance."""
    field: Array = np.sum([1.0 / np.sum((place - eye) ** 2, axis=1) for eye in eyes], axis=0)
    return field


def make_eeg(
    channels: tuple[str, ...],
    span_s: tuple[float, float],
    rhythms: Rhythms,
    events: Events,
    stream: Stream,
    *,
    task_effect: float,
) -> CleanEeg:
    """EEG at 250 Hz on the scanner clock.

    Parameters
    ----------
    channels
        Names of the 10-20 system.
    span_s
        First and last moment that must be covered, scanner clock.
    rhythms, events
        What the brain does.
    stream
        Random generators by name.
    task_effect
        Factor of the response to flicker and of the suppression of the motor rhythm by tapping.
    """
    start = float(np.floor(span_s[0])) - 1.0
    count = 50 * int(np.ceil((span_s[1] + 1.0 - start) * CLEAN_HZ / 50))
    time = start + np.arange(count) / CLEAN_HZ
    maps = topographies(channels)
    background = _background(maps.mixing, count, stream("eeg background"))
    eeg = background.copy()

    def add(name: str, course: Array, snr: float, band: tuple[float, float], scale_to: Array) -> None:
        """Add a source whose ``scale_to`` has the wanted ratio to the background in the band at its best channel."""
        best = int(np.argmax(np.abs(maps.source[name])))
        gain = snr * _band_rms(background[best], *band) / np.sqrt(np.mean(scale_to**2))
        eeg[...] += np.outer(maps.source[name] * gain, course).astype(np.float32)

    for name, hz, snr, band in (
        ("alpha", ALPHA_HZ, EFFECTS.alpha_snr, (8.0, 12.0)),
        ("theta", THETA_HZ, THETA_SNR, (4.0, 8.0)),
        ("beta", BETA_HZ, BETA_SNR, (13.0, 30.0)),
    ):
        wave = np.interp(time, rhythms.time, getattr(rhythms, name)) * _carrier(count, hz, stream(f"{name} carrier"))
        add(name, wave, snr, band, wave)
    motor = _carrier(count, MOTOR_HZ, stream("motor carrier"))
    kept = np.clip(1 - MOTOR_SUPPRESSION * task_effect * boxcar(events, "tapping", time), 0, None)
    add("motor", kept * motor, MOTOR_SNR, (13.0, 30.0), motor)
    flicker = np.sin(2 * np.pi * FLICKER_HZ * time)
    add("flicker", task_effect * boxcar(events, "flicker", time) * flicker, EFFECTS.flicker_snr, (13.0, 30.0), flicker)
    eeg += np.outer(maps.source["blink"], _blinks(time, stream("blinks"))).astype(np.float32)
    rng = stream("line")
    mains = LINE_UV * 1e-6 * np.sqrt(2) * np.sin(2 * np.pi * LINE_HZ * time)
    eeg += np.outer(rng.uniform(0.4, 1.6, len(channels)), mains).astype(np.float32)
    return CleanEeg(eeg, start)


def _background(mixing: Array, count: int, rng: np.random.Generator) -> Signal:
    """1/f noise (flat below 0.5 Hz, fading out between 60 and 115 Hz), mixed like many dipoles of the cortex."""
    frequency = np.fft.rfftfreq(count, 1 / CLEAN_HZ)
    shape = np.maximum(frequency, 0.5) ** -0.7  # amplitude: power falls as 1/f^1.4
    shape *= np.interp(frequency, [0.03, 0.06, 60.0, 115.0], [0.0, 1.0, 1.0, 0.0])
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal((len(mixing), count))) * shape, count)
    noise *= EFFECTS.background_uv * 1e-6 / np.mean([_band_rms(row, 1.0, 45.0) for row in noise])
    return (mixing @ noise).astype(np.float32)


def _band_rms(values: NDArray[np.floating], low_hz: float, high_hz: float) -> float:
    """Rms of what lies between two frequencies."""
    frequency = np.fft.rfftfreq(values.size, 1 / CLEAN_HZ)
    power = np.abs(np.fft.rfft(values)[(frequency >= low_hz) & (frequency <= high_hz)]) ** 2
    return float(np.sqrt(2 * power.sum()) / values.size)


def _carrier(count: int, hz: float, rng: np.random.Generator) -> Array:
    """Unit-rms oscillation whose frequency wanders by about 5 %."""
    steps = rng.standard_normal(count // 50 + 2)
    wander = np.interp(np.arange(count), np.arange(steps.size) * 50.0, steps)
    wave: Array = np.sqrt(2) * np.sin(2 * np.pi * np.cumsum(hz * (1 + 0.05 * wander)) / CLEAN_HZ)
    return wave


def _blinks(time: Array, rng: np.random.Generator) -> Array:
    """About 12 blinks a minute, 0.3 s each, V at the channel nearest to the eyes."""
    train = np.zeros(time.size)
    count = rng.poisson(12 * (time[-1] - time[0]) / 60)
    train[rng.integers(0, time.size, count)] = rng.uniform(0.7, 1.3, count)
    shape = np.hanning(round(0.32 * CLEAN_HZ)) ** 2
    return np.convolve(BLINK_UV * 1e-6 * train, shape, "same")


def pulse_artifact(channels: tuple[str, ...], body: Body, time: Array, stream: Stream) -> Signal:
    """Ballistocardiogram: three patterns, each with its own waveform 150-400 ms after R, no two beats the same, V."""
    rng = stream("pulse artifact")
    place = topographies(channels).position
    side = place / np.linalg.norm(place, axis=1, keepdims=True)  # rotation of the head: opposite on the two sides
    patterns = np.stack([side[:, 0], 0.6 * side[:, 1] + 0.3, 0.5 * rng.standard_normal(len(channels))])
    shapes = (
        ((0.21, 0.04, 1.0), (0.30, 0.05, -0.7)),
        ((0.25, 0.05, 0.8), (0.39, 0.06, -0.6)),
        ((0.17, 0.03, 0.5), (0.45, 0.06, 0.4)),
    )
    artifact = np.zeros((len(channels), time.size), dtype=np.float32)
    mean = np.zeros((len(channels), round(0.8 * CLEAN_HZ)))
    delay = np.arange(mean.shape[1]) / CLEAN_HZ
    for pattern, bumps in zip(patterns, shapes, strict=True):
        late = 0.012 * rng.standard_normal(body.r_peaks.size)
        strength = (
            1 + 0.25 * rng.standard_normal(body.r_peaks.size) + 0.15 * np.interp(body.r_peaks, body.time, body.breath)
        )
        course = sum(_bumps(time, body.r_peaks + at + late, strength * height, width) for at, width, height in bumps)
        artifact += np.outer(pattern, course).astype(np.float32)
        mean += np.outer(pattern, sum(h * np.exp(-0.5 * ((delay - at) / w) ** 2) for at, w, h in bumps))
    artifact *= np.float32(EFFECTS.pulse_uv * 1e-6 / np.median(np.ptp(mean, axis=1)))
    return artifact


def electrocardiogram(body: Body, time: Array) -> Signal:
    """P, QRS and a T wave that the magnet has made as high as R; V."""
    waves = ((-0.16, 0.025, 0.12), (-0.028, 0.009, -0.12), (0.0, 0.011, 1.0), (0.03, 0.012, -0.25), (0.26, 0.05, 1.0))
    beats = sum(
        _bumps(time, body.r_peaks + at, np.full(body.r_peaks.size, height), width) for at, width, height in waves
    )
    return (1e-3 * beats + 5e-5 * np.interp(time, body.time, body.breath)).astype(np.float32)


def _bumps(time: Array, centres: Array, heights: Array, width_s: float) -> Array:
    """Sum of Gaussian bumps on a regular time grid."""
    reach = int(np.ceil(5 * width_s * CLEAN_HZ))
    middle = np.round((centres - time[0]) * CLEAN_HZ).astype(np.int64)
    index = middle[:, None] + np.arange(-reach, reach + 1)
    inside = (index >= 0) & (index < time.size)
    offset = time[0] + index / CLEAN_HZ - centres[:, None]
    values = heights[:, None] * np.exp(-0.5 * (offset / width_s) ** 2)
    return np.bincount(index[inside], values[inside], time.size).astype(np.float64)
