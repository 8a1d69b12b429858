"""Share records: kept, found by their token only, listed, withdrawn."""

import json

import pytest

from multimap_kernel.schema import InputError
from multimap_kernel.share.records import Records, lifetime, new_share


def share(**given):
    return new_share(**{"owner": "alice", "kind": "maps", "folder": "lab/shared/ab", "with_": ["group:lab"], **given})


def test_records__find_by_token_and_by_nothing_else(tmp_path):
    records = Records(str(tmp_path / "shares"))
    made = records.add(share(with_=["group:lab", "user:bob"]))
    assert records.find(made.token) == made
    assert (made.users, made.groups) == (("bob",), ("lab",))
    (file,) = (tmp_path / "shares").iterdir()
    for forged in ("0" * 32, made.identifier, file.stem, f"../shares/{file.stem}", made.token[:-1], made.token.upper()):
        assert forged == made.token or records.find(forged) is None
    assert made.token not in repr(made)


def test_records__a_record_under_a_foreign_name_is_no_share(tmp_path):
    records = Records(str(tmp_path))
    made, other = records.add(share()), share(owner="bob")
    (file,) = tmp_path.iterdir()
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "token": other.token}))
    assert records.find(made.token) is None
    assert records.find(other.token) is None


def test_records__the_same_share_is_one_link_until_it_is_withdrawn(tmp_path):
    records = Records(str(tmp_path))
    first = records.add(share())
    assert records.add(share()).token == first.token
    assert records.add(share(with_=["group:other"])).token != first.token
    records.revoke(first.identifier, owner="alice")
    assert records.find(first.token).revoked
    assert records.add(share()).token != first.token


def test_records__only_the_owner_withdraws(tmp_path):
    records = Records(str(tmp_path))
    made = records.add(share())
    with pytest.raises(InputError, match="bob must have the share"):
        records.revoke(made.identifier, owner="bob")
    assert records.of("bob") == ()
    assert records.find(made.token).live


def test_records__an_expired_share_is_not_live(tmp_path):
    made = share(expires="1s")
    assert made.live
    ended = Records(str(tmp_path)).add(made).__class__(**{**made.__dict__, "expires": made.created})
    assert ended.expired
    assert not ended.live


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "367d", "d", "1 d", "1e9d", "forever", "99999999999d"])
def test_lifetime__refuses_what_is_no_time(text):
    with pytest.raises(InputError, match="expires must be a time such as 30d"):
        lifetime(text)


@pytest.mark.parametrize("who", ["bob", "group:", "user:../x", "group:a/b", "role:admin", "user:a\nb"])
def test_new_share__refuses_who_is_nobody(who):
    with pytest.raises(InputError, match="group:NAME or user:NAME"):
        share(with_=[who])
