"""Writing samples and rolling them up."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from tests import citus_databases
from tests.hosts.store.rows import DAY, buckets, row, span, store, submission

EVERYTHING = span(-1e6, 1e6)


async def _count(reader: HostsReader) -> int:
    return await reader.count_samples("a", EVERYTHING, 1_000)


async def test_a_repeated_commit_stores_nothing_twice(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """When only the answer to a commit was lost, the same submissions change nothing; otherwise they are stored."""
    connection = await database.connect()
    first, second = submission([row(1, 1), row(1, 2)]), submission([row(2, 3, cpu=5.0, cores=[1.0])])
    await writer.commit(connection, [first, second])
    await writer.commit(connection, [second])
    await writer.commit(connection, [first, second])
    assert await _count(reader) == 3

    late = submission([row(3, 4)])
    broken = await database.connect()
    await broken.close()
    with pytest.raises(asyncpg.InterfaceError):
        await writer.commit(broken, [late])
    await writer.commit(connection, [late])
    assert await _count(reader) == 4
    await connection.close()


async def test_a_sample_that_is_sent_twice_is_stored_once(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """Also within one batch, and beside new samples."""
    await store(database, writer, row(1, 7), row(2, 8))
    await store(database, writer, row(1, 7), row(1, 9), row(3, 7), row(3, 7))
    assert await _count(reader) == 4


async def test_a_machine_is_inserted_once_and_removed_with_its_samples(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """A name can be inserted once; the service's own machine cannot be removed."""
    assert await writer.insert_host("a", DAY, own=False, salt=b"s", secret=b"x")
    assert not await writer.insert_host("a", DAY, own=False, salt=b"t", secret=b"y")
    assert await writer.insert_host("own", DAY, own=True)
    stored = await reader.secret("a")
    assert stored is not None
    assert stored["secret"] == b"x"
    await store(database, writer, row(1, 1), row(1, 1, host="b"))
    await writer.insert_offset("a", DAY, 0.5, 0.1)
    assert await writer.delete_host("a")
    assert not await writer.delete_host("a")
    assert not await writer.delete_host("own")
    assert await _count(reader) == 0
    assert await reader.count_samples("b", EVERYTHING, 10) == 1
    assert await database.fetchval("SELECT count(*) FROM host_clocks") == 0


class TestRollUps:
    """One-minute roll-ups."""

    async def test_a_minute_has_the_aggregates_of_each_field(
        self, database: Database, reader: HostsReader, writer: HostsWriter
    ) -> None:
        """Minimum, mean and maximum of the samples that have the field."""
        await store(
            database, writer, *(row(n, n, cpu=float(n)) for n in range(120)), row(60, 999, mem=5.0), row(5, 1, host="b")
        )
        assert await writer.roll_up(0) == 3
        assert await buckets(reader, 60) == [(0.0, 60, 0.0, 29.5, 59.0), (60.0, 61, 60.0, 89.5, 119.0)]
        assert await buckets(reader, 120) == [(0.0, 121, 0.0, 59.5, 119.0)]
        assert await writer.roll_up(0) == 0

    async def test_a_late_sample_changes_its_minute(
        self, database: Database, reader: HostsReader, writer: HostsWriter
    ) -> None:
        """A sample of a minute that is rolled up already is in it after the next roll-up."""
        await store(database, writer, row(1, 1, cpu=1.0))
        await writer.roll_up(0)
        await store(database, writer, row(30, 2, cpu=3.0))
        assert await writer.roll_up(0) == 1
        assert await buckets(reader, 60) == [(0.0, 2, 1.0, 2.0, 3.0)]

    async def test_a_minute_outlives_its_samples(
        self, database: Database, reader: HostsReader, writer: HostsWriter
    ) -> None:
        """A late sample of a minute whose other samples are gone does not replace their aggregates."""
        await store(database, writer, row(1, 1, cpu=1.0), row(2, 2, cpu=3.0))
        await writer.roll_up(0)
        await database.fetchval("DELETE FROM host_samples")
        await store(database, writer, row(3, 3, cpu=99.0))
        await writer.roll_up(0)
        assert await buckets(reader, 60) == [(0.0, 2, 1.0, 2.0, 3.0)]

    async def test_young_samples_are_not_rolled_up(self, database: Database, writer: HostsWriter) -> None:
        """Samples whose transactions may still be open are left for the next time."""
        await store(database, writer, row(1, 1))
        assert await writer.roll_up(3600.0) == 0
        assert await writer.roll_up(0) == 1

    async def test_a_long_time_is_rolled_up_in_steps(
        self, database: Database, reader: HostsReader, writer: HostsWriter
    ) -> None:
        """Samples of hours without roll-ups are done in steps, and none is left out."""
        await store(database, writer, *(row(60 * n, n, cpu=1.0) for n in range(60)))
        await writer.roll_up(0)
        first = clock.now() - timedelta(hours=5)
        arrivals = [(n, first + timedelta(minutes=4 * n)) for n in range(60)]
        change = "UPDATE host_samples SET received_at = $2 WHERE n = $1"
        await database.run(lambda connection: connection.executemany(change, arrivals))
        await database.fetchval("DELETE FROM host_minutes")
        await database.fetchval("UPDATE host_progress SET until = now() - interval '6 hours'")
        assert await writer.roll_up(0) == 60
        assert len(await buckets(reader, 60)) == 60


async def test_rows_outside_all_partitions_expire_by_arrival(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """Rows of the default partition are deleted by their time of arrival."""
    await store(database, writer, row(-1e6, 1), row(0, 2))
    await database.fetchval("UPDATE host_samples SET received_at = $1 WHERE n = 1", DAY - timedelta(days=30))
    await writer.roll_up(0)
    await writer.insert_offset("a", DAY - timedelta(days=400), 0.5, 0.1)
    await writer.expire(DAY - timedelta(days=14), DAY - timedelta(days=365))
    assert await database.fetchval("SELECT array_agg(n) FROM host_samples") == [2]
    assert await database.fetchval("SELECT count(*) FROM host_clocks") == 0
    assert await database.fetchval("SELECT count(*) FROM host_minutes") >= 1


_READ = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'host_samples%'"
_MANY = """
INSERT INTO host_samples (host, at, n, received_at, cpu, mem, storage)
SELECT 'm' || h, at, 0, at, 1, 1, 1 FROM generate_series(1, 4) AS h, generate_series(1, 50000) AS s,
    LATERAL (SELECT now() - s * interval '1 s' AS at) AS t
ORDER BY at
"""


async def test_a_roll_up_reads_the_minutes_that_have_changed_alone(database: Database, writer: HostsWriter) -> None:
    """Its cost does not grow with the samples of the partition, of which there are 200,000 here."""
    if citus_databases.url() is not None:
        pytest.skip("the rows are read by the nodes, which count them")

    async def read() -> int:
        await database.fetchval("SELECT pg_stat_force_next_flush()")
        return int(await database.fetchval(_READ))

    for statement in (_MANY, "VACUUM ANALYZE host_samples"):
        await database.run(lambda connection, text=statement: connection.execute(text))
    await database.fetchval("UPDATE host_progress SET until = now() - interval '1 minute'")
    before = await read()

    assert 4 <= await writer.roll_up(0) <= 12
    assert 0 < await read() - before < 50_000
