"""Reads and writes the capacity searches."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database, Record
from smartmob.turrets.capacity.model import SearchRequest
from smartmob.turrets.store.writer import PACKAGE


class StoredRow(msgspec.Struct, frozen=True):
    """A search with its id and times."""

    id: UUID
    search: SearchRequest
    created_at: datetime
    changed_at: datetime


class SearchStore:
    """The table of capacity searches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def insert(self, ident: UUID, search: SearchRequest, now: datetime) -> None:
        """Store a new search."""
        values = (ident, msgspec.json.encode(search).decode(), now)
        await self._database.run(lambda connection: connection.execute(self._sql["insert_search"], *values))

    async def update(self, ident: UUID, search: SearchRequest, now: datetime) -> datetime | None:
        """Replace a search and return when it was created, or None if there is none."""
        values = (ident, msgspec.json.encode(search).decode(), now)
        created: datetime | None = await self._database.run(
            lambda connection: connection.fetchval(self._sql["update_search"], *values)
        )
        return created

    async def search(self, ident: UUID) -> StoredRow | None:
        """Return a search, or None."""
        row = await self._database.fetchrow(self._sql["select_search"], ident)
        return None if row is None else _stored(row)

    async def newest(self, limit: int) -> list[StoredRow]:
        """Return the newest searches."""
        return [_stored(row) for row in await self._database.fetch(self._sql["select_searches"], limit)]

    async def delete(self, ident: UUID) -> bool:
        """Remove a search and return whether it existed."""
        found = await self._database.run(lambda connection: connection.fetchval(self._sql["delete_search"], ident))
        return found is not None

    async def expire(self, before: datetime) -> None:
        """Remove the searches that were created before a time."""
        await self._database.run(lambda connection: connection.execute(self._sql["delete_old_searches"], before))


def _stored(row: Record) -> StoredRow:
    search = msgspec.json.decode(row["document"], type=SearchRequest)
    return StoredRow(row["search_id"], search, row["created_at"], row["changed_at"])
