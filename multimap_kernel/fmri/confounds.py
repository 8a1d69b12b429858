"""Nuisance regressors: motion, slow drifts, and volumes that should not count."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from nilearn.glm.first_level import make_first_level_design_matrix

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, in_blocks, small, volume_axis

HEAD_MM = 50.0
"""Radius of the sphere on which rotations become millimetres."""
GRAND_MEAN = 1000.0
"""Mean over brain and time that DVARS is scaled to."""


def confounds(
    ds: xr.Dataset,
    *,
    motion: xr.Dataset,
    model: Literal["motion6", "motion24", "none"] = "motion6",
    fd_threshold_mm: float = 0.5,
    high_pass_hz: float = 0.01,
) -> xr.Dataset:
    """Make the nuisance regressors of a run, and two measures of its quality.

    Parameters
    ----------
    ds
        Dataset with ``bold (time, z, y, x; 1)``, ``steady_state (time)`` and ``attrs["repetition_time"]`` (s): the
        run as it was read, or, with its own ``mask (z, y, x)``, as `normalise` gives it. DVARS of the first still
        holds the motion.
    motion
        Dataset with ``motion (time, parameter; mm and rad)`` and ``mask`` from `realign`. Lazy motion is computed,
        because the number of regressors follows from it.
    model
        ``"motion6"``: the parameters; ``"motion24"``: those, the ones of the volume before, and the squares of
        both; ``"none"``: no motion regressors (volumes are flagged all the same).
    fd_threshold_mm
        Volumes that moved further than this against the one before get a regressor of their own.
    high_pass_hz
        Cosines slower than this go in.

    Returns
    -------
    Dataset, lazy only in ``dvars`` and only if ``bold`` is:

    - confound : (time, regressor; 1) float64. Motion columns have mean 0 and deviation 1, and are left out where
      constant (`realign` without estimation); ``cosine_*`` as nilearn makes them; ``spike_*`` is 1 in one volume
      (moved too far, or not in the steady state). There is no constant column: a model adds its own.
    - framewise_displacement : (time; mm); 0 in the first volume
    - dvars : (time; 1); root mean square change over the mask, with the brain's mean scaled to 1000; 0 in the first

    Raises
    ------
    SchemaError
        If a variable is missing.
    InputError
        If the model is unknown, motion and bold differ in their volumes, or the regressors leave no volume free.

    References
    ----------
    Power et al. (2012), NeuroImage 59:2142; Friston et al. (1996), Magn Reson Med 35:346.
    """
    schema.require(ds, "bold", where="confounds")
    schema.require(ds if "mask" in ds else motion, "mask", where="confounds")
    schema.require(motion, "motion", where="confounds")
    if model not in ("motion6", "motion24", "none"):
        raise schema.InputError(f"model must be 'motion6', 'motion24' or 'none', found {model!r}")
    count = ds.sizes["time"]
    if motion.sizes["time"] != count:
        found = f"{motion.sizes['time']} and {count}"
        raise schema.InputError(f"motion and bold must have the same volumes, found {found}; realign this run")
    pose = np.asarray(motion["motion"].values, np.float64)
    displacement = _displacement(pose)
    steady = small(ds["steady_state"]) if "steady_state" in ds.variables else np.ones(count, bool)
    columns = {
        **_motion_columns(pose, list(map(str, motion["parameter"].values)), model),
        **_cosines(count, float(ds.attrs["repetition_time"]), high_pass_hz),
        **_spikes(~steady | (displacement > fd_threshold_mm)),
    }
    if len(columns) + 2 > count:
        spikes = sum(name.startswith("spike") for name in columns)
        raise schema.InputError(
            f"regressors must leave volumes free, found {len(columns)} ({spikes} of flagged volumes) for {count} "
            "volumes; raise confounds.fd_threshold_mm or exclude the session"
        )
    result = xr.Dataset(
        {
            "confound": (("time", "regressor"), np.array(list(columns.values())).reshape(len(columns), count).T),
            "framewise_displacement": ("time", displacement),
            "dvars": _dvars(ds["bold"], (ds if "mask" in ds else motion)["mask"]),
        },
        coords=volume_axis(ds),
        attrs=ds.attrs,
    ).assign_coords(regressor=np.array(list(columns), dtype=np.str_))
    for name in ("confound", "framewise_displacement", "dvars"):
        result[name] = schema.annotate(result[name])
    return finish(result, ds)


def _displacement(pose: np.ndarray) -> np.ndarray:
    """Framewise displacement (time,) in mm: sum of the absolute changes, rotations on a sphere of 50 mm."""
    step = np.abs(np.diff(pose, axis=0, prepend=pose[:1]))
    displacement: np.ndarray = step[:, :3].sum(1) + HEAD_MM * step[:, 3:].sum(1)
    return displacement


def _motion_columns(pose: np.ndarray, names: list[str], model: str) -> dict[str, np.ndarray]:
    if model == "none":
        return {}
    columns = dict(zip(names, pose.T, strict=True))
    if model == "motion24":
        before = np.concatenate([pose[:1], pose[:-1]])
        columns |= {f"{name}_before": column for name, column in zip(names, before.T, strict=True)}
        columns |= {f"{name}_squared": column**2 for name, column in list(columns.items())}
    return {name: (column - column.mean()) / column.std() for name, column in columns.items() if np.ptp(column) > 0}


def _cosines(count: int, repetition_time: float, high_pass_hz: float) -> dict[str, np.ndarray]:
    times = repetition_time * np.arange(count)
    design = make_first_level_design_matrix(times, drift_model="cosine", high_pass=high_pass_hz)
    drifts = [name for name in design.columns if name != "constant"]
    return {f"cosine_{k:02d}": design[name].to_numpy() for k, name in enumerate(drifts, 1)}


def _spikes(flagged: np.ndarray) -> dict[str, np.ndarray]:
    volumes = np.arange(len(flagged))
    return {f"spike_{volume:04d}": (volumes == volume).astype(float) for volume in volumes[flagged]}


def _dvars(bold: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
    values = xr.DataArray(in_blocks(bold), dims=bold.dims).astype(np.float32).where(mask.variable)
    power = ((values - values.shift(time=1)) ** 2).mean(("z", "y", "x"), dtype=np.float64)
    scaled: xr.DataArray = power**0.5 * (GRAND_MEAN / values.mean(dtype=np.float64))
    # The first volume has no volume before it; a volume that is NaN altogether stays NaN.
    return scaled.where(xr.DataArray(np.arange(bold.sizes["time"]) > 0, dims="time"), 0.0)
