"""Partitions of the time series tables: created ahead of time, and dropped when all their rows have expired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from smartmob.hosts.store.reader import load_queries
from smartmob.kernel.db.database import READ_COMMITTED, Connection, Database


class PartitionedTable(msgspec.Struct, frozen=True):
    """A partitioned table. A partition holds the times with the same text in the strftime format `form`.

    Partitions are created until `ahead` of now.
    """

    table: str
    form: str
    ahead: timedelta

    def name(self, start: datetime) -> str:
        """Return the name of the partition that begins at `start`."""
        return f"{self.table}_{start.strftime(self.form)}"

    def start(self, name: str) -> datetime | None:
        """Return the start of a partition, or None when its name has no time."""
        try:
            return datetime.strptime(name.removeprefix(f"{self.table}_"), self.form).replace(tzinfo=UTC)
        except ValueError:
            return None

    def of(self, moment: datetime) -> tuple[datetime, datetime]:
        """Return the start and the end of the partition that contains a moment."""
        start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if "%d" in self.form:
            return start, start + timedelta(days=1)
        start = start.replace(day=1)
        return start, (start + timedelta(days=32)).replace(day=1)

    def wanted(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the partitions from now until `ahead`."""
        start, end = self.of(now)
        while start <= now + self.ahead:
            yield start, end
            start, end = self.of(end)


SAMPLES = PartitionedTable("host_samples", "%Y%m%d", timedelta(days=3))
MINUTES = PartitionedTable("host_minutes", "%Y%m", timedelta(days=31))


class Partitions:
    """Creates and drops partitions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = load_queries()

    async def keep(self, series: PartitionedTable, now: datetime, before: datetime) -> tuple[list[str], list[str]]:
        """Create the partitions needed soon and drop those that end before `before`; return the names of both."""

        async def keep(connection: Connection) -> tuple[list[str], list[str]]:
            # Usually nothing needs to be done, and no lock is needed to find that out.
            if not any(_due(series, await self._there(connection, series), now, before)):
                return [], []
            async with connection.transaction(isolation=READ_COMMITTED):
                await connection.execute(self._sql["lock_partitions"])
                missing, ended = _due(series, await self._there(connection, series), now, before)
                for name, span in missing.items():
                    await _make(connection, self._sql["make_partition"], name, span)
                for name in ended:
                    await connection.execute(self._sql["drop_partition"].format(name=name))
                return list(missing), ended

        return await self._database.run(keep)

    async def _there(self, connection: Connection, series: PartitionedTable) -> set[str]:
        return {row["name"] for row in await connection.fetch(self._sql["partitions"], series.table)}


def _due(
    series: PartitionedTable, there: set[str], now: datetime, before: datetime
) -> tuple[dict[str, tuple[datetime, datetime]], list[str]]:
    """Return the partitions that are missing, with their spans, and those that end before `before`."""
    wanted = {series.name(start): (start, end) for start, end in series.wanted(now)}
    starts = ((name, series.start(name)) for name in sorted(there))
    ended = [name for name, start in starts if start is not None and series.of(start)[1] <= before]
    return {name: span for name, span in wanted.items() if name not in there}, ended


async def _make(connection: Connection, statements: str, name: str, span: tuple[datetime, datetime]) -> None:
    """Create a partition and move the rows of its time from the default partition into it."""
    start, end = span
    text = statements.format(table=name.rpartition("_")[0], name=name, start=start.isoformat(), end=end.isoformat())
    for statement in text.split(";\n"):
        await connection.execute(statement)
