"""Maps of several runs or sessions put together: runs of one member combined, members stacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from multimap_kernel.schema import InputError, SchemaError, affine_matrix

Test = Literal["one-sample", "paired", "two-sample"]
GRID = ("z", "y", "x")
_KEPT = ("effect", "effect_variance")
_TOLERANCE_MM = 1e-3


def stack_maps(
    maps: Mapping[str, xr.Dataset], *, dim: str = "member", labels: Mapping[str, Mapping[str, str]] | None = None
) -> xr.Dataset:
    """Stack the effects of several maps along a new dimension.

    Parameters
    ----------
    maps
        Name -> Dataset with ``effect (..., z, y, x)`` and ``affine (world, index; mm)``; ``effect_variance`` is kept
        where all have it. Coupling maps have no effect: theirs is Fisher's z of ``statistic`` (r), whose variance is
        1. NumPy or Dask; lazy on Dask.
    dim
        Name of the new dimension, ``member`` or ``run``.
    labels
        Further coordinates of the new dimension: name -> (name of the map -> value), such as ``group``, ``subject``.

    Returns
    -------
    ``effect (dim, ..., z, y, x)`` float32, NaN where a map lacks a condition or a voxel; ``affine``, the names along
    ``dim``, and ``labels`` as coordinates.

    Raises
    ------
    InputError
        If there are no maps, or they lie on different grids or in different spaces.
    SchemaError
        If a map has neither ``effect`` nor correlations.

    References
    ----------
    Fisher (1921), Metron 1:3, for the transformation of r.
    """
    if not maps:
        raise InputError("at least one map must be given to be stacked, found none; run the line first")
    parts = {name: _effects(name, ds) for name, ds in maps.items()}
    affines = {name: affine_matrix(ds) for name, ds in maps.items()}
    first, *others = parts
    for name in others:
        check_same_grid((first, parts[first], affines[first]), (name, parts[name], affines[name]))
    common = [name for name in _KEPT if all(name in ds for ds in parts.values())]
    stacked: xr.Dataset = xr.concat(
        [ds[common] for ds in parts.values()], pd.Index(list(parts), name=dim), join="outer", coords="minimal",
        compat="override", combine_attrs="override", data_vars=common,
    )  # fmt: skip
    stacked = stacked.assign_coords(affine=maps[first]["affine"]).assign_attrs(parts[first].attrs)
    extra = {label: (dim, [table[name] for name in parts]) for label, table in (labels or {}).items()}
    return stacked.assign_coords(extra)


def _effects(name: str, ds: xr.Dataset) -> xr.Dataset:
    if "effect" in ds:
        kept = ds[[one for one in _KEPT if one in ds]]
    elif "statistic" in ds and "statistic_kind" in ds.coords and str(ds["statistic_kind"].values) == "r":
        z: xr.DataArray = xr.apply_ufunc(np.arctanh, ds["statistic"].clip(-0.999999, 0.999999), dask="allowed")
        kept = xr.Dataset({"effect": z.assign_attrs(units="1")})
    else:
        raise SchemaError(
            "stack_maps", [f"{name} must have an effect, or r as statistic, found {sorted(map(str, ds))}"]
        )
    foreign = [coordinate for coordinate in kept.coords if coordinate not in kept["effect"].dims]
    return kept.drop_vars(foreign).assign_attrs(space=ds.attrs.get("space", "native"))


Named = tuple[str, xr.Dataset, np.ndarray]


def check_same_grid(one: Named, other: Named) -> None:
    """Check that two maps or runs lie on one grid; ``Named`` is a name, a Dataset with the grid, and its affine.

    Raises
    ------
    InputError
        If they do not.
    """
    places = [(*(ds.sizes[axis] for axis in GRID), ds.attrs.get("space", "native")) for _, ds, _ in (one, other)]
    told = [f"{place[:-1]} in {place[-1]} for {name}" for place, (name, *_) in zip(places, (one, other), strict=True)]
    if places[0] != places[1] or not np.allclose(one[2], other[2], atol=_TOLERANCE_MM):
        raise InputError(
            f"maps must lie on one grid to be put together, found {told[0]} and {told[1]}, or different affines; run "
            "all with normalise.space MNI and one resolution"
        )


def fixed_effects(ds: xr.Dataset) -> xr.Dataset:
    """Combine runs of one member, each weighted by its precision.

    For one condition this is the model of the runs one after the other, in which each run keeps its own nuisance,
    autocorrelation and noise variance and they share the effect. A contrast of several conditions is combined as a
    whole, as nilearn and FSL do, instead of each of its conditions. A GLM of concatenated runs with one autocorrelation
    and one variance for all is what this replaces: it would let the noisiest run weigh as much as the others.

    Parameters
    ----------
    ds
        ``effect``, ``effect_variance (run, ..., z, y, x)``, as stacked by `stack_maps`. Without a variance, or at a
        voxel where it is NaN in all runs, as of the maps of EEG, all runs weigh the same. NaN where a run has
        no value. NumPy or Dask; lazy on Dask.

    Returns
    -------
    The Dataset without ``run``: ``effect`` the weighted mean over the runs that have a value, ``effect_variance``
    that of this mean, NaN where it is known of no run; both are NaN where no run has a value.

    Raises
    ------
    SchemaError
        If ``effect`` or its dimension ``run`` is missing.

    References
    ----------
    Worsley et al. (2002), NeuroImage 15:1, section on combining runs.
    """
    if "effect" not in ds or "run" not in ds["effect"].dims:
        found = ds["effect"].dims if "effect" in ds else sorted(map(str, ds))
        raise SchemaError("fixed_effects", [f"effect must have the dimension run, found {found}; use stack_maps"])
    effect, attrs = ds["effect"], ds["effect"].attrs
    if "effect_variance" not in ds:
        return ds.drop_dims("run").assign(effect=effect.mean("run", dtype=np.float64).astype(np.float32))
    weight: Any = (1 / ds["effect_variance"].astype(np.float64)).where(np.isfinite(effect))
    weight = weight.where(np.isfinite(weight))
    total = weight.sum("run").pipe(lambda one: one.where(one > 0))
    untold = ds["effect_variance"].isnull().all("run")
    mean = ((weight * effect).sum("run") / total).where(~untold, effect.mean("run", dtype=np.float64))
    combined = {
        "effect": mean.assign_attrs(attrs),
        "effect_variance": (1 / total).assign_attrs(ds["effect_variance"].attrs),
    }
    return ds.drop_dims("run").assign({name: values.astype(np.float32) for name, values in combined.items()})


def choose_members(
    ds: xr.Dataset, test: Test, levels: tuple[str, str] | None
) -> tuple[xr.DataArray, np.ndarray | None, list[str]]:
    """Find what a group test is about.

    Returns
    -------
    The effects (member, ...) that are tested, differences for a paired test; who is in the first of two groups
    (member,), None for the mean of one; the members' names.

    Raises
    ------
    InputError
        If there are too few members, a pair is not whole, or a group cannot be told.
    """
    effect, names = ds["effect"], [str(name) for name in ds["member"].values]
    if test == "one-sample":
        if len(names) < 3:
            raise InputError(f"a one-sample test needs at least 3 members, found {names}; run more sessions")
        return effect, None, names
    if "group" not in ds.coords:
        raise InputError(f"a {test} test needs the coordinate group (member), found none; give it to stack_maps")
    group = np.array([str(label) for label in ds["group"].values])
    first, second = levels or _two_levels(group)
    if test == "two-sample":
        taken = np.flatnonzero(np.isin(group, [first, second]))
        sizes = {label: int((group == label).sum()) for label in (first, second)}
        if min(sizes.values()) < 2:
            raise InputError(f"each group must have at least 2 members, found {sizes}; check the groups")
        return effect.isel(member=taken), group[taken] == first, [names[place] for place in taken]
    if "subject" not in ds.coords:
        raise InputError("a paired test needs the coordinate subject (member), found none; give it to stack_maps")
    return _differences(effect, group, np.array([str(who) for who in ds["subject"].values]), first, second)


def _two_levels(group: np.ndarray) -> tuple[str, str]:
    found = sorted({str(label) for label in group})
    if len(found) != 2:
        raise InputError(f"group must have two values, found {found}; name two of them as levels")
    return found[0], found[1]


def _differences(
    effect: xr.DataArray, group: np.ndarray, subject: np.ndarray, first: str, second: str
) -> tuple[xr.DataArray, None, list[str]]:
    places: list[tuple[int, int]] = []
    for who in sorted(set(subject)):
        pair = [np.flatnonzero((subject == who) & (group == level)) for level in (first, second)]
        if [len(one) for one in pair] == [1, 1]:
            places.append((int(pair[0][0]), int(pair[1][0])))
        elif any(len(one) for one in pair):
            found = f"{len(pair[0])} of {first} and {len(pair[1])} of {second}"
            raise InputError(f"a paired test needs one of each for subject {who}, found {found}; leave it out")
    if len(places) < 3:
        raise InputError(f"a paired test needs at least 3 subjects with {first} and {second}, found {len(places)}")
    one, other = (effect.isel(member=[place[side] for place in places]) for side in (0, 1))
    return one - other.assign_coords(member=one["member"]), None, [subject[place] for place, _ in places]
