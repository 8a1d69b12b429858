"""From maps to layers: an array on its own grid, where it lies in the world, and the threshold it is shown at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from scipy import ndimage
from zarr.codecs import ZstdCodec

from multimap_kernel.schema import SchemaError, affine_matrix, require
from multimap_kernel.view.boundary import Boundary, find_boundary

_GRID = ("z", "y", "x")


@dataclass(frozen=True)
class Layer:
    """One image of the viewer.

    Parameters
    ----------
    name
        Short name of letters, digits and ``-``; also the name of its array in `viewer_zarr`.
    title
        What a person reads: condition or band, modality, statistic.
    values : (x, y, z) float32
        The image; 0 where there is no value.
    affine : (4, 4) float64
        Index (x, y, z, 1) of a voxel's centre to RAS+ mm.
    kind
        ``grey`` for anatomy, ``heat`` for a signed statistic.
    statistic
        Kind of the statistic (``t``, ``z``, ``r``, ``delta_r2``), empty for anatomy.
    threshold
        A heat layer is transparent where ``|value| < threshold``.
    fdr_threshold
        Smallest ``|value|`` with ``q_fdr < alpha``; None if no voxel has it.
    limits
        Values of the first and the last colour; for a heat layer those of ``|value|``.
    space
        ``native`` or the name of the template.
    passes
        Whether any voxel has ``p_fwe < alpha``.
    alpha
        Error rate that the thresholds stand for, family-wise and of false discoveries.
    null
        How p was found, with the members of the null and the smallest p that they allow.
    note
        What must be said beside the picture.
    """

    name: str
    title: str
    values: np.ndarray
    affine: np.ndarray
    kind: Literal["grey", "heat"]
    statistic: str = ""
    threshold: float = 0.0
    fdr_threshold: float | None = None
    limits: tuple[float, float] = (0.0, 1.0)
    space: str = "native"
    passes: bool = False
    alpha: float = 0.05
    null: str = ""
    note: str = ""

    def at(self, world: np.ndarray, *, order: int = 0) -> np.ndarray:
        """Values at world positions (..., 3), mm: those of the nearest voxel, or linear (order 1); 0 outside."""
        inverse = np.linalg.inv(self.affine)
        index = np.moveaxis(world @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
        return np.asarray(ndimage.map_coordinates(self.values, index, order=order, cval=0.0))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of voxels along x, y and z."""
        return self.values.shape

    @property
    def legend(self) -> str:
        """Where the colours start, and why there."""
        level = f"{self.alpha:g}".lstrip("0")
        if self.passes:
            return f"|{self.statistic}| ≥ {self.threshold:.3g} (p_fwe < {level})"
        largest = float(np.abs(self.values).max(initial=0.0))
        return (
            f"nothing passes p_fwe < {level}: threshold |{self.statistic}| {self.threshold:.3g}, largest {largest:.3g}"
        )


def map_layers(
    maps: xr.Dataset | Sequence[xr.Dataset], *, anatomy: xr.Dataset | None = None, alpha: float = 0.05
) -> tuple[Layer, ...]:
    """Turn maps into layers of the viewer: anatomy first, then one per condition and modality, and per band.

    Parameters
    ----------
    maps
        Activation ``statistic, p_fwe (condition, modality, z, y, x)`` or coupling ``statistic, p_fwe (band, lag, z,
        y, x)``, each with ``affine`` (mm) and ``null_maximum``; one or several.
    anatomy
        ``anatomy (z, y, x)`` with its own ``affine``; drawn grey below the maps.
    alpha
        Family-wise error rate of the first view.

    Returns
    -------
    Layers, drawn in this order.

    Raises
    ------
    SchemaError
        If a Dataset is neither an activation nor a coupling map, or has no affine.
    """
    datasets = [maps] if isinstance(maps, xr.Dataset) else list(maps)
    layers = [] if anatomy is None else [_anatomy_layer(anatomy)]
    for ds in datasets:
        dims = ds["statistic"].dims if "statistic" in ds else ()
        if dims == ("condition", "modality", *_GRID) and "p_fwe" in ds:
            layers.extend(_activation_layers(ds, alpha))
        elif dims == ("band", "lag", *_GRID) and "p_fwe" in ds:
            layers.extend(_coupling_layers(ds, alpha))
        else:
            wanted = "statistic and p_fwe with dimensions (condition, modality, z, y, x) or (band, lag, z, y, x)"
            raise SchemaError("map_layers", [f"a map must have {wanted}, found {dict(ds.sizes)} in {list(ds)}"])
    return tuple(layers)


def _anatomy_layer(ds: xr.Dataset) -> Layer:
    require(ds, "anatomy", where="map_layers")
    values = _to_xyz(ds["anatomy"])
    inside = values[values != 0]
    low, high = np.percentile(inside if inside.size else values, [1, 99.5])
    low, high = min(0.0, float(low)), float(high) if high > low else float(low) + 1.0
    space = ds.attrs.get("space", "native")
    return Layer(
        "anatomy",
        "anatomy",
        values,
        affine_matrix(ds),
        "grey",
        limits=(low, high),
        space=space,
    )


