"""Placements of tables: groups of tables, and the order of distribution."""

from __future__ import annotations

from smartmob.kernel.db.placement import LOCAL, REFERENCE, Sharded, distributed, groups

_PLACEMENTS = {"a": Sharded("g", "x"), "b": LOCAL, "c": REFERENCE, "d": Sharded("h", "y"), "e": Sharded("g", "z")}


def test_groups_have_their_tables_in_order() -> None:
    """Local and reference tables are in no group."""
    assert groups(_PLACEMENTS) == {"g": ["a", "e"], "h": ["d"]}


def test_reference_tables_are_distributed_first() -> None:
    """Tables of shards are joined with them; local ones stay."""
    assert list(distributed(_PLACEMENTS)) == ["c", "a", "e", "d"]
