"""Remembers connections: a new one may lead to a restored database, in which rows that a store knows are missing."""

from __future__ import annotations

from weakref import WeakSet

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from smartmob.kernel.db.database import Connection


class SeenConnections:
    """The connections of a writer that have been used already."""

    def __init__(self) -> None:
        self._seen: WeakSet[asyncpg.Connection[asyncpg.Record]] = WeakSet()

    def add(self, connection: Connection) -> bool:
        """Return whether a connection is new; one that is borrowed from the pool always counts as such."""
        if isinstance(connection, PoolConnectionProxy):
            return True
        new = connection not in self._seen
        self._seen.add(connection)
        return new
