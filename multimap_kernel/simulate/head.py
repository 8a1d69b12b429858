"""The head that is scanned: template anatomy, named regions, and where a subject's scanner world lies in MNI space.

Everything is kept in MNI152NLin2009aSym millimetres; a subject differs from the template by one affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from scipy import ndimage

from multimap_kernel.simulate.latents import Stream
from multimap_kernel.simulate.sizes import EFFECTS, Size

Array = NDArray[np.float64]
Volume = NDArray[np.float32]

BRAIN_CENTRE = np.array([0.0, -17.0, 9.0])
EDGE_MM = 1.0  # how softly a region ends
POINT_SPREAD = 0.42  # standard deviation of the blur of one voxel, in voxel edges: full width at half maximum = an edge


@dataclass(frozen=True)
class Region:
    """A ball of brain that answers to one driver.

    Parameters
    ----------
    name
        Name in the truth.
    centre_mm, radius_mm
        In MNI152NLin2009aSym, mm.
    driver
        ``"flicker"``, ``"tapping"``, ``"alpha"`` or ``"interaction"``.
    percent
        Effect size, % BOLD, as `Effects` defines it for the driver.
    hrf_peak_s
        When the response to a brief event peaks, s.
    """

    name: str
    centre_mm: tuple[float, float, float]
    radius_mm: float
    driver: str
    percent: float
    hrf_peak_s: float

    def weight(self, points: Array) -> Array:
        """How much of the region is at MNI points (..., 3), 0 to 1; 0.5 at the radius."""
        distance = np.linalg.norm(points - np.array(self.centre_mm), axis=-1)
        logistic: Array = 1.0 / (1.0 + np.exp(np.clip((distance - self.radius_mm) / EDGE_MM, -40, 40)))
        return logistic


REGIONS = (
    Region("calcarine", (0, -86, 2), 15, "flicker", EFFECTS.task_percent, 5.5),
    Region("motor_left", (-38, -22, 52), 15, "tapping", EFFECTS.task_percent, 5.0),
    Region("occipital_left", (-34, -80, 12), 15, "alpha", EFFECTS.alpha_occipital_percent, 5.5),
    Region("occipital_right", (34, -80, 12), 15, "alpha", EFFECTS.alpha_occipital_percent, 5.5),
    Region("parietal_left", (-32, -56, 46), 15, "alpha", EFFECTS.alpha_parietal_percent, 6.0),
    Region("parietal_right", (32, -56, 46), 15, "alpha", EFFECTS.alpha_parietal_percent, 6.0),
    Region("thalamus", (0, -18, 8), 14, "alpha", EFFECTS.alpha_thalamus_percent, 4.0),
    Region("prefrontal", (0, 52, 6), 15, "interaction", EFFECTS.interaction_percent, 5.5),
    Region("insula_right", (40, 8, 0), 14, "interaction", EFFECTS.interaction_percent, 5.0),
)


@dataclass(frozen=True)
class Template:
    """Maps on one MNI grid: T1 contrast with scalp, T2*-like EPI signal (grey matter about 1), liquor, brain."""

    affine: Array
    t1: Volume
    epi: Volume
    liquor: Volume
    brain: Volume


@lru_cache(maxsize=4)
def load_head(resolution_mm: int) -> Template:
    """The template at 1 or 2 mm with a scalp around it; nilearn bundles the files, nothing is downloaded."""
    image = load_mni152_template(resolution=resolution_mm)
    t1 = np.clip(np.asarray(image.dataobj, dtype=np.float32), 0, 1)
    brain = np.asarray(load_mni152_brain_mask(resolution=resolution_mm).dataobj, dtype=np.float32)
    t1 *= brain
    affine = np.asarray(image.affine, dtype=np.float64)
    halo = ndimage.gaussian_filter(_every(brain, 2 // resolution_mm), 3.0, truncate=3.0)
    halo = _refine(halo, brain.shape)
    scalp = np.exp(-0.5 * ((halo - 0.06) / 0.025) ** 2) * (1 - brain)
    liquor = np.clip((0.48 - t1) / 0.2, 0, 1) * brain
    epi = brain * (1.45 - 0.75 * t1) * _dropout(affine, t1.shape)  # liquor 1.2, grey 1.0, white 0.8
    return Template(affine, t1 + 0.9 * scalp, epi + 0.12 * scalp, liquor, brain)


def _every(volume: Volume, step: int) -> Volume:
    return volume[::step, ::step, ::step]


def _refine(coarse: Volume, shape: tuple[int, ...]) -> Volume:
    """Linear interpolation of a 2 mm map on the grid of ``shape``, which starts in the same corner."""
    if coarse.shape == shape:
        return coarse
    fine: Volume = ndimage.affine_transform(coarse, [0.5, 0.5, 0.5], output_shape=shape, order=1, mode="nearest")
    return fine


def _dropout(affine: Array, shape: tuple[int, ...]) -> Volume:
    """Signal left over by susceptibility above the frontal sinus and the ear canals, 0 to 1."""
    left: Volume = np.ones(shape, dtype=np.float32)
    for centre, depth in (((0, 34, -22), 0.6), ((46, -28, -34), 0.5), ((-46, -28, -34), 0.5)):
        axes = [affine[i, i] * np.arange(shape[i]) + affine[i, 3] - centre[i] for i in range(3)]
        x, y, z = (np.exp(-0.5 * (axis / 11.0) ** 2).astype(np.float32) for axis in axes)
        left *= 1 - np.float32(depth) * x[:, None, None] * y[None, :, None] * z[None, None, :]
    return left


@lru_cache(maxsize=4)
def blurred_signal(resolution_mm: int, voxel_mm: tuple[float, float, float]) -> Volume:
    """EPI signal of the head as voxels of this size see it, on the template grid."""
    sigma = [POINT_SPREAD * edge / resolution_mm for edge in voxel_mm]
    blurred: Volume = ndimage.gaussian_filter(load_head(resolution_mm).epi, sigma, truncate=3.0)
    return blurred


def rotation(x: float, y: float, z: float) -> Array:
    """Rz @ Ry @ Rx, angles in rad."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Array = about_z @ about_y @ about_x
    return turned


