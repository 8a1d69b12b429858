"""Who may read a share now: asked anew at each read, and refused unless every condition holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from multimap_kernel.share.places import Place, may_share
from multimap_kernel.share.records import Records, Share

FRESH_S = 5.0
"""How long a record and the groups of a user are believed; withdrawing a link works within twice this time."""
_KEPT = 4096  # answers; the oldest go
_T = TypeVar("_T")

GroupsOf = Callable[[str], Awaitable[frozenset[str]]]
"""Groups that a user is in now; none for a user who does not exist."""


class Answer(NamedTuple):
    """A share, or why it cannot be read: one of the two is empty."""

    share: Share | None
    refusal: str


@dataclass
class Access:
    """What decides about reads.

    Parameters
    ----------
    records
        The shares.
    places
        Roots and their groups, as configured.
    groups_of
        Asks the hub.
    """

    records: Records
    places: Mapping[str, Place]
    groups_of: GroupsOf
    _seen: dict[tuple[str, str], tuple[float, object]] = field(default_factory=dict, repr=False)

    async def ask(self, token: str, reader: str) -> Answer:
        """Whether a reader may use a link.

        Parameters
        ----------
        token
            End of the link, as the browser sent it.
        reader
            Name of the user who is logged in.
        """
        share = await self._fresh("share", token, lambda: asyncio.to_thread(self.records.find, token))
        if share is None:
            return Answer(None, "There is no such link. Was it copied whole?")
        if share.revoked:
            return Answer(None, f"{share.owner} withdrew this link on {share.revoked[:10]}.")
        if share.expired:
            return Answer(None, f"This link ended on {share.expires[:10]}. Ask {share.owner} for a new one.")
        if not may_share(share.folder, await self.groups(share.owner), self.places):
            return Answer(None, f"{share.owner}, who made this link, may not share these data any more.")
        named = reader == share.owner or reader in share.users
        if not named and (await self.groups(reader)).isdisjoint(share.groups):
            return Answer(None, f"This link is not shared with you ({reader}). Ask {share.owner} to add you.")
        return Answer(share, "")

    async def groups(self, user: str) -> frozenset[str]:
        """Groups of a user, at most `FRESH_S` old."""
        return await self._fresh("groups", user, lambda: self.groups_of(user))

    def forget(self) -> None:
        """Believe nothing any more: a record was just changed here."""
        self._seen.clear()

    async def _fresh(self, kind: str, name: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        known = self._seen.get((kind, name))
        if known is not None and time.monotonic() - known[0] < FRESH_S:
            return known[1]  # type: ignore[return-value]  # the kind tells the type
        begun = time.monotonic()  # not when the answer came: it may have been on its way for long
        found = await ask()
        self._seen[kind, name] = (begun, found)
        while len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]
        return found
