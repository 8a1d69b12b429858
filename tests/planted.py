"""Maps with blobs at known places of the world, for the tests of everything that draws."""

import numpy as np
import xarray as xr

from multimap_kernel.maps.inference import describe_null, family_wise_p
from multimap_kernel.schema import Alignment, affine_coordinate, regular_time

LEFT_MOTOR = (-40.0, -22.0, 54.0)
RIGHT_VISUAL = (24.0, -84.0, 4.0)


def oblique_affine() -> np.ndarray:
    """3 x 2.5 x 4 mm voxels, turned by 20 degrees about x and 10 about z, over the whole head."""
    a, b = np.deg2rad(20), np.deg2rad(10)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([3.0, 2.5, 4.0])
    affine[:3, 3] = np.array([0.0, -18.0, 18.0]) - affine[:3, :3] @ np.array([32.0, 44.0, 22.0])
    return affine


GRIDS = {  # name -> (affine, shape x y z), each over the same head
    "ras": (np.array([[3.0, 0, 0, -96], [0, 3, 0, -132], [0, 0, 3, -72], [0, 0, 0, 1]]), (65, 77, 61)),
    "las": (np.array([[-3.0, 0, 0, 96], [0, 3, 0, -132], [0, 0, 3, -72], [0, 0, 0, 1]]), (65, 77, 61)),
    "anisotropic": (np.array([[2.0, 0, 0, -96], [0, 3, 0, -132], [0, 0, 4.5, -72], [0, 0, 0, 1]]), (97, 77, 41)),
    "oblique": (oblique_affine(), (65, 89, 45)),
}


