"""Which key a uuid belongs to: the first one, and none loses its own to others."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.hq.uuid_claims import UuidClaims
from smartmob.turrets.protocol import Status


def _said(uuid: str) -> Status:
    return Status(status="ready", uuid=uuid)


def test_the_first_key_keeps_a_uuid() -> None:
    """Another key is refused, also after the stored claims were loaded again."""
    claims, later = UuidClaims(), UuidClaims()
    claims.check(_said("u1"), "first")
    claims.check(_said("u1"), "first")
    later.load({uuid: key for uuid, key in claims.take_changes().items() if key is not None})
    for each in (claims, later):
        with pytest.raises(InvalidInput, match="another key"):
            each.check(_said("u1"), "second")
        assert each.changes == {}


def test_without_keys_no_uuid_is_claimed() -> None:
    """A sender with a key can claim the uuid afterwards."""
    claims = UuidClaims()
    claims.check(_said("u1"), "")
    claims.check(_said("u1"), "first")
    assert claims.changes == {"u1": "first"}


def test_a_key_with_many_uuids_displaces_none_of_others() -> None:
    """Beyond the limit it loses its own oldest uuid; a new key takes the place of one of those."""
    claims = UuidClaims(most=4)
    claims.check(_said("honest"), "honest")
    for number in range(10):
        claims.check(_said(f"bad{number}"), "bad")
    assert {uuid for uuid, key in claims.changes.items() if key} == {"honest", "bad7", "bad8", "bad9"}
    claims.check(_said("new"), "new")
    assert {uuid for uuid, key in claims.take_changes().items() if key} == {"honest", "bad8", "bad9", "new"}
    with pytest.raises(InvalidInput):
        claims.check(_said("honest"), "bad")


def test_changes_that_could_not_be_stored_are_kept() -> None:
    """Newer changes win."""
    claims = UuidClaims(most=1)
    claims.check(_said("u1"), "first")
    changes = claims.take_changes()
    claims.check(_said("u2"), "first")
    claims.restore_changes(changes)
    assert claims.changes == {"u1": None, "u2": "first"}
