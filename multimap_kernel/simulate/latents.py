"""The hidden course of a session: events, rhythms, arousal, heart, breath and head motion.

All of it lives on the scanner clock (s; 0 = start of the first volume), on one grid of 10 Hz that starts well before
the EEG, so that responses are settled when the first volume comes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimap_kernel.simulate.sizes import Size

Array = NDArray[np.float64]
Stream = Callable[[str], np.random.Generator]

GRID_HZ = 10.0
LEAD_S, TAIL_S = 40.0, 20.0  # an HRF lasts 32 s
CONDITIONS = ("flicker", "tapping")
BREATH_HZ, HEART_S = 0.27, 0.85


def streams(seed: int, label: str) -> Stream:
    """Independent random generators by name: changing one effect leaves the noise of all others as it was."""

    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng(
            np.random.SeedSequence([seed, zlib.crc32(label.encode()), zlib.crc32(name.encode())])
        )

    return stream


@dataclass(frozen=True)
class Body:
    """What the body does besides thinking: ``time`` grid, arousal (z), R peaks (s), breath (z), motion (volume, 6)."""

    time: Array
    arousal: Array
    r_peaks: Array
    breath: Array
    motion: Array


@dataclass(frozen=True)
class Rhythms:
    """Envelopes on the 10 Hz grid (alpha and theta, beta with mean square 1) and the product of z-scored logs."""

    time: Array
    alpha: Array
    theta: Array
    beta: Array
    interaction: Array


@dataclass(frozen=True)
class Events:
    """Onsets and durations (s) and condition of each event, in order of onset."""

    onset: Array
    duration: Array
    condition: tuple[str, ...]


def time_grid(size: Size) -> Array:
    """The 10 Hz grid of the latents, s."""
    return np.arange(round((LEAD_S + size.volumes * size.repetition_time + TAIL_S) * GRID_HZ)) / GRID_HZ - LEAD_S


def slow_noise(count: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Array:
    """Gaussian noise between two frequencies on the 10 Hz grid, z-scored."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / GRID_HZ)
    noise = np.fft.irfft(spectrum * ((frequency >= low_hz) & (frequency <= high_hz)), count)
    return zscore(noise)


def zscore(values: Array) -> Array:
    """Zero mean, unit standard deviation."""
    scaled: Array = (values - values.mean()) / values.std()
    return scaled


def draw_events(size: Size, stream: Stream) -> Events:
    """Blocks of 11 to 15 s with gaps of 4 to 8 s; the conditions come in shuffled pairs, the onsets in no period."""
    rng = stream("events")
    end = size.volumes * size.repetition_time - 10.0
    onset: list[float] = []
    duration: list[float] = []
    condition: list[str] = []
    clock = float(rng.uniform(4.0, 9.0))
    while clock < end:
        if len(condition) % 2 == 0:
            pair = [str(name) for name in rng.permutation(CONDITIONS)]
        onset.append(round(clock, 3))
        duration.append(round(float(rng.uniform(11.0, 15.0)), 3))
        condition.append(pair[len(condition) % 2])
        clock += duration[-1] + float(rng.uniform(4.0, 8.0))
    return Events(np.array(onset), np.array(duration), tuple(condition))


def boxcar(events: Events, condition: str, time: Array) -> Array:
    """1 while an event of the condition lasts, 0 elsewhere."""
    inside = np.zeros(time.size)
    for onset, duration, name in zip(events.onset, events.duration, events.condition, strict=True):
        if name == condition:
            inside[(time >= onset) & (time < onset + duration)] = 1.0
    return inside


