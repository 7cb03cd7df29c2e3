"""The daily partitions of what turrets send: made before they are needed, and dropped with all that is in them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection

PARTITIONED = ("turret_results", "turret_slices", "turret_health")
_FORM = "%Y%m%d"
FORMS = dict.fromkeys(PARTITIONED, _FORM)
"""How the time in the name of a partition is written, by table."""

_DAYS_AHEAD = 3
_ALL_THERE = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name"


class Partitions:
    """The partitions that are known to be there."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    def forget(self) -> None:
        """Take none for known: the connection may lead to a restored database."""
        self._known.clear()

    async def ensure(self, connection: Connection, days: Iterable[date]) -> None:
        """Make the partitions of `days` that are missing; must be called outside a transaction."""
        for day in sorted(set(days) - self._known):
            if await self._there(connection, day):
                self._known.add(day)
                continue
            async with connection.transaction():
                # Two services that make the same one at once would hit each other.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITIONS_LOCK)
                for table in PARTITIONED:
                    await connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {_name(table, day)} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                    )
            self._known.add(day)

    @staticmethod
    async def _there(connection: Connection, day: date) -> bool:
        """Return whether all partitions of a day are there, without waiting for anybody who makes or copies them."""
        names = [_name(table, day) for table in PARTITIONED]
        return bool(await connection.fetchval(_ALL_THERE, names))

    async def ensure_ahead(self, connection: Connection, now: datetime) -> None:
        """Make the partitions of today and of the next days."""
        today = now.astimezone(UTC).date()
        await self.ensure(connection, (today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD)))

    async def drop_before(self, connection: Connection, query: str, before: datetime) -> int:
        """Drop the partitions whose days ended before a time; return how many. `query` lists those of a table."""
        first = before.astimezone(UTC).date()
        dropped = 0
        for table in PARTITIONED:
            for row in await connection.fetch(query, table):
                day = _day(table, row["partition"])
                if day is not None and day < first:
                    async with connection.transaction():
                        # A backup that is being made holds this lock: it would be in the way, and everybody behind it.
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITIONS_LOCK)
                        await connection.execute(f"DROP TABLE IF EXISTS {row['partition']}")
                    self._known.discard(day)
                    dropped += 1
        return dropped


def _name(table: str, day: date) -> str:
    return f"{table}_{day:{_FORM}}"


def _day(table: str, partition: str) -> date | None:
    try:
        return datetime.strptime(partition.removeprefix(f"{table}_"), _FORM).replace(tzinfo=UTC).date()
    except ValueError:
        return None
