"""Maps as NIfTI and tables with BIDS-derivatives names, each with a sidecar of what it shows and against which null."""

from __future__ import annotations

import gzip
import itertools
import json
import posixpath
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import xarray as xr

from multimap_kernel.schema import InputError, affine_matrix, require

BIDS_VERSION = "1.10.0"
LEVEL = 0.05
"""Family-wise error at which the sidecar states the threshold of the statistic."""
SCANNER, MNI = 1, 4
"""NIfTI codes of the space that an affine leads to."""
LABELS = {"p_fwe": "pfwe", "q_fdr": "qfdr", "effect": "effect", "p_cluster": "pcluster", "n": "n"}
MEANING = {
    "statistic": "test statistic",
    "p_fwe": "p, corrected for the family by the largest statistic of it (see Null)",
    "q_fdr": "smallest false discovery rate at which the voxel is found",
    "p_cluster": "p of the cluster that the voxel belongs to, corrected by the largest of the family; 1: of none",
    "n": "members that have the voxel",
    "best_lag": "lag in seconds of the largest statistic; positive: BOLD after EEG",
}
EFFECTS = {
    "bold": "contrast estimate in percent of the mean",
    "eeg": "contrast estimate in percent of the mean",
    "joint": "variance that the prediction from EEG explains beyond the design, in percent",
    "coupling": "Fisher z of the correlation: mean over the members, or difference of two means",
}
"""What the effect of a modality is; that of `coupling` is known for a group."""


