"""Connections that a store has seen: what it knows about rows holds for them alone."""

from __future__ import annotations

from smartmob.kernel.db.database import Database
from smartmob.kernel.db.seen_connections import SeenConnections


async def test_a_borrowed_connection_counts_as_new_each_time(database: Database) -> None:
    """It may be another one of the pool; what a store knows about rows is then asked for again."""
    seen, own = SeenConnections(), await database.connect()
    assert [seen.add(own), seen.add(own)] == [True, False]
    async with database.acquire() as borrowed:
        assert [seen.add(borrowed), seen.add(borrowed)] == [True, True]
    await own.close()
