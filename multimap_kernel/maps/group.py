"""Group maps: what members have in common, or where two groups differ, each voxel judged by the largest of all."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from multimap_kernel.maps.blocks import Array, Shape, array, as_text, call, is_lazy, per_block
from multimap_kernel.maps.clusters import beyond, height_of
from multimap_kernel.maps.clusters import cluster_p as largest_cluster_p
from multimap_kernel.maps.flips import count_flips, count_labellings, relabellings, sign_flips
from multimap_kernel.maps.inference import describe_null, false_discovery_rate, family_wise_p, pooled_p
from multimap_kernel.maps.members import GRID, Test, choose_members
from multimap_kernel.maps.shifts import BINS, reduce_strongest
from multimap_kernel.schema import InputError, SchemaError, annotate

_TOGETHER = 1024  # voxels in one product: 1 000 members of the null x 1 024 floats are 4 MB
_METHODS = {
    "one-sample": "sign flips of the members",
    "paired": "sign flips of the differences",
    "two-sample": "members shared out to the two groups anew",
}


def group_map(
    ds: xr.Dataset,
    *,
    test: Test = "one-sample",
    levels: tuple[str, str] | None = None,
    permutations: int = 999,
    coverage: float = 1.0,
    family: tuple[str, ...] = (),
    cluster_p: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Map what members of a study have in common, or where two groups of them differ.

    ``one-sample``: t of the mean against 0. ``paired``: the same of the difference of two measurements of each
    subject. ``two-sample``: t of the difference of two groups of equal variance. Members are the random effect: their
    own variance enters through the scatter between them. The null flips the signs of members (of differences), or
    shares members out anew; it needs errors that are symmetrical (or equally distributed in both groups) and nothing
    else, and keeps all correlation between voxels.

    Parameters
    ----------
    ds
        ``effect (member, ..., z, y, x)``, NaN where a member has no voxel, with ``affine (world, index; mm)``, as
        made by `stack_maps`; ``group (member)`` for ``paired`` and ``two-sample``, ``subject (member)`` for
        ``paired``. NumPy or Dask; a lazy Dataset is not computed, but for these two coordinates.
    test
        Which test.
    levels
        The two values of ``group`` whose difference, first minus second, is tested; the two that there are, sorted,
        if not given. Other members are left out.
    permutations
        Largest number of members of the null; few members of the study have fewer (8 have 127 sign flips).
    coverage
        Share of the members that a voxel must have to be tested; 1 is all of them.
    family
        Dimensions whose maps are one family with the voxels, such as ``band`` and ``lag``; every other map is a family
        of its own.
    cluster_p
        Uncorrected p beyond which voxels that touch are a cluster, such as .001; adds ``p_cluster``. Holds (1 + member,
        voxel) signs of each map, one byte each.
    seed
        Of the draw, where there are more members of the null than are taken.

    Returns
    -------
    ``statistic`` (t), ``effect`` (mean, or difference of means, in units of the input), ``p_fwe``, ``q_fdr (..., z, y,
    x)`` float32, NaN where not tested; if asked for, ``p_cluster`` of the same form: p of the cluster that the voxel
    belongs to, by the largest of the family, 1 where it belongs to none; ``n (..., z, y, x)`` int16: members (pairs)
    that have the voxel; ``mask (z, y, x)``: tested in any map; ``null_maximum (..., permutation)``: the largest ``|t|``
    of each, without the dimensions of ``family``; coordinates ``statistic_kind``, ``null`` and ``affine``; attribute
    ``members``.

    Raises
    ------
    SchemaError
        If ``effect`` is missing or has the wrong form.
    InputError
        If there are too few members, two have the same name, a pair is not whole, a group cannot be told, or members
        lack some maps of a family; the last on Dask when computed.

    References
    ----------
    Nichols & Holmes (2002), Hum Brain Mapp 15:1. Winkler et al. (2014), NeuroImage 92:381. Phipson & Smyth (2010),
    Stat Appl Genet Mol Biol 9:39.
    """
    _check(ds, coverage, permutations, family)
    effect, is_first, names = choose_members(ds, test, levels)
    lazy, shape = is_lazy(ds, "effect"), effect.shape[1:-3]
    maps, voxels = int(np.prod(shape, dtype=int)), int(np.prod(effect.shape[-3:]))
    families = _families(effect, family)
    values = effect.data.reshape(effect.shape[0], maps, voxels)
    members = min(permutations, _distinct(is_first, effect.sizes["member"]))
    present = (da if lazy else np).isfinite(values).any(axis=2)
    plan = call(lazy, _plan, present, families, is_first, permutations, coverage, seed, cluster_p)
    gives: dict[str, Shape] = dict.fromkeys(("r", "effect"), ((maps,), np.float32))
    gives |= {"n": ((maps,), np.int16), "maximum_block": ((maps, members), np.float32)}
    gives["counts_block"] = ((maps, BINS), np.int64)
    if cluster_p is not None:
        gives["signs"] = ((maps, 1 + members), np.int8)
    got = per_block(lazy, _test_block, values, plan, members, gives=gives)
    maximum, counts = got["maximum_block"].max(axis=-1), got["counts_block"].sum(axis=-1)
    judged = call(lazy, _judge, got["r"], maximum, counts, plan)
    shapes = dict.fromkeys(("statistic", "p_fwe", "q_fdr"), (maps, voxels))
    shapes["null_maximum"] = (families.max() + 1, members)
    out = {name: array(judged[name], each, np.float32) for name, each in shapes.items()}
    out |= {"effect": got["effect"], "n": got["n"]}
    if cluster_p is not None:
        judged = call(lazy, _cluster_p, got["signs"], got["r"], effect.shape[-3:], families)
        out["p_cluster"] = array(judged, (maps, voxels), np.float32)
    null = as_text(call(lazy, _describe, maximum, test, family, seed))
    return _dataset(ds, effect, out, family, null, names)


