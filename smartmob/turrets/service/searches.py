"""The service of capacity searches: it stores the findings of the searching program, and makes the report."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.errors import NotFound
from smartmob.kernel.runtime import clock, ids
from smartmob.turrets.capacity.model import SearchList, SearchRequest, StoredSearch
from smartmob.turrets.store.search_table import SearchStore

PATH = "/capacity-searches"


class CapacitySearches:
    """The stored capacity searches. Raises NotFound for unknown ones."""

    def __init__(self, store: SearchStore) -> None:
        self._store = store

    async def create(self, search: SearchRequest) -> StoredSearch:
        """Store a new search."""
        ident, now = ids.uuid7(), clock.now()
        await self._store.insert(ident, search, now)
        return _shown(ident, search, now, now)

    async def replace(self, ident: str, search: SearchRequest) -> StoredSearch:
        """Replace a search by its newer state."""
        now = clock.now()
        created = await self._store.update(_uuid(ident), search, now)
        if created is None:
            raise _unknown(ident)
        return _shown(_uuid(ident), search, created, now)

    async def find(self, ident: str) -> StoredSearch:
        """Return a search."""
        found = await self._store.search(_uuid(ident))
        if found is None:
            raise _unknown(ident)
        return _shown(found.id, found.search, found.created_at, found.changed_at)

    async def newest(self, limit: int) -> SearchList:
        """Return the newest searches without their steps."""
        return SearchList(
            [
                _shown(row.id, msgspec.structs.replace(row.search, steps=[]), row.created_at, row.changed_at)
                for row in await self._store.newest(limit)
            ]
        )

    async def delete(self, ident: str) -> None:
        """Remove a search; its runs stay."""
        if not await self._store.delete(_uuid(ident)):
            raise _unknown(ident)

    async def report(self, ident: str) -> str:
        """Return the report of a search as a page."""
        from smartmob.turrets.capacity.search_page import render_search

        return await asyncio.to_thread(render_search, await self.find(ident))

    async def chart(self, ident: str) -> str:
        """Return the chart of a search: latency and errors by rate, as SVG."""
        from smartmob.turrets.capacity.search_page import knee

        return await asyncio.to_thread(knee, await self.find(ident))

    async def expire(self, before: datetime) -> None:
        """Remove the searches that were created before a time."""
        await self._store.expire(before)


def _shown(ident: UUID, search: SearchRequest, created: datetime, changed: datetime) -> StoredSearch:
    return StoredSearch(
        **{name: getattr(search, name) for name in search.__struct_fields__},
        id=str(ident),
        created_at=created,
        changed_at=changed,
        report=f"{PATH}/{ident}/report",
    )


def _uuid(ident: str) -> UUID:
    try:
        return UUID(ident)
    except ValueError:
        raise _unknown(ident) from None


def _unknown(ident: str) -> NotFound:
    return NotFound(f"there is no capacity search {ident}")
