"""Reads the tables of the feature `hosts`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

from smartmob.hosts.fields import query_parts
from smartmob.hosts.time_series import MINUTE, Span
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database, Record, is_unavailable, unavailable

PACKAGE = "smartmob.hosts"
_PREFETCH_ROWS = 4_000


@cache
def load_queries() -> Mapping[str, str]:
    """Return the feature's queries with the columns of the fields filled in."""
    parts = query_parts()
    return MappingProxyType({name: text.format(**parts) for name, text in queries.load(PACKAGE).items()})


class HostsReader:
    """Reads machines and their samples."""

    def __init__(self, database: Database) -> None:
        self._primary, self._database = database, database.reader
        self._sql = load_queries()

    async def secret(self, name: str) -> Record | None:
        """Return the columns `own`, `salt` and `secret` of a machine, or None."""
        return await self._primary.fetchrow(self._sql["select_secret"], name)

    async def hosts(self, after: str, limit: int) -> list[Record]:
        """Return up to `limit` machines after a name, in the order of their names, each with its newest sample."""
        text = self._sql["select_hosts"] + " WHERE h.name > $1 ORDER BY h.name LIMIT $2"
        return await self._database.fetch(text, after, limit)

    async def heard_within(self, names: Sequence[str], seconds: float) -> set[str]:
        """Return those of some machines of which a sample arrived within the last `seconds` of the database's clock."""
        return {row["host"] for row in await self._database.fetch(self._sql["heard_within"], list(names), seconds)}

    async def host(self, name: str) -> Record | None:
        """Return one machine with the columns of `hosts`, or None."""
        return await self._database.fetchrow(self._sql["select_hosts"] + " WHERE h.name = $1", name)

    async def sample_span(self, name: str) -> tuple[datetime | None, datetime | None]:
        """Return the times of a machine's first and last sample, or (None, None)."""
        row = await self._database.fetchrow(self._sql["sample_span"], name)
        return (None, None) if row is None else (row["first"], row["last"])

    def report(self, name: str, first: datetime, last: datetime) -> AsyncIterator[list[Record]]:
        """Yield the samples from `first` to `last` as JSON objects, in batches."""
        return self._stream(self._sql["report"], name, first, last)

    async def count_samples(self, name: str, span: Span, most: int) -> int:
        """Return the number of samples in a span, but at most `most`."""
        return int(await self._database.fetchval(self._sql["count_samples"], name, span.start, span.end, most))

    def samples(self, name: str, span: Span) -> AsyncIterator[list[Record]]:
        """Yield the samples of a span, in batches."""
        return self._stream(self._sql["select_samples"], name, span.start, span.end)

    def buckets(self, names: Sequence[str], span: Span, width: int) -> AsyncIterator[list[Record]]:
        """Yield the aggregates of each `width` seconds, one machine after the other, in batches.

        Widths of whole minutes are computed from the rolled-up minutes.
        """
        query = self._sql["bucket_minutes" if width % MINUTE == 0 else "bucket_samples"]
        return self._stream(query, list(names), span.start, span.end, float(width))

    async def host_loads(self, span: Span) -> list[Record]:
        """Return the processor load of each machine in a span."""
        return await self._database.fetch(self._sql["host_loads"], span.start, span.end)

    async def _stream(self, query: str, *arguments: Any) -> AsyncIterator[list[Record]]:
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(query, *arguments)
                while rows := await cursor.fetch(_PREFETCH_ROWS):
                    yield rows
        except Exception as error:
            raise (unavailable(error) if is_unavailable(error) else error) from error