def _check(ds: xr.Dataset, coverage: float, permutations: int, family: tuple[str, ...]) -> None:
    faults = []
    if "effect" not in ds:
        faults.append(f"effect (member, ..., z, y, x) must be there, found {sorted(map(str, ds))}; use stack_maps")
    elif ds["effect"].dims[0] != "member" or ds["effect"].dims[-3:] != GRID:
        faults.append(f"effect must have dimensions (member, ..., z, y, x), found {ds['effect'].dims}; use stack_maps")
    if "affine" not in ds.variables:
        faults.append("affine (world, index; mm) must be there; take maps of one grid")
    if "member" not in ds.coords:
        faults.append("member must name its members, found no coordinate; use stack_maps")
    elif unknown := [dim for dim in family if dim not in ds["effect"].dims[1:-3]]:
        faults.append(f"family must name dimensions of effect between member and z, found {unknown}")
    if faults:
        raise SchemaError("group_map", faults)
    names = [str(name) for name in ds["member"].values]
    if len(set(names)) < len(names):
        raise InputError(f"members must have different names, found {names}; combine runs with fixed_effects first")
    if not 0 < coverage <= 1 or permutations < 1:
        raise InputError(
            f"coverage must lie in (0, 1] and permutations be 1 or more, found {coverage} and {permutations}"
        )


def _families(effect: xr.DataArray, family: tuple[str, ...]) -> np.ndarray:
    """Number of the family that each map belongs to (map,)."""
    sizes = effect.shape[1:-3]
    own = [1 if dim in family else size for dim, size in zip(effect.dims[1:-3], sizes, strict=True)]
    return np.broadcast_to(np.arange(int(np.prod(own, dtype=int))).reshape(own), sizes).ravel()


def _distinct(is_first: np.ndarray | None, members: int) -> int:
    if is_first is None:
        return count_flips(members)
    return count_labellings(int(is_first.sum()), int((~is_first).sum()))


@dataclass(frozen=True)
class _Plan:
    """For each map: rows of the null (1 + permutation, member), the real one first; members that a voxel needs; the
    correlation from which on a voxel belongs to a cluster (map,), infinite if none is asked for.
    """

    rows: list[np.ndarray]
    needed: list[int]
    families: np.ndarray
    is_first: np.ndarray | None
    degrees: np.ndarray
    heights: np.ndarray

    @property
    def estimated(self) -> int:
        """Means that are estimated, and cost a degree of freedom each."""
        return 1 if self.is_first is None else 2


