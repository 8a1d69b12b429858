"""The verbs of sharing: make a link to maps or to an executed notebook, list one's links, withdraw one."""

from __future__ import annotations

import json
import os
import posixpath
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import fsspec
import xarray as xr
from jupyter_server.serverapp import list_running_servers

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.schema import InputError, SchemaError, StorageError
from multimap_kernel.share.places import configured_places, local_store, local_user, name_folder
from multimap_kernel.share.records import RECORDS, Records, Share, new_share
from multimap_kernel.share.scene import save_scene
from multimap_kernel.view import embed
from multimap_kernel.view.layers import map_layers

SCENES = "shared"
"""Folder of shared layers in a store: a link holds a copy of its own, which no rerun and no ``gc`` changes."""
SERVICE = "MULTIMAP_LINKS"
"""Environment variable that a hub sets: address of its viewer service."""


@dataclass(frozen=True)
class Link:
    """A link, and what is known about it.

    Parameters
    ----------
    url
        What to send.
    identifier
        Its name in lists, by which it is withdrawn.
    title, users, groups, expires, revoked
        See `Share`.
    """

    url: str
    identifier: str
    title: str
    users: tuple[str, ...]
    groups: tuple[str, ...]
    expires: str
    revoked: str = ""

    def __str__(self) -> str:
        return self.url


def share(
    what: xr.Dataset | Sequence[xr.Dataset] | RunRecord,
    *,
    with_: Sequence[str] = (),
    expires: str = "30d",
    anatomy: xr.Dataset | None = None,
    title: str = "",
    store: str = "",
) -> Link:
    """Make a link that others open behind their own login, also when this kernel is gone.

    Parameters
    ----------
    what
        Maps as `map_layers` takes them, or the record of an executed notebook.
    with_
        Who may open it beside you: ``group:NAME`` or ``user:NAME``.
    expires
        How long it holds, such as ``30d`` or ``12h``; at most 366 days.
    anatomy
        ``anatomy (z, y, x)`` to draw below the maps.
    title
        What its page says it is.
    store
        Path or URL of the store that keeps the shared layers (default: ``$MULTIMAP_STORE``).

    Returns
    -------
    The link. The same maps with the same people give the same link, while it holds.

    Raises
    ------
    InputError
        If the folder lies outside of what you may share, or a name or the time is none.
    StorageError
        If the store or the hub's viewer service cannot be reached.
    """
    if isinstance(what, RunRecord):
        kind: Literal["maps", "run"] = "run"
        folder, title = what.folder, title or f"{what.run_id}, {what.session}"
    else:
        layers = map_layers(what, anatomy=anatomy)
        kind, title = "maps", title or ", ".join(one.title for one in layers if one.kind == "heat")
        folder = save_scene(layers, posixpath.join(local_store(_where(store)), SCENES))
    if not _is_served():
        raise InputError(f"links need the viewer service on a hub, found none ({SERVICE} is not set); ask who runs it")
    named = name_folder(folder, configured_places(_where(store)))
    if service := os.environ.get(SERVICE):
        asked = {"kind": kind, "folder": named, "with_": list(with_), "expires": expires, "title": title}
        return _from_service(_call(service, "POST", "shares", asked))
    made = new_share(owner=local_user(), kind=kind, folder=named, with_=with_, expires=expires, title=title)
    return _local(_records(store).add(made))


def show(
    maps: xr.Dataset | Sequence[xr.Dataset] = (),
    *,
    anatomy: xr.Dataset | None = None,
    link: str | None = None,
    with_: Sequence[str] = (),
    expires: str = "30d",
    **options: Any,
) -> embed.Shown:
    """Show maps over anatomy, with a link that stays when this kernel is gone.

    Parameters
    ----------
    maps, anatomy
        See `multimap_kernel.view.embed.show`.
    link
        Another durable address to show instead; ``""`` for none.
    with_, expires
        Who may open the link beside you, and how long; see `share`. Without ``with_`` a link is made on a hub, and
        elsewhere when the store of ``$MULTIMAP_STORE`` is there: a demonstration makes no store.
    **options
        ``series``, ``volumes``, ``picked``, ``port`` and ``backend`` of `multimap_kernel.view.embed.show`.

    Returns
    -------
    An object that a notebook displays.

    Raises
    ------
    SchemaError
        If a Dataset is not a map.
    InputError
        If the port is taken, the link is no web address, or ``with_`` or ``expires`` is none.
    """
    some = isinstance(maps, xr.Dataset) or len(maps) > 0
    if link is None and some and os.environ.get("MULTIMAP_STORE") and (with_ or _is_served()):
        try:
            if with_ or SERVICE in os.environ or _has_store():
                link = share(maps, with_=with_, expires=expires, anatomy=anatomy).url
        except SchemaError:
            raise
        except Exception as fault:
            if with_:  # asked for by name
                raise
            # whatever a store answers: maps are shown without a link as well
            warnings.warn(f"these maps have no link: {fault}", stacklevel=2)
    return embed.show(maps, anatomy=anatomy, link=link, **options)