def _activation_layers(ds: xr.Dataset, alpha: float) -> Iterator[Layer]:
    for condition in ds["condition"].values.tolist():
        for modality in ds["modality"].values.tolist():
            one = ds.sel(condition=condition, modality=modality)
            found = find_boundary(one, _null_of(one), alpha)
            yield _heat_layer(one, one["statistic"], ("activation", condition, modality), found, alpha=alpha)


def _coupling_layers(ds: xr.Dataset, alpha: float) -> Iterator[Layer]:
    # one family over voxels, channels, bands and lags: one threshold for all bands
    family = find_boundary(ds, _null_of(ds), alpha)
    for band in ds["band"].values.tolist():
        one = ds.sel(band=band)
        values = one["statistic"].values
        lag = np.abs(np.nan_to_num(values)).argmax(0)
        strongest = one["statistic"].isel(lag=0).copy(data=np.take_along_axis(values, lag[None], 0)[0])
        own = family._replace(passes=bool((one["p_fwe"].values < alpha).any()))
        at_peak = lag.ravel()[np.abs(np.nan_to_num(strongest.values)).argmax()]
        note = f"largest at lag {float(ds['lag'].values[at_peak]):g} s"
        yield _heat_layer(one, strongest, ("coupling", band), own, alpha=alpha, note=note)


def _heat_layer(
    ds: xr.Dataset, statistic: xr.DataArray, words: tuple[str, ...], found: Boundary, *, alpha: float, note: str = ""
) -> Layer:
    values = _to_xyz(statistic)
    kind = str(ds["statistic_kind"].values) if "statistic_kind" in ds.coords else ds.attrs.get("statistic_kind", "r")
    return Layer(
        name="-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(word)).strip("-") for word in words),
        title=f"{' · '.join(map(str, words[1:]))} ({words[0]}, {kind})",
        values=values,
        affine=affine_matrix(ds),
        kind="heat",
        statistic=kind,
        threshold=found.threshold,
        fdr_threshold=found.fdr_threshold,
        limits=(found.threshold, max(float(np.abs(values).max()), 1.25 * found.threshold)),
        space=ds.attrs.get("space", "native"),
        passes=found.passes,
        alpha=alpha,
        null=_null_words(ds),
        note=note,
    )


def _to_xyz(image: xr.DataArray) -> np.ndarray:
    """The viewer and NIfTI index x first; NaN becomes 0, which no threshold shows."""
    return np.ascontiguousarray(np.nan_to_num(image.transpose(*_GRID[::-1]).values.astype(np.float32)))


def _null_of(ds: xr.Dataset) -> np.ndarray:
    return np.asarray(ds["null_maximum"].values, np.float64).ravel() if "null_maximum" in ds else np.empty(0)


def _null_words(ds: xr.Dataset) -> str:
    if "null" not in ds.variables:
        return "unknown"
    told = json.loads(str(ds["null"].values))
    least = f", n = {told['n']}, p ≥ {told['smallest_p']:.2g}" if told.get("n") else ""
    return f"{told['method']}{least}"


def viewer_zarr(layers: Sequence[Layer], folder: str | Path) -> Path:
    """Write the layers for the viewer: a Zarr v3 group with one float32 array (x, y, z) each.

    Every chunk is written, also an empty one: the viewer takes a missing chunk for zeros, so a file lost
    on the way would look like a map without activation.

    Parameters
    ----------
    layers
        What `map_layers` gave.
    folder
        New folder; must not hold another store.

    Returns
    -------
    The folder. Attribute ``multimap`` of each array: ``affine``, ``space``, ``statistic_kind``, ``threshold``,
    ``fdr_threshold``, ``alpha``, ``passes``, ``limits``, ``title``, ``null``, ``note``.
    """
    group = zarr.create_group(store=Path(folder), zarr_format=3)
    for layer in layers:
        array = group.create_array(
            layer.name,
            shape=layer.values.shape,
            dtype="float32",
            chunks=tuple(min(64, size) for size in layer.values.shape),
            compressors=ZstdCodec(level=3),
            dimension_names=("x", "y", "z"),
            attributes={"multimap": _attributes(layer)},
            config={"write_empty_chunks": True},
        )
        array[...] = layer.values
    return Path(folder)


def _attributes(layer: Layer) -> dict[str, Any]:
    stored = {
        "affine": layer.affine.tolist(),
        "space": layer.space,
        "statistic_kind": layer.statistic,
        "threshold": layer.threshold,
        "fdr_threshold": layer.fdr_threshold,
        "alpha": layer.alpha,
        "passes": layer.passes,
        "limits": list(layer.limits),
        "title": layer.title,
        "null": layer.null,
        "note": "; ".join(filter(None, (layer.legend if layer.kind == "heat" else "", layer.note))),
    }
    return dict(json.loads(json.dumps(stored, allow_nan=False)))
