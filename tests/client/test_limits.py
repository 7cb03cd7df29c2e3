"""The limits of the client."""

from __future__ import annotations

import pytest
from msgspec.structs import fields

from smartmob.client.limits import LIMITS, ClientLimits


def test_limits_can_be_set_but_not_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit is an attribute; a name that is no limit is refused."""
    monkeypatch.setattr(LIMITS, "gathered_bytes", 1)
    assert LIMITS.gathered_bytes == 1
    with pytest.raises(AttributeError):
        setattr(LIMITS, "gathered_byte", 1)  # noqa: B010  # a name that the type checker refuses, too


def test_every_limit_is_above_zero() -> None:
    """By default the client takes something of everything."""
    assert [each.name for each in fields(ClientLimits) if not getattr(ClientLimits(), each.name) > 0] == []
