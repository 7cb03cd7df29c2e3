"""Audit events and their texts."""

from __future__ import annotations

from smartmob.kernel.audit.model import ANYONE, OWNER, bounded, name_of, summary
from smartmob.kernel.auth.model import Principal


def test_texts_are_bounded_and_can_be_stored() -> None:
    """Control characters and surrogates are replaced, and a long text is cut."""
    assert bounded("a\0b\x1b\ud800c") == "a\ufffdb\ufffd\ufffdc"
    assert len(bounded("x" * 10_000)) == 500
    assert summary(["sh", ["-c", "x"], b"secret", {"a": 1}, 5]) == "sh -c x … … 5"
    assert len(summary(["y"] * 100_000)) == 500


def test_no_token_looks_like_the_owner() -> None:
    """No name of a token looks like that of the owner."""
    assert [name_of(None), name_of(Principal(None, "control")), name_of(Principal("ci", "read"))] == [
        ANYONE,
        OWNER,
        "ci",
    ]
