"""Places: the roots that links may name, which group owns each, and paths that cannot leave them."""

from __future__ import annotations

import getpass
import json
import os
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from multimap_kernel.schema import InputError

LOCAL = "local"
"""Name of the one place, and of its one group, on a machine without a hub."""
PLACES = "MULTIMAP_PLACES"
"""Environment variable: ``{"lab": {"url": "gs://bucket/lab", "groups": ["lab"]}}``."""
EVERYBODY = "*"
"""In the groups of each person whom the hub knows. No group of a hub that a link names can have this name."""
_PART = re.compile(r"[^\x00-\x1f\x7f\\/]+")


@dataclass(frozen=True)
class Place:
    """A root of the store, and whose it is.

    Parameters
    ----------
    url
        Any fsspec URL.
    groups
        Groups whose members may share what is in it; empty: those who may share in no other place.
    """

    url: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Location:
    """A file or folder that was found inside a place: its file system and its path there."""

    fs: Any
    path: str

    @property
    def url(self) -> str:
        """Path or URL for readers that open it themselves."""
        return self.path if isinstance(self.fs, LocalFileSystem) else str(self.fs.unstrip_protocol(self.path))


def configured_places(environment: Mapping[str, str] = os.environ) -> dict[str, Place]:
    """The places that the hub's configuration names; without one, the store of this machine.

    Raises
    ------
    InputError
        If the configuration is no JSON of that form.
    """
    text = environment.get(PLACES, "")
    if not text:
        return {LOCAL: Place(local_store(environment), frozenset({LOCAL}))}
    try:
        found = json.loads(text)
        return {str(name): Place(str(one["url"]), frozenset(one["groups"])) for name, one in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        form = '{"lab": {"url": "gs://bucket/lab", "groups": ["lab"]}}'
        raise InputError(f"{PLACES} must be JSON such as {form}, found {text!r} ({fault!r})") from fault


def local_store(environment: Mapping[str, str] = os.environ) -> str:
    """The store of this machine, as an address that does not change with the working directory."""
    store = environment.get("MULTIMAP_STORE", "multimap-store")
    return store if "://" in store else os.path.abspath(store)  # noqa: PTH100  # links inside it are resolved when read


def local_user() -> str:
    """Who owns links on a machine without a hub; a container may run as somebody without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def name_folder(url: str, places: Mapping[str, Place]) -> str:
    """The name that a record uses for a folder: ``<place>/<path>``.

    Raises
    ------
    InputError
        If the folder lies in no place.
    """
    address = url if "://" in url else os.path.abspath(url)  # noqa: PTH100
    for name, place in places.items():
        root = (place.url if "://" in place.url else os.path.abspath(place.url)).rstrip("/")  # noqa: PTH100
        if address.startswith(f"{root}/"):
            return f"{name}/{address[len(root) + 1 :].strip('/')}"
    raise InputError(f"{url} must lie in one of {', '.join(p.url for p in places.values())}: only these can be shared")


def may_share(folder: str, groups: Collection[str], places: Mapping[str, Place]) -> bool:
    """Whether a member of these groups may share a folder, by its name in a record.

    As with the teams of the chart: whoever is in no group of a place belongs to the first one that is for everybody.
    """
    own = [name for name, place in places.items() if not place.groups.isdisjoint(groups)]
    everybody = [name for name, place in places.items() if not place.groups][:1] if EVERYBODY in groups else []
    return folder.partition("/")[0] in (own or everybody)


def locate(folder: str, places: Mapping[str, Place], inside: str = "") -> Location | None:
    """Find a path inside a record's folder.

    Parameters
    ----------
    folder
        ``<place>/<path>`` of a record.
    places
        What the configuration names now.
    inside
        Path below the folder; empty for the folder.

    Returns
    -------
    Where it is; None for a path that is absolute, goes up, has an empty or odd part, names no place, or leaves the
    folder through a link of the file system.
    """
    name, _, path = folder.partition("/")
    parts = [*path.split("/"), *(inside.split("/") if inside else ())]
    if name not in places or not all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts):
        return None
    fs, root = fsspec.core.url_to_fs(places[name].url)
    top = posixpath.join(root.rstrip("/"), path)
    whole = posixpath.join(top, inside) if inside else top
    if isinstance(fs, LocalFileSystem):
        root, top, whole = (os.path.realpath(one) for one in (root, top, whole))
        if not (top.startswith(f"{root}/") and (whole == top or whole.startswith(f"{top}/"))):
            return None
    return Location(fs, whole)