def motion_matrices(motion: Array, centre: Array) -> Array:
    """(volume, 4, 4): where a point of the head in volume 0 (world, mm) is in each volume."""
    matrices = np.tile(np.eye(4), (len(motion), 1, 1))
    for matrix, (tx, ty, tz, rx, ry, rz) in zip(matrices, motion, strict=True):
        matrix[:3, :3] = rotation(rx, ry, rz)
        matrix[:3, 3] = centre + np.array([tx, ty, tz]) - matrix[:3, :3] @ centre
    return matrices


def draw_subject(stream: Stream) -> Array:
    """Affine from the subject's scanner world to MNI: size within 4 %, a few degrees, a few millimetres."""
    rng = stream("anatomy")
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*rng.uniform(-0.06, 0.06, 3)) @ np.diag(rng.uniform(0.96, 1.04, 3))
    matrix[:3, 3] = BRAIN_CENTRE - matrix[:3, :3] @ (BRAIN_CENTRE + rng.uniform(-5, 5, 3))
    return matrix


def epi_affine(size: Size, to_mni: Array, stream: Stream) -> Array:
    """Oblique grid (tilted like a prescription along AC-PC) whose middle lies in the middle of the brain."""
    rng = stream("prescription")
    affine = np.eye(4)
    affine[:3, :3] = rotation(0.14 + rng.uniform(-0.03, 0.03), *rng.uniform(-0.03, 0.03, 2)) @ np.diag(size.voxel_mm)
    centre = np.linalg.solve(to_mni, np.r_[BRAIN_CENTRE, 1])[:3] + rng.uniform(-2, 2, 3)
    affine[:3, 3] = centre - affine[:3, :3] @ grid_middle(size)
    return affine


def grid_middle(size: Size) -> Array:
    """Index of the middle of the grid."""
    return (np.array(size.grid) - 1) / 2.0


def sample(volume: Volume, affine: Array, points: Array) -> Volume:
    """Trilinear values of a template map at MNI points (..., 3); 0 outside."""
    index = np.moveaxis((points - affine[:3, 3]) / np.diag(affine)[:3], -1, 0)
    values: Volume = ndimage.map_coordinates(volume, index, order=1, output=np.float32, mode="constant", cval=0.0)
    return values


def transform(matrix: Array, points: Array) -> Array:
    """Points (..., 3) through a 4x4."""
    moved: Array = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def grid_points(shape: tuple[int, int, int], affine: Array) -> Array:
    """World position of every voxel, (x, y, z, 3) mm."""
    index = np.stack(np.meshgrid(*(np.arange(count) for count in shape), indexing="ij"), axis=-1)
    return transform(affine, index.astype(np.float64))


def region_labels(points: Array, brain: Volume, regions: tuple[Region, ...]) -> NDArray[np.uint8]:
    """1, 2, ... where a region's weight is above one half inside the brain; 0 elsewhere."""
    labels = np.zeros(points.shape[:-1], dtype=np.uint8)
    for number, region in enumerate(regions, start=1):
        labels[(region.weight(points) > 0.5) & (brain > 0.5)] = number
    return labels


def subject_anatomy(size: Size, to_mni: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """T1w image of the subject (arbitrary units) and its affine."""
    edge = size.anatomy_mm
    shape = (192 // edge, 232 // edge, 200 // edge)
    centre = np.linalg.solve(to_mni, np.r_[BRAIN_CENTRE, 1])[:3]
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = np.round(centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2.0))
    head = load_head(size.source_mm)
    values = 800 * sample(head.t1, head.affine, transform(to_mni, grid_points(shape, affine)))
    noise = rng.standard_normal((2, *shape), dtype=np.float32) * 12
    return np.hypot(values + noise[0], noise[1]), affine
