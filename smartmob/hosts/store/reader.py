"""Reads the tables of the feature `hosts`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from smartmob.hosts.model import FIGURES, MINUTE, Span
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database, Record, away, is_away

PACKAGE = "smartmob.hosts"
_PREFETCH = 4_000


def load_queries() -> dict[str, str]:
    """Return the feature's queries with the columns of each figure filled in."""
    parts = ("min", "max", "sum", "n")
    columns = [f"{name}_{part}" for name in FIGURES for part in parts]
    filled = {
        "figures": ", ".join(f"s.{name}" for name in FIGURES),
        "minute_columns": ", ".join(columns),
        "minute_updates": ", ".join(f"{column} = excluded.{column}" for column in columns),
        "aggregates": ", ".join(f"min({f}), max({f}), sum({f}), count({f})" for f in FIGURES),
        "raw_bands": ", ".join(f"min({f}) AS {f}_min, avg({f}) AS {f}_avg, max({f}) AS {f}_max" for f in FIGURES),
        "minute_bands": ", ".join(
            f"min({f}_min) AS {f}_min, sum({f}_sum) / nullif(sum({f}_n), 0) AS {f}_avg, max({f}_max) AS {f}_max"
            for f in FIGURES
        ),
    }
    return {name: text.format(**filled) for name, text in queries.load(PACKAGE).items()}


class HostsReader:
    """Reads machines and their samples."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = load_queries()

    async def secret(self, name: str) -> Record | None:
        """Return `own`, `salt` and `secret` of a machine."""
        return await self._database.fetchrow(self._sql["select_secret"], name)

    async def hosts(self, after: str, limit: int) -> list[Record]:
        """Return machines in the order of their names, with the newest sample of each."""
        text = self._sql["select_hosts"] + " WHERE h.name > $1 ORDER BY h.name LIMIT $2"
        return await self._database.fetch(text, after, limit)

    async def host(self, name: str) -> Record | None:
        """Return one machine as `hosts` does."""
        return await self._database.fetchrow(self._sql["select_hosts"] + " WHERE h.name = $1", name)

    async def sample_span(self, name: str) -> tuple[datetime | None, datetime | None]:
        """Return the times of a machine's first and last sample."""
        row = await self._database.fetchrow(self._sql["sample_span"], name)
        return (None, None) if row is None else (row["first"], row["last"])

    def report(self, name: str, first: datetime, last: datetime) -> AsyncIterator[list[Record]]:
        """Yield samples from `first` to `last` as JSON objects, many at a time."""
        return self._every(self._sql["report"], name, first, last)

    async def count_samples(self, name: str, span: Span, most: int) -> int:
        """Return how many samples there are, counted up to `most`."""
        return int(await self._database.fetchval(self._sql["count_samples"], name, span.start, span.end, most))

    def samples(self, name: str, span: Span) -> AsyncIterator[list[Record]]:
        """Yield samples, many at a time."""
        return self._every(self._sql["select_samples"], name, span.start, span.end)

    def buckets(self, names: Sequence[str], span: Span, width: int) -> AsyncIterator[list[Record]]:
        """Yield what the samples of each `width` seconds come to, one machine after the other.

        They come from the minutes where that is wide enough.
        """
        query = self._sql["bucket_minutes" if width % MINUTE == 0 else "bucket_samples"]
        return self._every(query, list(names), span.start, span.end, float(width))

    async def host_loads(self, span: Span) -> list[Record]:
        """Return how busy each machine was."""
        return await self._database.fetch(self._sql["host_loads"], span.start, span.end)

    async def _every(self, query: str, *arguments: Any) -> AsyncIterator[list[Record]]:
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(query, *arguments)
                while rows := await cursor.fetch(_PREFETCH):
                    yield rows
        except Exception as error:
            raise (away(error) if is_away(error) else error) from error