def list_links(*, store: str = "") -> list[Link]:
    """All links that you made, the newest first, also those that are over; without a hub, those of a store."""
    if service := os.environ.get(SERVICE):
        return [_from_service(one) for one in _call(service, "GET", "shares")["shares"]]
    return [_local(one) for one in _records(store).of(local_user())]


def live_folders(*, store: str = "") -> frozenset[str]:
    """Folders, by their names in records, that links of anybody still open, as far as you may share there."""
    if service := os.environ.get(SERVICE):
        return frozenset(_call(service, "GET", "shares")["live"])
    return _records(store).live_folders()


def revoke_link(identifier: str, *, store: str = "") -> Link:
    """Withdraw a link of yours; nobody can read through it 10 s later.

    Raises
    ------
    InputError
        If you have no link of that name.
    """
    if service := os.environ.get(SERVICE):
        return _from_service(_call(service, "DELETE", f"shares/{identifier}"))
    return _local(_records(store).revoke(identifier, owner=local_user()))


def _is_served() -> bool:
    """Whether something serves links here: the service of this hub, or the Lab of a machine without one."""
    return SERVICE in os.environ or "JUPYTERHUB_API_URL" not in os.environ


def _has_store() -> bool:
    """Whether the store of this environment is there; a link of maps that were only looked at never makes one."""
    files, root = fsspec.core.url_to_fs(local_store(os.environ))
    return bool(files.exists(root))


def _where(store: str) -> Mapping[str, str]:
    return {**os.environ, "MULTIMAP_STORE": store} if store else os.environ


def _records(store: str) -> Records:
    return Records(posixpath.join(local_store(_where(store)), RECORDS))


def _local(one: Share) -> Link:
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _running_server()
    url = f"{prefix}multimap/s/{one.token}"
    return Link(url, one.identifier, one.title, one.users, one.groups, one.expires, one.revoked)


def _running_server() -> str:
    """Where a browser finds the Lab of this machine: a path inside a notebook, else the address of the first one."""
    parent, servers = os.environ.get("JPY_PARENT_PID", ""), list(list_running_servers())
    for one in servers:
        if parent and str(one["pid"]) == parent:
            return str(one["base_url"])
    return "/" if parent or not servers else str(servers[0]["url"])


def _from_service(told: dict[str, Any]) -> Link:
    url = posixpath.join(os.environ.get("MULTIMAP_PUBLIC_URL", ""), told["link"].lstrip("/"))
    return Link(
        url=url if "://" in url else told["link"],
        identifier=told["identifier"],
        title=told["title"],
        users=tuple(told["users"]),
        groups=tuple(told["groups"]),
        expires=told["expires"],
        revoked=told["revoked"],
    )


def _call(service: str, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the viewer service as this user."""
    body = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": f"token {os.environ.get('JUPYTERHUB_API_TOKEN', '')}"}
    address = posixpath.join(service, path)
    try:
        asked = urllib.request.Request(address, body, headers, method=method)  # noqa: S310  # the hub gave the address
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as fault:
        with fault:
            told = fault.read().decode(errors="replace")
        raise InputError(_message(told) or f"{address} answered {fault.code}") from fault
    except OSError as fault:
        raise StorageError(f"{address} must answer, found: {fault}; is the viewer service running?") from fault


def _message(told: str) -> str:
    try:
        return str(json.loads(told)["message"])
    except (ValueError, KeyError, TypeError):
        return ""
