"""Synthetic maps of the members of a study with known truth, made without any code that is under test."""

import numpy as np
import xarray as xr
from scipy import ndimage

from multimap_kernel.schema import affine_coordinate

SHAPE = (6, 8, 9)


def study(seed, members=12, *, shape=SHAPE, planted=0.0, conditions=("a",)):
    """Smooth noise of each member, of another size for each; the first z plane carries the planted effect."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.standard_normal((members, len(conditions), 1, *shape)), (0, 0, 0, 1, 1, 1))
    noise *= random.uniform(0.5, 2, (members, 1, 1, 1, 1, 1)) / noise.std()
    noise[..., 0, :, :] += planted
    coordinates = {
        "member": [f"{number:02d}" for number in range(members)],
        "condition": list(conditions),
        "modality": ["bold"],
        "affine": affine_coordinate(np.eye(4)),
    }
    dims = ("member", "condition", "modality", "z", "y", "x")
    return xr.Dataset({"effect": (dims, noise.astype(np.float32))}, coordinates, {"space": "native"})


def with_holes(ds, seed=0, share=0.1):
    return ds.where(np.random.default_rng(seed).uniform(size=ds["effect"].shape) > share)


def in_groups(ds, first=5):
    size = ds.sizes["member"]
    return ds.assign_coords(group=("member", ["old"] * first + ["young"] * (size - first)))


def in_pairs(ds):
    size = ds.sizes["member"] // 2
    who = [f"s{number}" for number in range(size)]
    return ds.assign_coords(group=("member", ["pre"] * size + ["post"] * size), subject=("member", who + who[::-1]))