def draw_rhythms(time: Array, arousal: Array, stream: Stream) -> Rhythms:
    """Alpha as bursts whose rate and size wax and wane (0.012-0.045 Hz); theta and beta with log-normal envelopes."""
    rng = stream("alpha")
    vigour = 1.0 / (1.0 + np.exp(-2.5 * slow_noise(time.size, 0.012, 0.045, rng)))
    bursts = (
        rng.poisson((12.0 + 60.0 * vigour) / 60.0 / GRID_HZ) * (0.25 + vigour) * rng.lognormal(0.0, 0.25, time.size)
    )
    shape = np.exp(-0.5 * (np.arange(-15, 16) / GRID_HZ / 0.35) ** 2)
    alpha = (0.08 + np.convolve(bursts, shape, "same")) * np.exp(-0.1 * arousal)
    theta = slow_noise(time.size, 0.005, 0.05, stream("theta"))
    beta = slow_noise(time.size, 0.005, 0.05, stream("beta"))
    theta, beta = _free_of_each_other(theta, beta)
    product = theta * beta
    alpha, theta, beta = (
        envelope / np.sqrt(np.mean(envelope**2)) for envelope in (alpha, np.exp(0.5 * theta), np.exp(0.5 * beta))
    )
    return Rhythms(time, alpha, theta, beta, product - product.mean())


def _free_of_each_other(first: Array, second: Array) -> tuple[Array, Array]:
    """Take out of each what the other and its square explain, so that their product correlates with neither."""
    for _ in range(30):
        first = zscore(_residual(first, second))
        second = zscore(_residual(second, first))
    return first, second


def _residual(values: Array, other: Array) -> Array:
    design = np.stack([np.ones(other.size), other, other**2], axis=1)
    residual: Array = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return residual


def draw_body(size: Size, stream: Stream, *, name: str, still: bool) -> Body:
    """One body: arousal drives heart rate, depth of breath and, through the breath, the head.

    Parameters
    ----------
    size
        Dimensions of the session.
    stream
        Random generators by name.
    name
        Another name is another person.
    still
        True keeps the head where it is.
    """
    time = time_grid(size)
    arousal = slow_noise(time.size, 0.003, 0.03, stream(f"{name} arousal"))
    rng = stream(f"{name} breath")
    phase = 2 * np.pi * np.cumsum(BREATH_HZ + 0.02 * slow_noise(time.size, 0.005, 0.08, rng)) / GRID_HZ
    breath = np.sin(phase) * np.exp(0.25 * arousal)
    peaks = _beats(time, arousal, phase, stream(f"{name} heart"))
    motion = np.zeros((size.volumes, 6))
    if not still:
        at = np.arange(size.volumes) * size.repetition_time
        motion = _head_motion(np.interp(at, time, breath), stream(f"{name} motion"))
    return Body(time, arousal, peaks, breath, motion)


def _beats(time: Array, arousal: Array, breath_phase: Array, rng: np.random.Generator) -> Array:
    """R peaks by integrating an instantaneous rate with respiratory, 0.1 Hz and arousal-driven variability."""
    mayer = slow_noise(time.size, 0.07, 0.13, rng)
    interval = HEART_S * (1 + 0.035 * np.sin(breath_phase) + 0.02 * mayer - 0.02 * arousal)
    beats = np.cumsum(1.0 / interval) / GRID_HZ
    whole = np.arange(1, int(beats[-1]))
    return np.interp(whole, beats, time) + 0.008 * rng.standard_normal(whole.size)


def _head_motion(breath: Array, rng: np.random.Generator) -> Array:
    """Slow walk, lasting shifts and breathing; relative to volume 0. Columns: x, y, z in mm, then rad."""
    count = breath.size
    unit = np.array([1.0, 1.0, 1.0, 0.012, 0.012, 0.012])  # 0.012 rad: 0.7 degree for every mm
    walk = np.cumsum(rng.standard_normal((count, 6)), axis=0) * 0.02
    for at in rng.integers(count // 6, count, size=max(2, count // 60)):
        walk[at:] += rng.standard_normal(6) * 0.15
    walk *= unit
    walk[:, 2] += 0.04 * breath
    walk[:, 3] += 0.0004 * breath
    relative: Array = walk - walk[0]
    return relative
