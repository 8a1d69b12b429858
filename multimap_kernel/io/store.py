"""The store: results that are written once, found by their key, and never read half-written.

``<root>/<study>/<place>/<key>/`` holds ``commit.json`` and the folder of data that it names. Every writer makes a
folder of its own; the commit record is created last and exclusively. Who loses that race throws its copy away and
reads the winner's, so two runs at once do not harm each other on any file system.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import posixpath
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning

from multimap_kernel.schema import StorageError, regular_time, sampling

COMMIT = "commit.json"
CODEC = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")  # smallest and quickest of 14 on BOLD
CHUNKS: dict[str, tuple[int, ...]] = {  # what one read brings; -1 is the whole axis
    "bold": (8, -1, -1, -1),
    "count": (8, 65_536),
    "eeg": (-1, 16_384),
    "overview": (-1, 4_096, -1),
    "series": (-1, 4_096),
    "prediction": (-1, 4_096),
}
SHARDS: dict[str, tuple[int, ...]] = {  # what one task writes, as one object
    "bold": (64, -1, -1, -1),
    "count": (-1, 524_288),
    "eeg": (-1, 524_288),
    "overview": (-1, 131_072, -1),
    "series": (-1, 65_536),
    "prediction": (-1, 65_536),
}
SHARD_BYTES = 1 << 26  # at most, before compression
SMALL_BYTES = 1 << 16  # tables and coordinates of this size are read when a result is opened, not lazily

Json = Any


@dataclass(frozen=True)
class Product:
    """What a step gives: Datasets by name, values as JSON by name, and files that it writes into a folder itself.

    Parameters
    ----------
    datasets
        Each becomes one Zarr group; ``""`` is the root group.
    values
        Plain JSON, kept in the commit record.
    files
        Called with the URL of the data folder.
    """

    datasets: Mapping[str, xr.Dataset] = field(default_factory=dict)
    values: Mapping[str, Json] = field(default_factory=dict)
    files: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Store:
    """One study in one place.

    Parameters
    ----------
    root
        Any fsspec URL or path.
    study
        Name of the study: a folder under the root.
    """

    root: str
    study: str

    def url(self, *parts: str) -> str:
        """Address of something inside the study."""
        return posixpath.join(str(self.root).rstrip("/"), self.study, *parts)

    def write(self, place: str, key: str, product: Product, record: Mapping[str, Json]) -> dict[str, Json]:
        """Write a step's product under its key and commit it.

        Parameters
        ----------
        place
            Folder of the step inside the study, such as ``sub-01/task-rest/align``.
        key
            Content key of the product.
        product
            Datasets may be lazy; they are computed here, whole shards at a time.
        record
            Provenance, stored with the commit.

        Returns
        -------
        The commit record that is valid now: this one, or that of the writer who was first.

        Raises
        ------
        StorageError
            If the store cannot be written.
        """
        data = f"data-{uuid.uuid4().hex}"
        folder = self.url(place, key, data)
        try:
            for name, ds in product.datasets.items():
                _write_group(ds, folder, name)
            if product.files is not None:
                product.files(folder)
            commit = {**record, "key": key, "data": data, "groups": list(product.datasets), "values": product.values}
            commit["objects"] = _count(folder)
            if create_exclusive(self.url(place, key, COMMIT), canonical(commit)):
                return commit
            valid = self.commit(place, key) or commit
            if valid["data"] != data:  # equal when the store had created it already and lost the answer
                remove(folder)
        except OSError as fault:
            raise StorageError(f"{folder} must be writable, found: {fault}; check space and rights") from fault
        return valid

    def commit(self, place: str, key: str) -> dict[str, Json] | None:
        """The commit record of a key, or None if that key was never finished."""
        return read_json(self.url(place, key, COMMIT))

    def open(self, place: str, key: str, *, chunked: bool = True) -> dict[str, xr.Dataset]:
        """Open a committed product: its Datasets by name, lazily.

        Parameters
        ----------
        place, key
            Where the product is.
        chunked
            On Dask; if not, each access reads what it asks for in this process, whatever cluster there is.

        Raises
        ------
        StorageError
            If the key was never committed, or an object of it is gone: Zarr would read it as 0 or NaN.
        """
        commit = self.commit(place, key)
        if commit is None:
            raise StorageError(f"{self.url(place, key)} must hold a finished result, found none; run its step first")
        folder = self.url(place, key, commit["data"])
        objects = commit.get("objects")
        if objects is not None and (found := _count(folder)) < objects:
            raise StorageError(
                f"{folder} must hold the {objects} objects that were written, found {found}; bring them back, or "
                f"remove {self.url(place, key)}, and run its step again"
            )
        return {name: _open_group(folder, name, {} if chunked else None) for name in commit["groups"]}

    def folder(self, place: str, key: str) -> str:
        """URL of the committed data folder of a key."""
        commit = self.commit(place, key)
        if commit is None:
            raise StorageError(f"{self.url(place, key)} must hold a finished result, found none; run its step first")
        return self.url(place, key, commit["data"])


def _count(folder: str) -> int:
    """Number of objects in a folder, asked of the store and not of a listing that was kept."""
    fs, path = fsspec.core.url_to_fs(folder)
    fs.invalidate_cache(path)
    return len(fs.find(path))


def _write_group(ds: xr.Dataset, folder: str, name: str) -> None:
    ds = ds.drop_encoding()
    if isinstance(ds.xindexes.get("time"), xr.indexes.RangeIndex):
        start, frequency, count = sampling(ds)
        ds = ds.drop_vars("time").assign_attrs(time_start=start, time_frequency=frequency, time_samples=count)
    encoding: dict[str, dict[str, Any]] = {}
    for variable, array in ds.variables.items():
        if array.dtype.kind in "fiub" and array.ndim:
            shard = _grid(array.shape, SHARDS.get(str(variable), (-1,) * array.ndim))
            chunk = _grid(array.shape, CHUNKS.get(str(variable), (-1,) * array.ndim))
            shard = _bounded(
                tuple(-(-s // c) * c for s, c in zip(shard, chunk, strict=True)), chunk, array.dtype.itemsize
            )
            encoding[str(variable)] = {"chunks": chunk, "shards": shard, "compressors": [CODEC]}
            if array.chunks is not None:
                ds[variable] = ds[variable].chunk(dict(zip(array.dims, shard, strict=True)))
    with warnings.catch_warnings():
        # Text arrays work in zarr-python, xarray and Neuroglancer; only their entry in the specification is pending.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        warnings.simplefilter("ignore", ZarrUserWarning)
        ds.to_zarr(folder, group=name or None, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)


def _grid(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(1, n if w == -1 else min(n, w)) for n, w in zip(shape, wanted, strict=True))


def _bounded(shard: tuple[int, ...], chunk: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Halve a shard along its longest row of chunks until a worker can hold several of it."""
    while math.prod(shard) * itemsize > SHARD_BYTES and shard != chunk:
        counts = [s // c for s, c in zip(shard, chunk, strict=True)]
        axis = counts.index(max(counts))
        halved = -(-counts[axis] // 2) * chunk[axis]
        shard = (*shard[:axis], halved, *shard[axis + 1 :])
    return shard


def _open_group(folder: str, name: str, chunks: dict[str, int] | None) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        ds: xr.Dataset = xr.open_zarr(folder, group=name or None, consolidated=False, chunks=chunks)
    small = [name for name, array in ds.variables.items() if array.nbytes <= SMALL_BYTES]
    ds = ds.assign({name: ds[name].load() for name in small if name not in ds.coords}).assign_coords(
        {name: ds[name].load() for name in small if name in ds.coords}
    )
    if "time_frequency" in ds.attrs:
        attrs = dict(ds.attrs)
        axis = regular_time(attrs.pop("time_start"), attrs.pop("time_frequency"), attrs.pop("time_samples"))
        ds = ds.assign_coords(axis)
        ds.attrs = attrs
    return ds


def digest(datasets: Mapping[str, xr.Dataset]) -> str:
    """Hash of a result: sha256 over name, dtype, shape, attributes and bytes of all arrays.

    Two results are the same when their digests are equal; provenance stays in the commit record and does not enter.
    """
    total = hashlib.sha256()
    for name, ds in sorted(datasets.items()):
        total.update(canonical([name, {str(k): v for k, v in ds.attrs.items()}]))
        for variable in sorted(map(str, ds.variables)):
            values = np.ascontiguousarray(ds[variable].values)
            text = values.dtype.kind in "OTU"
            total.update(canonical([variable, "text" if text else values.dtype.str, values.shape, ds[variable].attrs]))
            total.update(canonical(values.tolist()) if text else values.tobytes())
    return total.hexdigest()


def _plain(item: Any) -> Json:
    if isinstance(item, np.generic | np.ndarray):
        return item.tolist()
    raise TypeError(f"{type(item).__name__} cannot be stored as JSON")


def canonical(stored: Json) -> bytes:
    """Canonical JSON: sorted keys, no spaces; what keys are hashed from."""
    return json.dumps(stored, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def read_json(url: str, within_s: float = 0.0) -> dict[str, Json] | None:
    """Read a JSON file of the store, None if it is not there; ``within_s`` as in `limit`."""
    fs, path = fsspec.core.url_to_fs(url)
    try:
        loaded = json.loads(fs.cat_file(path, **limit(fs, within_s)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise StorageError(f"{url} must be readable JSON, found: {fault!r}") from fault
    return dict(loaded)


def limit(fs: fsspec.AbstractFileSystem, within_s: float) -> dict[str, float]:
    """What to add to a call so that it raises TimeoutError after ``within_s`` seconds; 0 is as long as it takes.

    A client of an object store that stays away asks again by itself, for half a minute or more. A file system that is
    not asynchronous cannot be cut short.
    """
    return {"timeout": within_s} if within_s and fs.async_impl else {}


def create_exclusive(url: str, content: bytes) -> bool:
    """Create a file whole, unless it exists; True if this call made it."""
    fs, path = fsspec.core.url_to_fs(url)
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        try:
            fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True
    fs.makedirs(fs._parent(path), exist_ok=True)  # noqa: SLF001  # fsspec's only way to a parent on any system
    temporary = f"{path}.{uuid.uuid4().hex}"
    fs.pipe_file(temporary, content)
    try:
        os.link(temporary, path)  # a rename would replace, an exclusive open would show a half-written file
    except FileExistsError:
        return False
    finally:
        fs.rm_file(temporary)
    return True


def replace(url: str, content: bytes, within_s: float = 0.0) -> None:
    """Write a small file whole, over what was there; ``within_s`` as in `limit`."""
    fs, path = fsspec.core.url_to_fs(url)
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        fs.pipe_file(path, content, **limit(fs, within_s))
        return
    fs.makedirs(fs._parent(path), exist_ok=True)  # noqa: SLF001
    temporary = f"{path}.{uuid.uuid4().hex}"
    fs.pipe_file(temporary, content)
    os.replace(temporary, path)  # noqa: PTH105  # the path is fsspec's, a plain string


def remove(url: str) -> None:
    """Remove a folder of the store with all it holds; nothing happens if it is not there."""
    fs, path = fsspec.core.url_to_fs(url)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def walk_keys(store: Store) -> Iterator[tuple[str, str]]:
    """Every ``(place, key)`` folder of a study, committed or not."""
    fs, base = fsspec.core.url_to_fs(store.url())
    for folder, names, files in fs.walk(base, detail=True):  # with detail, so that data need not be walked through
        if COMMIT in files or any(name.startswith("data-") for name in names):
            place, key = posixpath.split(posixpath.relpath(folder, base))
            yield place, key
            names.clear()
