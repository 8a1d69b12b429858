"""A synthetic analysis Dataset with known truth: what fusion and maps read, made without any code of theirs."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import lfilter
from scipy.stats import gamma

from multimap_kernel.schema import affine_coordinate, volume_coordinates

TR = 2.0
SHAPE = (6, 9, 10)


def analysis_dataset(
    seed, *, volumes=120, channels=4, bands=3, coupling=0.0, task=0.0, eeg_end=None, shape=SHAPE, events=True
):
    """BOLD of AR(1) noise, a shared slow latent, drift and motion; EEG power with its own slow latents.

    Voxels ``truth_task`` follow the task (``task`` in deviations of the noise), voxels ``truth_coupled`` follow
    the envelope of band 1 (mostly seen by channel 2) through a gamma response; with ``coupling=0`` nothing goes from
    EEG to BOLD. The task also raises power of band 2 by 60 % in channel 0, whatever ``task`` is.
    """
    random = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    mask = ((z - shape[0] / 2) ** 2 / shape[0] ** 2 + (y - shape[1] / 2) ** 2 / shape[1] ** 2
            + (x - shape[2] / 2) ** 2 / shape[2] ** 2) < 0.27  # fmt: skip
    voxels = int(mask.sum())
    end = volumes * TR
    bins = np.arange(0.05, end, 0.1)
    onset = np.cumsum(random.uniform(14, 24, 100))
    onset = onset[onset < end - 12]
    duration = np.full(len(onset), 8.0)
    on = ((bins[:, None] >= onset) & (bins[:, None] < onset + 8.0)).any(axis=1).astype(float)
    envelope = slow(random, len(bins), (channels, bands), 30)
    envelope[:, min(2, channels - 1), 1] += 2 * slow(random, len(bins), (), 40)
    speckle = random.gamma(4, 0.25, (len(bins), channels, bands))
    power = 1e-11 * np.exp(0.5 * envelope) * speckle
    power[:, 0, 2] *= 1 + 0.6 * on
    source = envelope[:, min(2, channels - 1), 1]
    response = gamma.pdf(np.arange(0, 25, 0.1), 6)
    at = np.round((np.arange(volumes) + 0.5) * TR / 0.1).astype(int)
    driven = unit(np.convolve(source, response)[: len(bins)][at])
    evoked = unit(np.convolve(on, response)[: len(bins)][at])
    motion = np.cumsum(random.standard_normal((volumes, 6)), axis=0) * 0.02
    coefficient = random.uniform(0.1, 0.6, voxels)
    noise = np.stack(
        [lfilter([1], [1, -c], random.standard_normal(volumes + 20))[20:] * np.sqrt(1 - c**2) for c in coefficient], 1
    )
    shared = unit(slow(random, volumes, (3,), 5)) @ random.standard_normal((3, voxels)) * 0.5
    nuisance = unit(motion) @ random.standard_normal((6, voxels)) * 0.3
    nuisance += np.linspace(-1, 1, volumes)[:, None] * random.standard_normal(voxels)
    truth_coupled, truth_task = np.zeros(voxels, bool), np.zeros(voxels, bool)
    truth_coupled[: voxels // 8], truth_task[-(voxels // 8) :] = True, True
    signal = coupling * driven[:, None] * truth_coupled + task * evoked[:, None] * truth_task
    series = (1000 + 10 * (noise + shared + nuisance + signal)).astype(np.float32)
    if eeg_end is not None:
        power = power[bins < eeg_end]
        bins = bins[bins < eeg_end]
    affine = np.array([[3.0, 0, 0, -15], [0, 3.0, 0, -14], [0, 0, 4.0, -12], [0, 0, 0, 1]])
    ds = xr.Dataset(
        {
            "series": (("time", "voxel"), series),
            "mask": (("z", "y", "x"), mask),
            "confound": (("time", "regressor"), motion),
            "band_power_fine": (("bin", "channel", "band"), power),
            "channel_type": ("channel", np.array(["eeg"] * channels)),
            "truth_coupled": ("voxel", truth_coupled),
            "truth_task": ("voxel", truth_task),
        },
        coords={
            **volume_coordinates(volumes, TR),
            "bin": bins,
            "channel": [f"E{number}" for number in range(channels)],
            "band": ["theta", "alpha", "beta", "gamma"][:bands],
            "affine": affine_coordinate(affine),
        },
        attrs={"repetition_time": TR, "space": "native", "clock": "scanner"},
    )
    if events:
        ds["event_onset"] = ("event", onset)
        ds["event_duration"] = ("event", duration)
        ds["event_condition"] = ("event", np.array(["go"] * len(onset)))
    return ds


def lazy(ds, voxel=97, time=17):
    """The same with Dask arrays in odd chunks; tables that decide a shape stay in memory."""
    tables = {name: ds[name] for name in ("event_onset", "event_duration", "event_condition") if name in ds}
    sizes = {"voxel": voxel, "time": time, "bin": 501, "z": 2}
    return ds.chunk({name: size for name, size in sizes.items() if name in ds.sizes}).assign(tables)


def slow(random, count, shape, width):
    """Gaussian noise low-passed to ``width`` samples, deviation 1."""
    kernel = np.hanning(2 * width + 1)
    white = random.standard_normal((count + 2 * width, *shape)).reshape(count + 2 * width, -1)
    smooth = np.stack([np.convolve(column, kernel, mode="valid") for column in white.T], axis=1)
    return unit(smooth).reshape(count, *shape)


def unit(values):
    """Mean 0 and deviation 1 along time."""
    return (values - values.mean(axis=0)) / values.std(axis=0)


def auc(score, truth):
    """Area under the ROC curve by ranks."""
    rank = np.argsort(np.argsort(score)) + 1
    return (rank[truth].sum() - truth.sum() * (truth.sum() + 1) / 2) / (truth.sum() * (~truth).sum())