def _plan(
    present: np.ndarray,
    families: np.ndarray,
    is_first: np.ndarray | None,
    permutations: int,
    coverage: float,
    seed: int,
    cluster_p: float | None,
) -> _Plan:
    """A member that lacks a map altogether has no part in its null; ``present`` is (member, map)."""
    if any(
        (present[:, families == one].any(axis=1) != present[:, families == one].all(axis=1)).any() for one in families
    ):
        raise InputError("members must have all maps of a family, found some that lack a part; leave these members out")
    rows, needed, degrees = [], [], []
    estimated = 1 if is_first is None else 2
    for one in np.asarray(present, bool).T:
        there = np.flatnonzero(one)
        if is_first is None and len(there) >= 3:
            made = sign_flips(len(there), permutations, seed)
        elif is_first is not None and min(is_first[there].sum(), (~is_first[there]).sum()) >= 2:
            made = relabellings(is_first[there], permutations, seed)
        else:
            made = np.zeros((1, 0), np.float32)
        full = np.zeros((len(made), len(one)), np.float32)
        full[:, there[: made.shape[1]]] = made
        rows.append(full)
        needed.append(max(int(np.ceil(coverage * len(there) - 1e-9)), 3) if made.size else len(one) + 1)
        degrees.append(max(len(there) - estimated, 1))
    heights = np.array([height_of(cluster_p, own) if cluster_p else np.inf for own in degrees])
    return _Plan(rows, needed, families, is_first, np.array(degrees)[:, None], heights)


def _test_block(values: np.ndarray, plan: _Plan, members: int) -> dict[str, np.ndarray]:
    """All maps of one block (member, map, voxel)."""
    maps, voxels = values.shape[1:]
    got = {name: np.full((maps, voxels), np.nan, np.float32) for name in ("r", "effect")}
    got["n"] = np.isfinite(values).sum(axis=0).astype(np.int16)
    got["maximum_block"] = np.full((maps, members, 1), np.nan, np.float32)
    got["counts_block"] = np.zeros((maps, BINS, 1), np.int64)
    got["signs"] = np.zeros((maps, 1 + members if np.isfinite(plan.heights).any() else 0, voxels), np.int8)
    for number, rows in enumerate(plan.rows):
        maximum = np.zeros(len(rows) - 1, np.float32)
        columns = np.flatnonzero(_testable(values[:, number], plan, number))
        for first in range(0, columns.size, _TOGETHER):
            part = columns[first : first + _TOGETHER]
            r, effect = _correlations(values[:, number, part], rows, plan, int(plan.degrees[number, 0]))
            best, chosen = np.full(part.size, np.nan, np.float32), np.full(part.size, -1, np.int16)
            reduce_strongest(r[None], best, chosen, maximum, got["counts_block"][number, :, 0])
            got["r"][number, part], got["effect"][number, part] = best, effect
            if got["signs"].size:
                got["signs"][number, : len(rows), part] = beyond(r, plan.heights[number]).T
        got["maximum_block"][number, : maximum.size, 0] = maximum
    return got


def _testable(values: np.ndarray, plan: _Plan, number: int) -> np.ndarray:
    """Voxels (voxel,) that enough members have, at least two of each group."""
    has = np.isfinite(values)
    enough: np.ndarray = has.sum(axis=0) >= plan.needed[number]
    if plan.is_first is not None:
        enough &= (has[plan.is_first].sum(axis=0) >= 2) & (has[~plan.is_first].sum(axis=0) >= 2)
    return enough


