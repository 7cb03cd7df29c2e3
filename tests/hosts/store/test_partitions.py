"""Partitions: created ahead, filled with earlier rows, dropped in time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from smartmob.hosts.store.partitions import MINUTES, SAMPLES, PartitionedTable, Partitions
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection, Database
from smartmob.settings import DatabaseSettings
from tests.hosts.store.rows import DAY, row, span, store
from tests.waiting import until

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("series", "moment", "name", "days"),
    [
        (SAMPLES, datetime(2026, 11, 20, 23, 59, tzinfo=UTC), "host_samples_20261120", 1),
        (MINUTES, datetime(2026, 11, 20, tzinfo=UTC), "host_minutes_202611", 30),
        (MINUTES, datetime(2026, 12, 31, 23, tzinfo=UTC), "host_minutes_202612", 31),
        (MINUTES, datetime(2028, 2, 29, tzinfo=UTC), "host_minutes_202802", 29),
    ],
)
def test_the_name_of_a_partition_has_its_time(series: PartitionedTable, moment: datetime, name: str, days: int) -> None:
    """The name says which time a partition is for, and the time can be parsed from it."""
    start, end = series.of(moment)
    assert start <= moment < end
    assert end - start == timedelta(days=days)
    assert series.name(start) == name
    assert series.start(name) == start
    assert series.start(f"{series.table}_rest") is None


async def _partitions(database: Database) -> list[str]:
    rows = await database.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits ORDER BY 1")
    return [one["name"] for one in rows if "idx" not in one["name"] and "pkey" not in one["name"]]


async def test_partitions_are_created_ahead(database: Database) -> None:
    """Those of the next days and months exist, and a second call creates none: it does not even wait for a lock."""
    partitions = Partitions(database)
    # The database has those of these days already.
    day = datetime(2031, 2, 27, 12, tzinfo=UTC)
    made, dropped = await partitions.keep(SAMPLES, day, LONG_AGO)
    assert made == [f"host_samples_2031{day}" for day in ("0227", "0228", "0301", "0302")]
    assert dropped == []
    async with database.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", PARTITIONS_LOCK)
        assert await partitions.keep(SAMPLES, day, LONG_AGO) == ([], [])
    assert (await partitions.keep(MINUTES, day, LONG_AGO))[0] == ["host_minutes_203102", "host_minutes_203103"]


async def test_two_services_create_partitions_once(database: Database) -> None:
    """One creates them and the other finds them."""
    partitions = Partitions(database)
    outcomes = await asyncio.gather(*(partitions.keep(SAMPLES, DAY, LONG_AGO) for _ in range(4)))
    assert sorted(len(made) for made, _ in outcomes) == [0, 0, 0, 4]


async def test_services_on_a_database_with_strict_isolation_create_partitions_once(database_url: str) -> None:
    """One creates them while the other waits, and then finds them, although its default hides later commits."""
    strict = f"{database_url}{'&' if '?' in database_url else '?'}default_transaction_isolation=serializable"
    database = Database(DatabaseSettings(url=strict), None)
    await database.open()
    try:
        partitions = Partitions(database)
        holder = await database.connect()
        await holder.execute("SELECT pg_advisory_lock($1)", PARTITIONS_LOCK)
        both = [asyncio.ensure_future(partitions.keep(SAMPLES, DAY, LONG_AGO)) for _ in range(2)]
        await until(lambda: _waiting(holder, 2))
        await holder.close()
        assert sorted([len(made) for made, _ in await asyncio.gather(*both)]) == [0, 4]
    finally:
        await database.close()


async def _waiting(connection: Connection, number: int) -> bool:
    """Return whether so many services wait for the lock of partitions."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1::bigint::oid"
    return bool(await connection.fetchval(query, PARTITIONS_LOCK % 2**32) == number)


async def test_earlier_rows_move_into_a_new_partition(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """Samples of a day without a partition move into it when it is created."""
    await store(database, writer, row(5, 1, cpu=1.0), row(-86_400, 2))
    await Partitions(database).keep(SAMPLES, DAY, LONG_AGO)
    assert await database.fetchval("SELECT count(*) FROM host_samples_20261120") == 1
    assert await database.fetchval("SELECT count(*) FROM host_samples_rest") == 1
    assert await reader.count_samples("a", span(-1e6, 1e6), 10) == 2
    await store(database, writer, row(5, 1), row(6, 3))
    assert await database.fetchval("SELECT count(*) FROM host_samples_20261120") == 2


async def test_a_partition_is_dropped_when_all_its_rows_expired(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """It is dropped when all that it can hold is old enough, and not before."""
    partitions = Partitions(database)
    await partitions.keep(SAMPLES, DAY, LONG_AGO)
    await store(database, writer, row(5, 1), row(86_405, 2))
    later = DAY + timedelta(days=10)
    _, dropped = await partitions.keep(SAMPLES, later, DAY + timedelta(days=1, seconds=-1))
    assert dropped == []
    _, dropped = await partitions.keep(SAMPLES, later, DAY + timedelta(days=1))
    assert dropped == ["host_samples_20261120"]
    assert await reader.count_samples("a", span(-1e6, 1e6), 10) == 1
    assert "host_samples_rest" in await _partitions(database)
