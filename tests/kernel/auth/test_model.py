"""Roles and tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from smartmob.kernel.auth.model import NewToken, StoredToken, digest, make_token

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_tokens_are_long_and_differ() -> None:
    """Tokens have 256 random bits and need no escaping in a header or a URL."""
    made = {make_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(token) >= 47 and token.replace("-", "").replace("_", "").isalnum() for token in made)
    assert all(len(digest(token)) == 32 for token in made)


def test_a_token_is_valid_until_its_expiry() -> None:
    """A token is valid before its expiry; one without an expiry is always valid."""
    end = NewToken(name="ci", role="ingest", seconds=60).expires(NOW)
    assert end == NOW + timedelta(minutes=1)
    token = StoredToken("ci", "ingest", b"", NOW, end)
    assert token.is_valid(NOW + timedelta(seconds=59))
    assert not token.is_valid(NOW + timedelta(seconds=60))
    unlimited = StoredToken("ci", "read", b"", NOW, NewToken(name="ci", role="read").expires(NOW))
    assert unlimited.is_valid(datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 65, "a.b", "'; DROP TABLE access_tokens; --"])
def test_invalid_names_are_refused(name: str) -> None:
    """Names that need escaping in logs, paths and tables are refused."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name, "role": "read"}, NewToken)


@pytest.mark.parametrize("more", [{"role": "admin"}, {"role": "read", "seconds": 0}, {"role": "read", "seconds": 1e12}])
def test_invalid_roles_and_lifetimes_are_refused(more: dict[str, object]) -> None:
    """Unknown roles and senseless lifetimes are refused."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "ci", **more}, NewToken)