def _correlations(values: np.ndarray, rows: np.ndarray, plan: _Plan, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each row with the values (member, voxel), and the effect (voxel,).

    A t of one mean, or of the difference of two, is a correlation with the signs, or with the centred labels. In a
    voxel that some members lack, it is the correlation that gives the same t with all degrees of freedom, so that all
    voxels of a family are compared by t.
    """
    has = np.isfinite(values)
    n = has.sum(axis=0)
    filled = np.where(has, values, 0.0).astype(np.float64)
    if plan.is_first is None:
        effect, spread = filled.sum(axis=0) / n, np.sqrt(n)[None]
    else:
        one, other = (np.where(side[:, None], filled, 0).sum(axis=0) / (has & side[:, None]).sum(axis=0)
                      for side in (plan.is_first, ~plan.is_first))  # fmt: skip
        effect = one - other
        filled -= np.where(has, filled.sum(axis=0) / n, 0.0)
        share = rows @ has.astype(np.float32)
        spread = np.sqrt(np.maximum(share - share**2 / n, 0))
    length = np.sqrt(np.einsum("ij,ij->j", filled, filled))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = rows @ (filled / np.where(length > 0, length, np.nan)).astype(np.float32)
        r = np.clip(r / np.where(spread > 0, spread, np.nan), -1, 1)
        own = n - plan.estimated
        if np.any(own != degrees):
            squared = r**2 * own / np.maximum(1 - r**2, 1e-7)
            r = np.sign(r) * np.sqrt(squared / (squared + degrees))
    return np.asarray(r, np.float32), effect


def _judge(r: np.ndarray, maximum: np.ndarray, counts: np.ndarray, plan: _Plan) -> dict[str, np.ndarray]:
    """p, q and t (map, voxel) of correlations; all within a family have the same freedom."""
    p, q, null = np.empty_like(r), np.empty_like(r), []
    for family in range(int(plan.families.max()) + 1):
        own = plan.families == family
        null.append(maximum[own].max(axis=0))
        p[own] = family_wise_p(r[own], null[-1])
        q[own] = false_discovery_rate(pooled_p(r[own].ravel(), counts[own].sum(axis=0))).reshape(r[own].shape)
    first = [int(np.argmax(plan.families == family)) for family in range(len(null))]
    return {
        "statistic": _t(r, plan.degrees),
        "null_maximum": _t(np.array(null), plan.degrees[first]),
        "p_fwe": p,
        "q_fdr": q,
    }


def _cluster_p(signs: np.ndarray, r: np.ndarray, grid: tuple[int, ...], families: np.ndarray) -> np.ndarray:
    """P (map, voxel) of clusters on the whole grid, NaN where not tested; maps of a family share their largest."""
    p, everywhere = np.empty_like(r), np.ones(grid, bool)
    for family in range(int(families.max()) + 1):
        own = families == family
        p[own] = largest_cluster_p(signs[own], everywhere)[0]
    return np.where(np.isnan(r), np.nan, p)


def _t(r: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    return np.asarray(r * np.sqrt(degrees / np.maximum(1 - r.astype(np.float64) ** 2, 1e-12)))


def _describe(maximum: np.ndarray, test: Test, family: tuple[str, ...], seed: int) -> str:
    words = ", ".join(["largest |t| over voxels", *(f"{dim}s" for dim in family)])
    return describe_null(f"{words}; {_METHODS[test]}", int(np.isfinite(maximum).sum(axis=1).min()), seed)


def _dataset(
    ds: xr.Dataset,
    effect: xr.DataArray,
    maps: dict[str, Array],
    family: tuple[str, ...],
    null: Array,
    names: list[str],
) -> xr.Dataset:
    dims = [str(dim) for dim in effect.dims[1:-3]]
    shape = effect.shape[1:]
    out = xr.Dataset(attrs={"space": ds.attrs.get("space", "native"), "members": names})
    known = ("statistic", "effect", "p_fwe", "q_fdr", "p_cluster", "n")
    for name in (name for name in known if name in maps):
        out[name] = annotate(xr.DataArray(maps[name].reshape(shape), dims=(*dims, *GRID)), name)
    out["effect"].attrs["units"] = effect.attrs.get("units", "1")
    out["mask"] = annotate(out["statistic"].notnull().any(dims), "mask")
    own = [dim for dim in dims if dim not in family]
    null_maximum = maps["null_maximum"].reshape(*(effect.sizes[dim] for dim in own), -1)
    out["null_maximum"] = xr.DataArray(null_maximum, dims=(*own, "permutation"), attrs={"units": "1"})
    kept = {dim: effect[dim] for dim in dims if dim in effect.coords}
    return out.assign_coords(kept).assign_coords(affine=ds["affine"], statistic_kind="t", null=((), null))
