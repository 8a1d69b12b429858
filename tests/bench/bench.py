"""Our verbs beside what people use now, each pair in the same run; writes BENCHMARKS.md.

``python tests/bench/bench.py``: CPU seconds (user and system) and peak memory above the inputs, median of five. Ours
and the peer take turns, each in a fresh process that first loads its inputs and warms up on a small part.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from science import ROOT, heading  # noqa: E402

RUNS, CHANNELS, VOLUMES, TR, SAMPLING = 5, 32, 150, 2.0, 5_000.0
SAMPLES = int(VOLUMES * TR * SAMPLING)


def recording() -> xr.Dataset:
    """32 channels for 5 minutes at 5 kHz with a periodic artifact, V, scanner clock."""
    from multimap_kernel.schema import regular_time

    rng = np.random.default_rng(0)
    artifact = np.tile(rng.normal(0, 1e-3, int(TR * SAMPLING)).astype("f4"), VOLUMES)
    values = rng.normal(0, 1e-5, (CHANNELS, SAMPLES)).astype("f4") + artifact
    ds = xr.Dataset({"eeg": (("channel", "time"), values)}, coords=regular_time(0.0, SAMPLING, SAMPLES))
    return ds.assign(channel_type=("channel", ["eeg"] * CHANNELS)).assign_attrs(clock="scanner")


def raw_of(ds: xr.Dataset):
    import mne

    return mne.io.RawArray(ds["eeg"].values, mne.create_info(CHANNELS, SAMPLING, "eeg"), verbose="error")


def volumes() -> tuple[np.ndarray, np.ndarray]:
    """Time by voxel, float32, and a design of 12 columns."""
    rng = np.random.default_rng(0)
    return rng.normal(100, 2, (300, 40_000)).astype("f4"), np.column_stack([rng.normal(0, 1, (300, 11)), np.ones(300)])


def images() -> xr.Dataset:
    """60 volumes of 64x64x36 inside a ball, as the series of its voxels."""
    from multimap_kernel.schema import affine_coordinate, volume_coordinates

    z, y, x = np.indices((36, 64, 64))
    mask = ((z - 18) / 17) ** 2 + ((y - 32) / 28) ** 2 + ((x - 32) / 28) ** 2 < 1
    series = np.random.default_rng(0).normal(100, 2, (60, int(mask.sum()))).astype("f4")
    ds = xr.Dataset({"series": (("time", "voxel"), series), "mask": (("z", "y", "x"), mask)})
    ds = ds.assign_coords(volume_coordinates(60, TR)).assign_coords(affine=affine_coordinate(np.diag([3.0, 3, 3.5, 1])))
    return ds.assign_attrs(repetition_time=TR, space="native", clock="scanner")


def our_gradient(ds: xr.Dataset):
    from multimap_kernel.eeg import remove_gradient_artifact

    return remove_gradient_artifact(ds, repetition_time=TR, volumes=VOLUMES)


def mne_gradient(raw):
    import mne

    starts = (np.arange(VOLUMES) * TR * SAMPLING).astype(int)
    return mne.preprocessing.remove_fmri_gradient_artifact(raw, starts, window=(15, 15), copy=False, verbose="error")


def our_decimation(ds: xr.Dataset):
    from multimap_kernel.eeg import decimate

    return decimate(ds)


def mne_decimation(raw):
    return raw.resample(250.0, method="polyphase", verbose="error")


def our_glm(data):
    from multimap_kernel.maps import activation_map

    series, _ = data
    mask = np.ones((1, 200, 200), bool)
    onsets = np.arange(20.0, 580.0, 40.0)
    ds = xr.Dataset({"series": (("time", "voxel"), series), "mask": (("z", "y", "x"), mask)})
    ds = ds.assign(event_onset=("event", onsets), event_duration=("event", np.full(onsets.size, 20.0)))
    ds = ds.assign(event_condition=("event", ["a"] * onsets.size))
    from multimap_kernel.schema import affine_coordinate, volume_coordinates

    ds = ds.assign_coords(volume_coordinates(300, TR)).assign_coords(affine=affine_coordinate(np.eye(4)))
    return activation_map(ds.assign_attrs(repetition_time=TR, space="native", clock="scanner"), contrasts={})


def nilearn_glm(data):
    from nilearn.glm.contrasts import compute_contrast
    from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

    onsets = np.arange(20.0, 580.0, 40.0)
    events = pd.DataFrame({"onset": onsets, "duration": 20.0, "trial_type": "a"})
    design = make_first_level_design_matrix(np.arange(300) * TR + TR / 2, events, hrf_model="spm", high_pass=0.01)
    labels, fits = run_glm(data[0], design.values, noise_model="ar1")
    return compute_contrast(labels, fits, np.eye(design.shape[1])[0], stat_type="t").z_score()


def our_smoothing(ds: xr.Dataset):
    from multimap_kernel.maps import smooth

    return smooth(ds, fwhm_mm=6.0)


def as_image(ds: xr.Dataset):
    import nibabel as nib

    from multimap_kernel.schema import affine_matrix, to_volume

    grid = to_volume(ds["series"].values, ds["mask"].values, 0.0)
    return nib.Nifti1Image(grid.T, affine_matrix(ds))


def nilearn_smoothing(image):
    from nilearn.image import smooth_img

    return smooth_img(image, 6.0)


NOT_THE_SAME = """
Not the same work: MNE's template subtraction aligns no sub-samples and leaves the first and last 15 volumes as they
are; MNE computes in float64; our GLM also gives p, q and effect maps, with a second, unbiased fit."""

Work = tuple[Callable[[], object], Callable[[object], object]]
PAIRS: dict[str, tuple[Work, str, Work]] = {
    "gradient artifact, 32 channels x 300 s x 5 kHz": (
        (recording, our_gradient),
        "MNE AAS (15, 15)",
        (lambda: raw_of(recording()), mne_gradient),
    ),
    "5 kHz to 250 Hz, the same": (
        (recording, our_decimation),
        "MNE resample, polyphase",
        (lambda: raw_of(recording()), mne_decimation),
    ),
    "GLM AR(1), 40 000 voxels x 300 volumes": ((volumes, our_glm), "nilearn run_glm ar1", (volumes, nilearn_glm)),
    "smoothing 6 mm, 60 volumes 64x64x36": (
        (images, our_smoothing),
        "nilearn smooth_img",
        (lambda: as_image(images()), nilearn_smoothing),
    ),
}


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def child(work: Work, pipe) -> None:
    warnings.simplefilter("ignore")
    load, do = work
    do(load())  # imports and compiled kernels are there from now on
    data = load()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, begun, clock = resident("VmRSS"), cpu(), time.perf_counter()
    do(data)
    pipe.send((cpu() - begun, time.perf_counter() - clock, resident("VmHWM") - before))


def measure(work: Work) -> tuple[float, float, float]:
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(work, send))
    process.start()
    found = receive.recv()
    process.join()
    return found


def main() -> int:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    rows = [heading("Benchmarks", "make bench")]
    rows += [
        "CPU seconds and peak memory above the inputs (MiB), median of five, one thread, ours and the peer in turns.\n"
    ]
    rows += ["| what | ours CPU | peer CPU | ratio | ours MiB | peer MiB | peer |", "|---|---|---|---|---|---|---|"]
    for what, (ours, peer, theirs) in PAIRS.items():
        found = [(measure(ours), measure(theirs)) for _ in range(RUNS)]
        (mine, _, mine_peak), (other, _, other_peak) = (
            tuple(statistics.median(run[side][k] for run in found) for k in range(3)) for side in (0, 1)
        )
        rows.append(
            f"| {what} | {mine:.2f} | {other:.2f} | {other / mine:.1f} | {mine_peak:.0f} | {other_peak:.0f} | {peer} |"
        )
        print(rows[-1], flush=True)
    rows.append(NOT_THE_SAME)
    (ROOT / "BENCHMARKS.md").write_text("\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
