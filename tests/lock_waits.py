"""Waiting for locks, as the database tells it: on one server by `pg_locks`, on a cluster of Citus on all its nodes."""

from __future__ import annotations

from smartmob.kernel.db import citus
from smartmob.kernel.db.database import Connection

_HERE = """
SELECT EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE NOT l.granted AND a.datname = current_database()
)
"""
_ON_NODES = "SELECT EXISTS (SELECT FROM citus_lock_waits)"


async def waits_for_lock(connection: Connection) -> bool:
    """Return whether a statement in this database waits for a lock of another."""
    found = bool(await connection.fetchval(_HERE))
    if not found and await citus.version(connection) is not None:
        # The coordinator waits for the answer of a node, which waits for the lock.
        found = bool(await connection.fetchval(_ON_NODES))
    return found
