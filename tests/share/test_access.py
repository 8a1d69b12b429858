"""Who may read: every condition on its own ends a link."""

import asyncio
import time

import pytest

from multimap_kernel.share.access import FRESH_S, Access
from multimap_kernel.share.places import Place
from multimap_kernel.share.records import Records, new_share

FOLDER = "lab/shared/ab"


class Hub:
    """Groups as a hub keeps them; they change while a link lives."""

    def __init__(self):
        self.groups = {"alice": {"lab"}, "bob": {"lab"}, "eve": set()}
        self.asked = 0

    async def groups_of(self, user):
        self.asked += 1
        return frozenset(self.groups.get(user, ()))


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def access(tmp_path, hub):
    return Access(Records(str(tmp_path)), {"lab": Place(str(tmp_path / "lab"), frozenset({"lab"}))}, hub.groups_of)


def make(access, **given):
    return access.records.add(new_share(**{"owner": "alice", "kind": "maps", "folder": FOLDER, **given}))


def ask(access, share, reader):
    return asyncio.run(access.ask(getattr(share, "token", share), reader))


def test_access__owner_user_and_group_may_read_and_nobody_else(access):
    share = make(access, with_=["group:lab"])
    assert ask(access, share, "alice").share == share
    assert ask(access, share, "bob").share == share
    assert "not shared with you (eve)" in ask(access, share, "eve").refusal
    assert "not shared with you (nobody)" in ask(access, share, "nobody").refusal
    alone = make(access)
    assert "not shared with you (bob)" in ask(access, alone, "bob").refusal
    named = make(access, with_=["user:eve"])
    assert ask(access, named, "eve").share == named


def test_access__forged_revoked_and_expired_links_are_refused(access, monkeypatch):
    share, short = make(access), make(access, expires="1s", with_=["user:bob"])
    assert "no such link" in ask(access, "0" * 32, "alice").refusal
    access.records.revoke(share.identifier, owner="alice")
    assert "alice withdrew this link" in ask(access, share, "alice").refusal
    time.sleep(1.1)
    assert "This link ended on" in ask(access, short, "alice").refusal


def test_access__owner_who_left_the_group_ends_the_link_for_all(access, hub):
    share = make(access, with_=["group:lab"])
    assert ask(access, share, "bob").share
    hub.groups["alice"] = {"other"}
    access.forget()
    for reader in ("alice", "bob"):
        assert "may not share these data any more" in ask(access, share, reader).refusal


def test_access__reader_who_left_the_group_is_out(access, hub):
    share = make(access, with_=["group:lab"])
    assert ask(access, share, "bob").share
    hub.groups["bob"] = set()
    access.forget()
    assert "not shared with you (bob)" in ask(access, share, "bob").refusal


def test_access__a_place_that_the_configuration_drops_ends_its_links(access):
    share = make(access)
    assert ask(access, share, "alice").share
    access.places = {"lab": Place("elsewhere", frozenset({"others"}))}
    assert "may not share" in ask(access, share, "alice").refusal
    access.places = {}
    assert "may not share" in ask(access, share, "alice").refusal


def test_access__believes_the_hub_for_seconds_only(access, hub):
    share = make(access)
    for _ in range(20):
        ask(access, share, "alice")
    assert hub.asked == 1  # an image is hundreds of chunks
    assert 2 * FRESH_S <= 10  # withdrawing works within 10 s


def test_access__a_hub_that_does_not_answer_lets_nobody_in(access):
    share = make(access)

    async def fails(user):
        raise OSError("no hub")

    access.groups_of = fails
    with pytest.raises(OSError, match="no hub"):
        ask(access, share, "alice")
