"""Share records: what a link names, who may open it, until when.

``<records>/<name>.json`` is one share, where the name is a hash of the link's own secret. Withdrawing one rewrites its
record; nothing else does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import posixpath
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import fsspec

from multimap_kernel.io.store import canonical, create_exclusive, read_json, replace
from multimap_kernel.schema import InputError, StorageError

RECORDS = "shares"
"""Folder of records in the store of a machine without a hub; a hub keeps them where users cannot write."""
LONGEST = timedelta(days=366)
"""No link is for ever: who still needs it makes a new one, and somebody looks at the list once a year."""
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@ -]{0,99}")  # of users and groups
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Share:
    """One link.

    Parameters
    ----------
    token
        128 random bits that the link ends with. It names the share and opens nothing without a login.
    owner
        Who made it.
    kind
        ``maps``: a folder of `multimap_kernel.share.scene`; ``run``: the folder of an executed notebook.
    folder
        The only folder that it may read: ``<place>/<path inside that place>``.
    users, groups
        Who may open it beside the owner.
    title
        What the page says it is.
    created, expires, revoked
        UTC, ISO 8601; revoked is empty while it holds.
    """

    token: str = field(repr=False)
    owner: str
    kind: Literal["maps", "run"]
    folder: str
    users: tuple[str, ...]
    groups: tuple[str, ...]
    title: str
    created: str
    expires: str
    revoked: str = ""

    @property
    def identifier(self) -> str:
        """Short name for lists and logs; the token cannot be found from it."""
        return _file_name(self.token)[:12]

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return datetime.now(UTC) >= datetime.fromisoformat(self.expires)

    @property
    def live(self) -> bool:
        """Whether it is neither withdrawn nor expired."""
        return not self.revoked and not self.expired

    def same_as(self, other: Share) -> bool:
        """Whether both let the same people read the same thing."""
        alike = ("owner", "kind", "folder", "users", "groups")
        return all(getattr(self, name) == getattr(other, name) for name in alike)


@dataclass(frozen=True)
class Records:
    """A folder of share records.

    Parameters
    ----------
    url
        Path or URL. On a hub nobody but the service may write there: who writes a record decides whose it is.
    """

    url: str

    def add(self, share: Share) -> Share:
        """Store a share; if its owner has the same one already and it lasts half as long or more, give that one."""
        until = datetime.fromisoformat(share.expires)
        half = until - (until - datetime.fromisoformat(share.created)) / 2
        for known in self.of(share.owner):
            if known.live and known.same_as(share) and datetime.fromisoformat(known.expires) >= half:
                return known
        with self._told():
            created = create_exclusive(self._place(share.token), canonical(dataclasses.asdict(share)))
        if not created:
            raise StorageError(f"{self.url} must not hold a new share already, found it; try again")
        return share

    def find(self, token: str) -> Share | None:
        """The share of a link, also one that is over; None if there is no such link."""
        if not _TOKEN.fullmatch(token):
            return None
        stored = read_json(self._place(token))
        share = None if stored is None else _from_json(stored)
        return share if share is not None and hmac.compare_digest(share.token, token) else None

    def of(self, owner: str) -> tuple[Share, ...]:
        """All shares of a user, the newest first."""
        own = [share for share in self._all() if share.owner == owner]
        return tuple(sorted(own, key=lambda share: share.created, reverse=True))

    def live_folders(self) -> frozenset[str]:
        """Folders that somebody's link still opens."""
        return frozenset(share.folder for share in self._all() if share.live)

    def _all(self) -> list[Share]:
        with self._told():
            fs, folder = fsspec.core.url_to_fs(self.url)
            fs.invalidate_cache()
            paths = fs.glob(posixpath.join(folder, "*.json")) if fs.exists(folder) else []
        stored = (read_json(posixpath.join(self.url, posixpath.basename(path))) for path in paths)
        return [_from_json(one) for one in stored if one is not None]

    def revoke(self, identifier: str, *, owner: str) -> Share:
        """Withdraw a share; nobody but its owner can.

        Raises
        ------
        InputError
            If the owner has no such share.
        """
        found = next((share for share in self.of(owner) if share.identifier == identifier), None)
        if found is None:
            raise InputError(f"{owner} must have the share {identifier!r}, found none; see multimap link --list")
        ended = dataclasses.replace(found, revoked=found.revoked or _now().isoformat(timespec="seconds"))
        with self._told():
            replace(self._place(found.token), canonical(dataclasses.asdict(ended)))
        return ended

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise StorageError(f"{self.url} must be writable, found: {fault}; check space and rights") from fault

    def _place(self, token: str) -> str:
        return posixpath.join(self.url, f"{_file_name(token)}.json")


def new_share(
    *,
    owner: str,
    kind: Literal["maps", "run"],
    folder: str,
    with_: Sequence[str] = (),
    expires: str = "30d",
    title: str = "",
) -> Share:
    """Make a share that is not stored yet.

    Parameters
    ----------
    owner, kind, folder, title
        See `Share`.
    with_
        ``group:NAME`` or ``user:NAME``.
    expires
        How long it holds: a number and d, h, m or s, such as ``30d``; at most 366 days.

    Raises
    ------
    InputError
        If a name, the kind or the time is none.
    """
    if kind not in {"maps", "run"}:
        raise InputError(f"kind must be maps or run, found {kind!r}")
    audience: dict[str, set[str]] = {"user": set(), "group": set()}
    for text in with_:
        what, _, name = text.partition(":")
        if what not in audience or not _NAME.fullmatch(name):
            raise InputError(f"a share is with group:NAME or user:NAME, found {text!r}")
        audience[what].add(name)
    begun = _now()
    return Share(
        token=secrets.token_hex(16),
        owner=owner,
        kind=kind,
        folder=folder,
        users=tuple(sorted(audience["user"])),
        groups=tuple(sorted(audience["group"])),
        title=title[:200],
        created=begun.isoformat(timespec="seconds"),
        expires=(begun + lifetime(expires)).isoformat(timespec="seconds"),
    )


def lifetime(text: str) -> timedelta:
    """How long ``30d``, ``12h``, ``90m`` or ``60s`` is. Raises InputError if it is none of them or over 366 days."""
    found = re.fullmatch(r"([1-9]\d{0,8})([dhms])", text)
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < length <= LONGEST:
        raise InputError(f"expires must be a time such as 30d, 12h or 90m, at most {LONGEST.days}d, found {text!r}")
    return length


def _now() -> datetime:
    return datetime.now(UTC)


def _file_name(token: str) -> str:
    """Records lie under a hash: how long a look-up takes tells nothing about the tokens that exist."""
    return hashlib.sha256(token.encode()).hexdigest()[:40]


def _from_json(stored: dict[str, Any]) -> Share:
    known = {one.name for one in dataclasses.fields(Share)}
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return Share(**{name: value for name, value in given.items() if name in known})