def world_grid(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """World position (z, y, x, 3) of all voxel centres."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return (index @ affine[:3, :3].T + affine[:3, 3]).transpose(2, 1, 0, 3)


def blob(world: np.ndarray, centre, *, height: float, width_mm: float = 6.0) -> np.ndarray:
    return height * np.exp(-((world - np.asarray(centre)) ** 2).sum(-1) / (2 * width_mm**2))


def head(world: np.ndarray) -> np.ndarray:
    """A grey ellipsoid as large as a brain, with a darker core."""
    radius = np.sqrt((((world - (0, -18, 10)) / (68, 86, 62)) ** 2).sum(-1))
    return np.where(radius < 1, 600 + 300 * np.cos(9 * radius), 0.0).astype(np.float32)


def anatomy(grid: str = "ras") -> xr.Dataset:
    affine, shape = GRIDS[grid]
    image = head(world_grid(affine, shape))
    return xr.Dataset({"anatomy": (("z", "y", "x"), image)}, {"affine": affine_coordinate(affine)}, {"space": "native"})


def activation(grid: str = "ras", *, planted: bool = True, noise: float = 1.0) -> xr.Dataset:
    """Two conditions, two modalities: ``hand`` is positive left motor and negative right visual, ``rest`` is noise."""
    affine, shape = GRIDS[grid]
    world = world_grid(affine, shape)
    mask = head(world) > 0
    rng = np.random.default_rng(5)
    statistic = noise * rng.standard_normal((2, 2, *mask.shape)).astype(np.float32).clip(-3.5, 3.5)
    if planted:
        planted_map = blob(world, LEFT_MOTOR, height=14.0) - blob(world, RIGHT_VISUAL, height=11.0)
        statistic[0] += planted_map.astype(np.float32) * np.array([1.0, 0.6], np.float32)[:, None, None, None]
    statistic[:, :, ~mask] = np.nan
    null = np.abs(rng.normal(4.4, 0.3, (2, 2, 199)))
    maps = [(one, null[index]) for index, one in zip(np.ndindex(2, 2), statistic.reshape(4, *mask.shape), strict=True)]
    p_fwe = np.reshape([family_wise_p(one, members) for one, members in maps], statistic.shape)
    p_fwe = np.where(mask, p_fwe, np.nan).astype(np.float32)
    q_fdr = np.where(mask, np.where(np.abs(statistic) > 4.0, 0.01, 0.5), np.nan)  # noise ends at 3.5
    dims = ("condition", "modality", "z", "y", "x")
    return xr.Dataset(
        {
            "statistic": (dims, statistic),
            "p_fwe": (dims, p_fwe),
            "q_fdr": (dims, q_fdr),
            "null_maximum": (("condition", "modality", "permutation"), null),
            "mask": (("z", "y", "x"), mask),
        },
        {
            "condition": ["hand", "rest"],
            "modality": ["BOLD", "EEG"],
            "statistic_kind": ("modality", ["t", "t"]),
            "null": ("modality", [describe_null("circular shifts", 199, 0)] * 2),
            "affine": affine_coordinate(affine),
        },
        {"space": "native"},
    )


def coupling(grid: str = "ras") -> xr.Dataset:
    """Alpha is negative in right visual cortex at lag 4 s; delta couples with nothing."""
    affine, shape = GRIDS[grid]
    world = world_grid(affine, shape)
    mask = head(world) > 0
    rng = np.random.default_rng(6)
    statistic = 0.05 * rng.standard_normal((2, 3, *mask.shape)).astype(np.float32)
    statistic[1] -= blob(world, RIGHT_VISUAL, height=0.6) * np.array([0.2, 0.6, 1.0])[:, None, None, None]
    statistic[:, :, ~mask] = np.nan
    p_fwe = np.where(np.abs(statistic) > 0.32, 0.005, 0.5)
    dims = ("band", "lag", "z", "y", "x")
    return xr.Dataset(
        {
            "statistic": (dims, statistic),
            "p_fwe": (dims, p_fwe),
            "null_maximum": ("permutation", rng.normal(0.3, 0.01, 199)),
        },
        {
            "band": ["delta", "alpha"],
            "lag": [0.0, 2.0, 4.0],
            "statistic_kind": "r",
            "null": describe_null("circular shifts", 199, 0),
            "affine": affine_coordinate(affine),
        },
        {"space": "native"},
    )


def series(grid: str = "las", *, volumes: int = 60, repetition_time: float = 2.0) -> xr.Dataset:
    """BOLD of the head, 1000 everywhere; left motor cortex rises by 3 % in each event, the EEG predicts half of it."""
    affine, shape = GRIDS[grid]
    world = world_grid(affine, shape)
    mask = head(world) > 0
    time = repetition_time * np.arange(volumes)
    onset = np.arange(10.0, time[-1], 40.0)
    active = ((time[:, None] >= onset) & (time[:, None] < onset + 16.0)).any(1)
    response = 30.0 * active[:, None] * (blob(world, LEFT_MOTOR, height=1.0)[mask] > 0.5)
    prediction = np.where((time >= 50)[:, None] & (time < 58)[:, None], np.nan, response / 2)
    return xr.Dataset(
        {
            "series": (("time", "voxel"), (1000.0 + response).astype(np.float32)),
            "prediction": (("time", "voxel"), prediction.astype(np.float32)),
            "mask": (("z", "y", "x"), mask),
            "event_onset": ("event", onset),
            "event_duration": ("event", np.full(onset.size, 16.0)),
            "event_condition": ("event", ["hand", "rest"] * (onset.size // 2) + ["hand"] * (onset.size % 2)),
        },
        {"time": time, "affine": affine_coordinate(affine)},
        {"space": "native", "repetition_time": repetition_time, "clock": "scanner"},
    )


def volumes(grid: str = "las", *, count: int = 20, repetition_time: float = 2.0) -> xr.Dataset:
    """Volumes of the head that grow darker: volume i has 1 - i / count of the first one's values."""
    affine, shape = GRIDS[grid]
    image = head(world_grid(affine, shape))
    bold = image * (1 - np.arange(count, dtype=np.float32) / count)[:, None, None, None]
    ds = xr.Dataset({"bold": (("time", "z", "y", "x"), bold)}, {"affine": affine_coordinate(affine)})
    return ds.assign_attrs(space="native", repetition_time=repetition_time)


def alignment() -> Alignment:
    """Twelve volumes: 3 and 4 without a marker, 10 and 11 after the end of the EEG, one marker too many."""
    residual = tuple(None if volume in {3, 4, 10, 11} else 1e-5 * (-1) ** volume for volume in range(12))
    return Alignment(
        offset_s=1.5,
        offset_interval_s=(1.49999, 1.50001),
        drift_ppm=8.0,
        residual_s=residual,
        repetition_time=2.0,
        marker="R128",
        matched=8,
        missing=(3, 4),
        extra=(5,),
        covered=(True,) * 10 + (False,) * 2,
        verdict="suspect",
        reasons=("2 markers are missing",),
    )


def eeg(frequency: float, *, artifact: bool) -> xr.Dataset:
    """20 s of two EEG channels with alpha and an ECG; the artifact adds 10 Hz times 1, 2, 3 to Cz."""
    count = int(20 * frequency)
    time = np.arange(count) / frequency
    signal = 1e-6 * np.random.default_rng(3).standard_normal((3, count)) + 2e-5 * np.sin(2 * np.pi * 9.3 * time)
    if artifact:
        signal[1] += sum(1e-3 * np.sin(2 * np.pi * 10 * k * time) for k in (1, 2, 3))
    signal[2] = 1e-3 * np.exp(-(((time % 0.8 - 0.4) / 0.02) ** 2))
    variables = {
        "eeg": (("channel", "time"), signal.astype(np.float32)),
        "channel_type": ("channel", ["eeg", "eeg", "ecg"]),
        "r_peak": ("beat", [*np.arange(0.4, 20, 0.8), np.nan, np.nan]),
    }
    ds = xr.Dataset(variables, {"channel": ["Oz", "Cz", "ECG"]}, {"clock": "scanner"})
    return ds.assign_coords(regular_time(0.0, frequency, count))
