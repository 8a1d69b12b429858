"""What scanner and amplifier do to the EEG: gradient artifact, movement, sampling, amplifier noise, integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from multimap_kernel.simulate.clocks import Clocks
from multimap_kernel.simulate.eeg import CLEAN_HZ, Signal
from multimap_kernel.simulate.latents import Array, Body
from multimap_kernel.simulate.sizes import EFFECTS, HARDWARE_LOWPASS_HZ, RESOLUTION_V, Size

WAVE_HZ = 100_000.0
AMPLIFIER_NOISE = 6e-8  # V per root Hz: 1 microvolt rms below the hardware's low-pass
TAIL_S = 0.02  # the hardware filter rings on after the last gradient of a volume
POSE_GAIN = np.array([0.02, 0.02, 0.02, 1.0, 1.0, 1.0])  # relative change per mm and per rad
ECHOES = 64


def gradient_waveform(size: Size, rng: np.random.Generator) -> Array:
    """What a wire loop picks up during one volume, by axis (readout, phase, slice), through the hardware filter.

    Each slice: fat saturation with crusher, slice selection and rephasing, a train of readout trapezoids with phase
    blips, spoiler. The loop sees the time derivative.

    Returns
    -------
    (3, time) at 100 kHz, arbitrary units; a repetition time and the ringing after it.
    """
    slices = size.grid[2]
    time = np.arange(round(size.repetition_time / slices * WAVE_HZ)) / WAVE_HZ
    spacing = min(0.0006, (time[-1] - 0.025) / ECHOES)

    def lobe(start: float, length: float, ramp: float, height: float) -> Array:
        return np.interp(time, [start, start + ramp, start + length - ramp, start + length], [0, height, height, 0])

    readout = sum(lobe(0.016 + k * spacing, spacing, 0.2 * spacing, 1.0 - 2.0 * (k % 2)) for k in range(ECHOES))
    phase = sum(lobe(0.016 + k * spacing, 0.2 * spacing, 0.08 * spacing, 0.5) for k in range(ECHOES))
    phase = phase + lobe(0.0126, 0.002, 0.0003, -0.9) + lobe(0.0011, 0.004, 0.0004, 0.7)
    select = lobe(0.0062, 0.0032, 0.0003, 0.7) + lobe(0.0098, 0.0016, 0.0003, -0.7)
    select = select + lobe(0.001, 0.0042, 0.0004, 1.0) + lobe(0.018 + ECHOES * spacing, 0.004, 0.0005, 0.9)
    one = np.stack([np.gradient(axis, 1 / WAVE_HZ) for axis in (readout, phase, select)])
    strength = 1 + 0.01 * rng.standard_normal(slices)  # slice positions differ a little
    train = (strength[:, None, None] * one).transpose(1, 0, 2).reshape(3, -1)
    train = np.concatenate([train, np.zeros((3, round(TAIL_S * WAVE_HZ)))], axis=1)
    lowpass = signal.butter(4, HARDWARE_LOWPASS_HZ, fs=WAVE_HZ, output="sos")
    filtered: Array = signal.sosfilt(lowpass, train, axis=1)
    filtered /= np.abs(filtered).max(axis=1, keepdims=True)
    return filtered


def gradient_courses(size: Size, clocks: Clocks, sample_time: Array, rng: np.random.Generator) -> Signal:
    """Gradient waveform by axis at the exact time of every EEG sample, (3, time); volumes ring into the next one."""
    wave = gradient_waveform(size, rng)
    starts = clocks.volume_time
    courses = np.zeros((3, sample_time.size), dtype=np.float32)
    volume = np.searchsorted(starts, sample_time, side="right") - 1
    whole = wave.shape[1] / WAVE_HZ
    for back in (0, 1):  # the volume that runs, and what is left of the one before it
        which = volume - back
        delay = sample_time - starts[np.clip(which, 0, None)]
        here = np.nonzero((which >= 0) & (delay < whole - 1 / WAVE_HZ))[0]
        place = delay[here] * WAVE_HZ
        low = place.astype(np.int64)
        part = (place - low).astype(np.float32)
        for axis in range(3):
            samples = wave[axis].astype(np.float32)
            courses[axis, here] += samples[low] * (1 - part) + samples[low + 1] * part
    return courses


def loop_gains(position: Array, rng: np.random.Generator) -> Array:
    """How strongly each channel couples to the three gradients: its place in the field and the run of its wire."""
    unit = position / np.linalg.norm(position, axis=1, keepdims=True)
    field = np.stack([unit[:, 0], unit[:, 1], unit[:, 2]], axis=1)
    sign = np.where(unit[:, :1] >= 0, 1.0, -1.0)
    gains: Array = field * np.array([0.8, 0.5, 0.6]) + sign * 0.4 + 0.2 * rng.standard_normal(field.shape)
    return gains


def pose_courses(size: Size, body: Body, sample_time: Array) -> Signal:
    """Head pose (6, time) at the EEG samples, scaled to relative changes of the artifact."""
    middle = (np.arange(size.volumes) + 0.5) * size.repetition_time
    pose = [np.interp(sample_time, middle, column) for column in (body.motion * POSE_GAIN).T]
    return np.stack(pose).astype(np.float32)


def movement_artifact(size: Size, body: Body, time: Array, position: Array, rng: np.random.Generator) -> Signal:
    """Voltage of a loop that moves in the static field, (channel, time) V at 250 Hz: follows the head's speed."""
    kernel = np.hanning(round(0.6 * CLEAN_HZ))
    volume = np.clip((time / size.repetition_time).astype(np.int64), 0, size.volumes - 1)
    pose = body.motion[volume] * np.array([1.0, 1.0, 1.0, 80.0, 80.0, 80.0])  # a radian at 80 mm
    speed = np.stack([np.convolve(np.diff(column, prepend=column[0]), kernel, "same") for column in pose.T])
    pattern = position / np.linalg.norm(position, axis=1, keepdims=True) @ rng.standard_normal((3, 6))
    voltage: Signal = (40e-6 * pattern @ speed).astype(np.float32)
    return voltage


