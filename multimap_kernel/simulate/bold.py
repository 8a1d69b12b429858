"""Volumes: regional responses, physiology, drift and noise in a head that moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal
from scipy.special import gammaln

from multimap_kernel.simulate import head
from multimap_kernel.simulate.head import Region
from multimap_kernel.simulate.latents import GRID_HZ, Array, Body, Events, Rhythms, Stream, boxcar, time_grid, zscore
from multimap_kernel.simulate.sizes import EFFECTS, Size

Volume = NDArray[np.float32]

BASE = 1000.0  # grey matter, arbitrary units
CARDIAC_PERCENT, BREATH_PERCENT, AROUSAL_PERCENT, DRIFT_PERCENT = 0.35, 0.3, 0.06, 0.9
EDGE_LOSS = 1.08  # grey matter over the median voxel of the brain, which is darkened by white matter and the rim
SMOOTH_SHARE, SMOOTH_MM = 0.1, 8.0  # share of the noise variance that neighbours have in common, and how far


@dataclass(frozen=True)
class Scan:
    """What was scanned: (volume, z, y, x) float32, its geometry and the responses (region, volume), %."""

    volumes: Volume
    affine: Array
    slice_time: Array
    response: Array
    labels: NDArray[np.uint8]
    centre: Array


def slice_times(size: Size) -> Array:
    """Start of each slice within a volume, s: every second slice first, then the others; no pause at the end."""
    count = size.grid[2]
    order = np.r_[np.arange(0, count, 2), np.arange(1, count, 2)]
    times = np.empty(count)
    times[order] = np.arange(count) * size.repetition_time / count
    return times


def haemodynamic_response(peak_s: float) -> Array:
    """Double gamma of unit area on the 10 Hz grid; peaks at ``peak_s``, undershoots 10 s later by about a sixth."""
    time = np.arange(round(32 * GRID_HZ)) / GRID_HZ

    def bump(at: float) -> Array:
        shape = at + 1.0  # with unit scale a gamma density peaks at shape - 1
        density: Array = np.exp((shape - 1) * np.log(np.maximum(time, 1e-9)) - time - gammaln(shape))
        return density

    response = bump(peak_s) - bump(peak_s + 10.0) / 6.0
    area: Array = response / response.sum()
    return area


def regional_response(
    region: Region, events: Events, rhythms: Rhythms, size: Size, *, coupling: float, task_effect: float
) -> Array:
    """BOLD response of a region on the 10 Hz grid, %; 0 where its driver is switched off."""
    time = time_grid(size)
    response = haemodynamic_response(region.hrf_peak_s)
    if region.driver in {"flicker", "tapping"}:
        drive = task_effect * boxcar(events, region.driver, time)
        return region.percent * np.convolve(drive, response)[: time.size]
    convolved = np.convolve(rhythms.alpha if region.driver == "alpha" else rhythms.interaction, response)[: time.size]
    seen = np.interp(np.arange(size.volumes) * size.repetition_time, time, convolved)
    scaled: Array = (convolved - seen.mean()) / seen.std()
    return coupling * region.percent * scaled


def scan(
    size: Size,
    body: Body,
    to_mni: Array,
    responses: Array,
    regions: tuple[Region, ...],
    stream: Stream,
    *,
    unsteady: bool,
) -> Scan:
    """Sample every slice of every volume at its own time, from the head where it then is.

    Parameters
    ----------
    size
        Dimensions.
    body
        Whose heart beats and whose head moves.
    to_mni
        Scanner world to MNI.
    responses
        (region, time) on the 10 Hz grid, %.
    regions
        Where the responses are.
    stream
        Random generators by name.
    unsteady
        The first three volumes are too bright, decaying with the longitudinal magnetisation.
    """
    affine = head.epi_affine(size, to_mni, stream)
    centre = head.transform(affine, head.grid_middle(size))
    points = np.ascontiguousarray(head.grid_points(size.grid, affine).transpose(2, 1, 0, 3))  # (z, y, x, 3)
    volume_start = np.arange(size.volumes) * size.repetition_time
    at = volume_start[:, None] + slice_times(size)
    courses = np.stack([np.interp(at, time_grid(size), response) for response in responses]).astype(np.float32)
    template = head.load_head(size.source_mm)
    blurred = head.blurred_signal(size.source_mm, size.voxel_mm)
    in_mni = head.transform(to_mni, points)
    still = BASE * head.sample(blurred, template.affine, in_mni)
    driven = [number for number, response in enumerate(responses) if response.any()]
    near = {n: np.linalg.norm(in_mni - regions[n].centre_mm, axis=-1) < regions[n].radius_mm + 12 for n in driven}
    volumes = np.empty((size.volumes, *still.shape), dtype=np.float32)
    for volume, moved in enumerate(head.motion_matrices(body.motion, centre)):
        where = head.transform(to_mni @ np.linalg.inv(moved), points)
        change = np.zeros(still.shape, dtype=np.float32)
        for number, voxels in near.items():
            course = courses[number, volume, np.nonzero(voxels)[0]]
            change[voxels] += regions[number].weight(where[voxels]) * course
        volumes[volume] = BASE * head.sample(blurred, template.affine, where) * (1 + change / 100)
    _add_physiology(volumes, still, head.sample(template.liquor, template.affine, in_mni), body, at)
    if unsteady:
        volumes[:3] *= (1 + 0.3 * np.exp(-np.arange(3)))[:, None, None, None].astype(np.float32)
    noisy = _add_noise(volumes, still, size, stream)
    labels = head.region_labels(in_mni, head.sample(template.brain, template.affine, in_mni), regions)
    sampled = np.stack([np.interp(volume_start, time_grid(size), response) for response in responses])
    return Scan(noisy, affine, slice_times(size), sampled, labels, centre)


def _add_physiology(volumes: Volume, still: Volume, liquor: Volume, body: Body, at: Array) -> None:
    """Pulsation (two harmonics, most in liquor and around it), breath and arousal, in %, at slice times."""
    beat = np.interp(at, body.r_peaks, np.arange(body.r_peaks.size))
    cardiac = np.cos(2 * np.pi * beat + 0.7) + 0.5 * np.cos(4 * np.pi * beat)
    breath = np.interp(at, body.time, body.breath)
    arousal = np.interp(at, body.time, body.arousal)
    spread = 0.6 + 2.0 * ndimage.gaussian_filter(liquor, 1.0)
    everywhere = (BREATH_PERCENT * np.sqrt(2) * breath - AROUSAL_PERCENT * arousal) / 100
    pulsation = CARDIAC_PERCENT * np.sqrt(1.6) * cardiac / 100
    for volume in range(len(volumes)):
        change = everywhere[volume, :, None, None] + spread * pulsation[volume, :, None, None]
        volumes[volume] += still * change.astype(np.float32)


def _add_noise(volumes: Volume, still: Volume, size: Size, stream: Stream) -> Volume:
    """Drift, AR(1) noise (one part shared by neighbours) and the Rician floor of a magnitude image."""
    rng = stream("bold noise")
    count = len(volumes)
    total = (
        (100 / EFFECTS.tsnr / EDGE_LOSS) ** 2
        - DRIFT_PERCENT**2
        - BREATH_PERCENT**2
        - (1.2 * CARDIAC_PERCENT) ** 2
        - AROUSAL_PERCENT**2
    )
    sigma = np.float32(BASE * np.sqrt(total) / 100)
    noise = rng.standard_normal(volumes.shape, dtype=np.float32)
    shared = rng.standard_normal(volumes.shape, dtype=np.float32)
    blur = SMOOTH_MM / 2.355 / np.array(size.voxel_mm[::-1])
    shared = ndimage.gaussian_filter(shared, (0, *blur), mode="wrap", truncate=3.0)
    noise = np.sqrt(1 - SMOOTH_SHARE) * noise + np.float32(np.sqrt(SMOOTH_SHARE) / shared.std()) * shared
    rho = EFFECTS.autocorrelation
    noise[1:] *= np.float32(np.sqrt(1 - rho**2))
    noise = signal.lfilter([1.0], np.array([1.0, -rho], dtype=np.float32), noise, axis=0)
    time = np.linspace(-1, 1, count)
    drift = (
        rng.choice([-1.0, 1.0])
        * zscore(time + 0.4 * np.cos(np.pi * (time + rng.uniform(-1, 1))))
        * (DRIFT_PERCENT / 100)
    )
    amplitude = ndimage.gaussian_filter(rng.standard_normal(still.shape), 3.0, mode="wrap")
    amplitude = 1.0 + 0.3 * amplitude / amplitude.std()
    volumes += sigma * noise + still * amplitude.astype(np.float32) * drift[:, None, None, None].astype(np.float32)
    floor = rng.standard_normal(volumes.shape, dtype=np.float32) * sigma
    magnitude: Volume = np.hypot(volumes, floor)
    return magnitude
