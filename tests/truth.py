"""The simulator's truth beside a result: where regions are, and how well a map tells them from the rest."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import xarray as xr
from scipy.spatial.transform import Rotation
from sklearn.metrics import roc_auc_score


def truth_of(bids: Path, label: str) -> dict[str, Any]:
    """The plain part of a session's truth."""
    return json.loads((bids / "sourcedata" / "truth" / f"{label}_truth.json").read_text())


def regions_on(ds: xr.Dataset, bids: Path, label: str) -> dict[str, np.ndarray]:
    """Voxels of each planted region (z, y, x) on the grid of a map, by the driver that moves it; ``""``: none."""
    space = "native" if ds.attrs["space"] == "native" else f"{ds.attrs['space']}_res-2"
    image = nib.load(bids / "sourcedata" / "truth" / f"{label}_space-{space}_dseg.nii.gz")
    labels = np.asarray(image.dataobj)
    matrix = np.vstack([ds["affine"].values, [0, 0, 0, 1]])
    shape = tuple(ds.sizes[axis] for axis in "xyz")
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    points = nib.affines.apply_affine(np.linalg.inv(image.affine) @ matrix, index)
    there = np.round(points).astype(int)
    inside = ((there >= 0) & (there < labels.shape)).all(1)
    found = np.zeros(len(there), int)
    found[inside] = labels[tuple(there[inside].T)]
    found = found.reshape(shape).T
    regions = truth_of(bids, label)["regions"]
    drivers = {region["label"]: region["driver"] for region in regions}
    masks = {driver: np.isin(found, [k for k, d in drivers.items() if d == driver]) for driver in set(drivers.values())}
    return {**masks, "": found == 0}


def auc(statistic: np.ndarray, region: np.ndarray, rest: np.ndarray) -> float:
    """Area under the curve of a region's voxels against those where nothing was planted; NaN left out."""
    use = np.isfinite(statistic) & (region | rest)
    return float(roc_auc_score(region[use], statistic[use]))


def activation_auc(ds: xr.Dataset, bids: Path, label: str, condition: str) -> float:
    """How well measured BOLD tells the regions of a condition (signed: activation is positive)."""
    masks = regions_on(ds, bids, label)
    return auc(ds["statistic"].sel(condition=condition, modality="bold").values, masks[condition], masks[""])


def alpha_auc(ds: xr.Dataset, bids: Path, label: str) -> float:
    """How well the strongest |r| of alpha over the lags tells the alpha regions."""
    masks = regions_on(ds, bids, label)
    return auc(np.abs(ds["statistic"].sel(band="alpha")).max("lag").values, masks["alpha"], masks[""])


def displacement_mm(found: xr.Dataset, motion: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    """Error of each volume's head position: mean over points of the brain, both taken against volume 0, mm."""
    centre = np.array(about["centre"])
    points = centre + np.stack(np.meshgrid(*[(-45.0, 0.0, 45.0)] * 3), -1).reshape(-1, 3)
    places = []
    for parameters, middle in ((motion, centre), (found["motion"].values, np.array(found["motion"].attrs["centre"]))):
        turned = Rotation.from_euler("xyz", parameters[:, 3:]).as_matrix()
        moved = np.einsum("kij,pj->kpi", turned, points - middle) + middle + parameters[:, None, :3]
        back = np.einsum("ij,kpj->kpi", turned[0].T, moved - middle - parameters[0, :3]) + middle
        places.append(back)
    return np.linalg.norm(places[0] - places[1], axis=-1).mean(1)