def write_activation(
    ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[str]:
    """Write activation maps, one file per variable, condition and modality.

    Parameters
    ----------
    ds
        ``statistic, effect, p_fwe, q_fdr (condition, modality, z, y, x)``, for a group also ``n``, with ``affine``,
        ``statistic_kind`` and ``null``; attribute ``space``.
    folder
        Path or URL of the derivative; made if it is not there.
    entities
        ``subject``, ``session``, ``task``, ``run``; empty ones are left out, all but ``task`` for a group.
    provenance
        Plain JSON for every sidecar, such as the recipe's name and hash.

    Returns
    -------
    Paths inside the folder of all files written, ``..._contrast-C_desc-M_stat-S_statmap.nii.gz`` and ``.json``. The
    bytes depend on the maps and the provenance alone.

    Raises
    ------
    InputError
        If two conditions have the same letters and digits, which is all that a BIDS label can hold.
    SchemaError
        If a variable is missing.
    """
    require(ds, "statistic", "effect", "p_fwe", "q_fdr", where="write_activation")
    stem, written = _stem(ds, entities, "func"), list[str]()
    contrasts = _labels(ds["condition"].values)
    for modality in ds["modality"].values:
        one = ds.sel(modality=modality)
        kind = str(one["statistic_kind"].values)
        for condition, contrast in contrasts.items():
            maps = one.sel(condition=condition)[["statistic", *(name for name in LABELS if name in one)]].compute()
            for name in maps.data_vars:
                label = _label(kind) if name == "statistic" else LABELS[str(name)]
                path = f"{stem}_contrast-{contrast}_desc-{_label(str(modality))}_stat-{label}_statmap"
                facts = {
                    **_facts(str(name), str(modality), kind, one["null"].values.item(), maps, provenance),
                    "Contrast": condition,
                    "Modality": str(modality),
                }
                written += _write_map(folder, path, maps[name], affine_matrix(ds), facts)
    return written


def write_coupling(
    ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[str]:
    """Write coupling maps, per band: the statistic at its best lag, that lag, and the p and q there.

    Parameters
    ----------
    ds
        ``statistic, p_fwe, q_fdr (band, lag, z, y, x)`` and ``best_lag (band, z, y, x; s)`` with ``affine``,
        ``statistic_kind`` and ``null``; attribute ``space``.
    folder, entities, provenance
        As for `write_activation`.

    Returns
    -------
    Paths inside the folder, ``..._contrast-BAND_desc-coupling_stat-S_statmap.nii.gz`` and ``.json``.
    """
    stem, written = _stem(ds, entities, "func"), list[str]()
    kind, null = str(ds["statistic_kind"].values), ds["null"].values.item()
    for band, contrast in _labels(ds["band"].values).items():
        one = ds[["statistic", "best_lag", *(name for name in LABELS if name in ds)]].sel(band=band).compute()
        nearest = abs(one["lag"] - one["best_lag"].fillna(one["lag"][0])).argmin("lag")
        maps = one.isel(lag=nearest).drop_vars("lag")
        for name in maps.data_vars:
            label = {"statistic": _label(kind), "best_lag": "lag"}.get(str(name)) or LABELS[str(name)]
            path = f"{stem}_contrast-{contrast}_desc-coupling_stat-{label}_statmap"
            facts = _facts(str(name), "coupling", kind, null, maps, provenance)
            facts |= {"Band": band, "Lags": ds["lag"].values.tolist()}
            written += _write_map(folder, path, maps[name], affine_matrix(ds), facts)
    return written


def write_sensor(
    ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[str]:
    """Write the sensor map as one table, a row per condition, band and channel.

    Parameters
    ----------
    ds
        ``statistic, effect, p_fwe, q_fdr (condition, band, channel)`` with ``statistic_kind`` and ``null``.
    folder, entities, provenance
        As for `write_activation`.

    Returns
    -------
    Paths inside the folder, ``..._desc-sensor_stats.tsv`` and ``.json``.
    """
    facts = _facts_of_sensors(ds, provenance) | {"Columns": {"effect": "change of power in percent"}}
    return _write_table(ds, ("condition", "band", "channel"), folder, f"{_eeg(entities)}_desc-sensor_stats", facts)


def write_evoked(
    ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[str]:
    """Write evoked responses as one table, a row per condition, channel and latency.

    Parameters
    ----------
    ds
        ``statistic, effect, p_fwe, q_fdr (condition, channel, latency)`` with ``statistic_kind`` and ``null``.
    folder, entities, provenance
        As for `write_activation`.

    Returns
    -------
    Paths inside the folder, ``..._desc-evoked_stats.tsv`` and ``.json``.
    """
    facts = _facts_of_sensors(ds, provenance) | {"Columns": {"latency": "s after onset", "effect": "mean response, V"}}
    return _write_table(ds, ("condition", "channel", "latency"), folder, f"{_eeg(entities)}_desc-evoked_stats", facts)


def write_pattern(
    ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[str]:
    """Write the EEG pattern of one region as one table, a row per band, lag and channel.

    Parameters
    ----------
    ds
        ``pattern, statistic, p_fwe, q_fdr (channel, band, lag)`` with ``region``, ``statistic_kind`` and ``null``.
    folder, entities, provenance
        As for `write_activation`.

    Returns
    -------
    Paths inside the folder, ``..._desc-pattern_stats.tsv`` and ``.json``.
    """
    told = {"lag": "s before the volume", "effect": "change of log power per deviation of the predicted BOLD"}
    facts = _facts_of_sensors(ds, provenance) | {"Region": str(ds["region"].values), "Columns": told}
    table = ds.rename(pattern="effect")
    return _write_table(table, ("band", "lag", "channel"), folder, f"{_eeg(entities)}_desc-pattern_stats", facts)


def write_picture(png: bytes, folder: str, *, entities: Mapping[str, str], name: str) -> str:
    """Write a picture of sensor maps beside their table as ``..._desc-NAME_topomap.png``; gives its path."""
    path = f"{_eeg(entities)}_desc-{_label(name)}_topomap.png"
    _put(folder, path, png)
    return path


def _eeg(entities: Mapping[str, str]) -> str:
    return _stem(None, entities, "eeg")


def _facts_of_sensors(ds: xr.Dataset, provenance: Mapping[str, Any]) -> dict[str, Any]:
    judged = ds[["statistic", "p_fwe"]].compute()
    return _facts("statistic", "eeg", str(ds["statistic_kind"].values), ds["null"].values.item(), judged, provenance)


def _write_table(ds: xr.Dataset, dims: tuple[str, ...], folder: str, path: str, facts: Mapping[str, Any]) -> list[str]:
    names = ("statistic", "effect", "p_fwe", "q_fdr")
    values = [ds[name].transpose(*dims).values.ravel() for name in names]
    labels = itertools.product(*(ds[dim].values.tolist() for dim in dims))
    rows = [
        "\t".join([*(f"{one:.6g}" if isinstance(one, float) else str(one) for one in label), *map(_number, numbers)])
        for label, *numbers in zip(labels, *values, strict=True)
    ]
    _put(folder, f"{path}.tsv", ("\n".join(["\t".join([*dims, *names]), *rows]) + "\n").encode())
    return [f"{path}.tsv", _put_json(folder, f"{path}.json", facts)]


def write_mask(ds: xr.Dataset, folder: str, *, entities: Mapping[str, str], provenance: Mapping[str, Any]) -> list[str]:
    """Write ``mask (z, y, x)`` as ``..._desc-brain_mask.nii.gz`` with its sidecar; gives the two paths."""
    require(ds, "mask", where="write_mask")
    path = f"{_stem(ds, entities, 'func')}_desc-brain_mask"
    facts = {
        "Type": "Brain",
        "Resolution": {_resolution(ds): "grid of the maps beside it"},
        "Provenance": dict(provenance),
    }
    return _write_map(folder, path, ds["mask"], affine_matrix(ds), facts)


def write_description(folder: str) -> list[str]:
    """Write ``dataset_description.json`` of the derivative.

    Maps of statistics have no place in the BIDS schema yet, so that ``.bidsignore`` names them for its validator.
    """
    _put(folder, ".bidsignore", b"*_statmap.*\n*_stats.*\n*_topomap.png\n")
    facts = {
        "Name": "multimap: activation and coupling maps of simultaneous EEG-fMRI",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "multimap", "Version": version("multimap")}],
    }
    return [_put_json(folder, "dataset_description.json", facts)]


def _stem(ds: xr.Dataset | None, entities: Mapping[str, str], modality: str) -> str:
    """Path of a file up to its own entities; a file in native space carries no ``space``."""
    known = (("sub", "subject"), ("ses", "session"), ("task", "task"), ("run", "run"))
    given = [f"{short}-{entities[name]}" for short, name in known if entities.get(name)]
    folders = [part for part in given if part[:4] in ("sub-", "ses-")]
    if ds is not None and ds.attrs.get("space", "native") != "native":
        given += [f"space-{ds.attrs['space']}", f"res-{_resolution(ds)}"]
    return "/".join([*folders, modality, "_".join(given)])


def _resolution(ds: xr.Dataset) -> str:
    """Edge of a voxel in mm as a BIDS label: ``4`` or ``2p5``."""
    edge = float(np.cbrt(abs(np.linalg.det(affine_matrix(ds)[:3, :3]))))
    return f"{edge:.3g}".replace(".", "p")


def _labels(names: np.ndarray) -> dict[str, str]:
    labels = {str(name): _label(str(name)) for name in names}
    if len(set(labels.values())) < len(labels) or not all(labels.values()):
        raise InputError(f"names must differ in letters and digits to become BIDS labels, found {list(labels)}")
    return labels


def _label(text: str) -> str:
    return re.sub(r"[^0-9a-zA-Z]", "", text)


def _facts(
    name: str, modality: str, kind: str, null: str, maps: xr.Dataset, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    found = np.abs(maps["statistic"].values)[np.nan_to_num(maps["p_fwe"].values, nan=1.0) < LEVEL]
    return {
        "Description": EFFECTS[modality] if name == "effect" else MEANING[name],
        "StatisticKind": kind,
        "Null": json.loads(null),
        "Threshold": {"FamilyWiseError": LEVEL, "Statistic": float(found.min()) if found.size else None},
        "Provenance": dict(provenance),
    }


def _write_map(folder: str, path: str, values: xr.DataArray, affine: np.ndarray, facts: Mapping[str, Any]) -> list[str]:
    grid = values.transpose("z", "y", "x").values
    stored = grid.astype(np.uint8 if grid.dtype.kind == "b" else np.float32)
    image = nib.Nifti1Image(stored.T, affine)
    code = MNI if "_space-MNI" in path else SCANNER
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.header.set_xyzt_units("mm", "sec")
    _put(folder, f"{path}.nii.gz", gzip.compress(image.to_bytes(), mtime=0))
    return [f"{path}.nii.gz", _put_json(folder, f"{path}.json", facts)]


def _put_json(folder: str, path: str, facts: Mapping[str, Any]) -> str:
    _put(folder, path, (json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return path


def _put(folder: str, path: str, content: bytes) -> None:
    fs, root = fsspec.core.url_to_fs(folder)
    target = posixpath.join(root.rstrip("/"), path)
    fs.makedirs(posixpath.dirname(target), exist_ok=True)
    fs.pipe_file(target, content)


def _number(value: float) -> str:
    return f"{value:.9g}" if np.isfinite(value) else "n/a"
