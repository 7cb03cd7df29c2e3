"""The daily partitions of results, slices and health: made before they are needed, and dropped with their rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection

PARTITIONED = ("turret_results", "turret_slices", "turret_health")
_FORMAT = "%Y%m%d"
FORMATS = dict.fromkeys(PARTITIONED, _FORMAT)
"""The format of the time in the names of partitions, by table."""

_DAYS_AHEAD = 3
_MISSING = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL"


class KnownPartitions:
    """The days whose partitions are known to exist."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    def forget(self) -> None:
        """Forget all known days: a new connection may reach a restored database."""
        self._known.clear()

    async def ensure(self, connection: Connection, days: Iterable[date]) -> None:
        """Make the partitions of `days` that are missing; must be called outside a transaction."""
        wanted = set(days) - self._known
        missing = await self._missing(connection, wanted) if wanted else set()
        self._known |= wanted - missing
        for day in sorted(missing):
            async with connection.transaction():
                # Two services that make the same partition at once would get an error.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITIONS_LOCK)
                for table in PARTITIONED:
                    await connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {_name(table, day)} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                    )
            self._known.add(day)

    @staticmethod
    async def _missing(connection: Connection, days: Iterable[date]) -> set[date]:
        """Return the days of which a partition is missing, without waiting for a lock."""
        names = {_name(table, day): day for day in days for table in PARTITIONED}
        return {names[row["name"]] for row in await connection.fetch(_MISSING, list(names))}

    async def ensure_ahead(self, connection: Connection, now: datetime) -> None:
        """Make the partitions of today and of the next days."""
        today = now.astimezone(UTC).date()
        await self.ensure(connection, (today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD)))

    async def drop_before(self, connection: Connection, query: str, before: datetime) -> int:
        """Drop the partitions of days that ended before a time; return how many. `query` lists those of a table."""
        first = before.astimezone(UTC).date()
        dropped = 0
        for table in PARTITIONED:
            for row in await connection.fetch(query, table):
                day = _day(table, row["partition"])
                if day is not None and day < first:
                    async with connection.transaction():
                        # A running backup holds this lock. Without it, dropping would wait for a lock of the backup
                        # on the table, and all later statements on the table would wait behind it.
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITIONS_LOCK)
                        await connection.execute(f"DROP TABLE IF EXISTS {row['partition']}")
                    self._known.discard(day)
                    dropped += 1
        return dropped


def _name(table: str, day: date) -> str:
    return f"{table}_{day:{_FORMAT}}"


def _day(table: str, partition: str) -> date | None:
    try:
        return datetime.strptime(partition.removeprefix(f"{table}_"), _FORMAT).replace(tzinfo=UTC).date()
    except ValueError:
        return None
