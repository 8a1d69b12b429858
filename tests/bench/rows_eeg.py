"""Rows of the EEG steps."""

import numpy as np
import xarray as xr
from rows import Row, Side

CHANNELS, VOLUMES, TR, SAMPLING = 32, 150, 2.0, 5_000.0
SAMPLES = int(VOLUMES * TR * SAMPLING)


def recording(_: int = 0) -> xr.Dataset:
    """32 channels for 5 minutes at 5 kHz with a periodic artifact, V, scanner clock."""
    from multimap_kernel.schema import regular_time

    rng = np.random.default_rng(0)
    artifact = np.tile(rng.normal(0, 1e-3, int(TR * SAMPLING)).astype("f4"), VOLUMES)
    values = rng.normal(0, 1e-5, (CHANNELS, SAMPLES)).astype("f4") + artifact
    ds = xr.Dataset({"eeg": (("channel", "time"), values)}, coords=regular_time(0.0, SAMPLING, SAMPLES))
    return ds.assign(channel_type=("channel", ["eeg"] * CHANNELS)).assign_attrs(clock="scanner")


def raw(_: int = 0):
    import mne

    values = recording()["eeg"].values
    return mne.io.RawArray(values, mne.create_info(CHANNELS, SAMPLING, "eeg"), verbose="error")


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


ROWS = (
    Row(
        "gradient",
        "gradient artifact, 32 channels x 300 s x 5 kHz",
        Side("", recording, our_gradient, compiles=True),
        Side("MNE AAS (15, 15)", raw, mne_gradient),
        note="`gradient`: not the same work. MNE's template subtraction aligns no sub-samples, leaves the first and "
        "last 15 volumes as they are, and computes in float64.",
    ),
    Row(
        "decimation",
        "5 kHz to 250 Hz, the same recording",
        Side("", recording, our_decimation, compiles=True),
        Side("MNE resample, polyphase", raw, mne_decimation),
        note="`decimation`: MNE computes in float64.",
    ),
)
