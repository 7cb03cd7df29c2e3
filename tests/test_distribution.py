"""The placement of each table: what belongs together is in the same group."""

from __future__ import annotations

from smartmob.distribution import PLACEMENTS
from smartmob.kernel.db.placement import groups


def test_tables_that_are_joined_are_in_one_group() -> None:
    """A session, a machine and a load test has all its rows on one node."""
    assert {name: len(tables) for name, tables in groups(PLACEMENTS).items()} == {"sessions": 3, "hosts": 4, "runs": 7}