def record(
    slow: Signal,
    slow_start_s: float,
    clocks: Clocks,
    artifact: tuple[Array, Signal, Array, Signal] | None,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Sample everything on the EEG clock and write 16-bit integers, (time, channel).

    Parameters
    ----------
    slow
        (channel, time) V at 250 Hz on the scanner clock: EEG and everything slow.
    slow_start_s
        Scanner time of its first sample.
    clocks
        Times of the EEG samples.
    artifact
        Gains (channel, 3) and courses (3, time) of the gradients, gains (channel, 6) and courses (6, time) of the
        pose; None without scanner.
    rng
        Generator of the amplifier's noise.
    """
    factor = 20 if artifact else 8  # linear interpolation between these samples errs by less than 0.2 % at 40 Hz
    sample_time = clocks.sample_times()
    place = (sample_time - slow_start_s) * CLEAN_HZ * factor
    low = place.astype(np.int64)
    part = (place - low).astype(np.float32)
    counts = np.empty((clocks.samples, len(slow)), dtype=np.int16)
    fast_count = slow.shape[1] * factor
    scale = np.float32(1 / RESOLUTION_V)
    for channel, values in enumerate(slow):
        spectrum = np.zeros(fast_count // 2 + 1, dtype=np.complex64)
        half = fft.rfft(values)
        spectrum[: half.size - 1] = half[:-1] * factor
        fast = fft.irfft(spectrum, fast_count)
        written = fast[low] * (1 - part) + fast[low + 1] * part
        written += _amplifier_noise(clocks, rng)
        if artifact:
            gains, courses, pose_gains, poses = artifact
            pickup = gains[channel].astype(np.float32) @ courses
            written += pickup * (1 + pose_gains[channel].astype(np.float32) @ poses)
        counts[:, channel] = np.clip(np.rint(written * scale), -32767, 32767)
    return counts


def _amplifier_noise(clocks: Clocks, rng: np.random.Generator) -> Signal:
    """White noise behind the hardware's low-pass, V."""
    white = rng.standard_normal(clocks.samples, dtype=np.float32)
    white *= np.float32(AMPLIFIER_NOISE * np.sqrt(clocks.sampling_hz / 2))
    if clocks.sampling_hz <= 2 * HARDWARE_LOWPASS_HZ:
        return white
    numerator, denominator = signal.butter(2, HARDWARE_LOWPASS_HZ, fs=clocks.sampling_hz)
    filtered: Signal = signal.lfilter(numerator.astype(np.float32), denominator.astype(np.float32), white)
    return filtered


def scaled_gains(gains: Array, courses: Signal, eeg_channels: int) -> Array:
    """Gains (channel, 3) such that the median scalp channel sees the artifact's nominal peak-to-peak voltage."""
    inside = courses[:, courses.shape[1] // 3 : courses.shape[1] // 3 + 20_000]  # 4 s: two volumes
    height = np.ptp(gains[:eeg_channels] @ inside, axis=1)
    scaled: Array = gains * (EFFECTS.gradient_mv * 1e-3 / np.median(height))
    return scaled
