"""The writing of metrics: blocks, lost answers, bulk loads, and the removal of old data."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission
from smartmob.metrics import protocol
from smartmob.metrics.model import MetricFilter, MetricRow, metric_row
from smartmob.metrics.store.block_allocator import first_block
from smartmob.metrics.store.reader import PACKAGE, MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.settings import DatabaseSettings
from tests.lock_waits import waits_for_lock
from tests.metrics.samples import metric
from tests.waiting import until

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _rows(count: int, **changes: Any) -> list[MetricRow]:
    return [
        metric_row(protocol.METRIC.decode(orjson.dumps(metric(item=f"test_{n}", **changes))), time.time())
        for n in range(count)
    ]


async def _batches(*counts: int, **changes: Any) -> AsyncIterator[list[MetricRow]]:
    for count in counts:
        yield _rows(count, **changes)


async def _broken(batches: AsyncIterator[list[MetricRow]], error: Exception) -> AsyncIterator[list[MetricRow]]:
    async for batch in batches:
        yield batch
    raise error


def _submission(rows: list[MetricRow]) -> Submission[MetricRow]:
    return Submission(rows, asyncio.get_running_loop().create_future(), 0.0)


async def _blocks(database: Database) -> list[tuple[int | None, int]]:
    """Return for each block its stored and its real number of metrics."""
    rows = await database.fetch(
        "WITH counted AS MATERIALIZED (SELECT block, count(*) AS real FROM test_metrics GROUP BY block) "
        "SELECT metrics, coalesce(real, 0) AS real FROM test_metric_blocks LEFT JOIN counted USING (block) "
        "ORDER BY block"
    )
    return [tuple(row) for row in rows]


async def test_a_batch_that_was_committed_is_not_stored_twice(database: Database) -> None:
    """If only the answer to a commit is lost, the repeated submissions change nothing."""
    writer, connection = MetricsWriter(database), await database.connect()
    first, second = _submission(_rows(2)), _submission(_rows(3))

    await writer.commit(connection, [first, second])
    await writer.commit(connection, [second])

    assert await MetricsReader(database).count_metrics(MetricFilter()) == 5
    await connection.close()


async def test_a_batch_that_was_not_committed_is_stored_the_second_time(database: Database) -> None:
    """If the connection is lost before the commit, the second attempt stores the batch."""
    writer = MetricsWriter(database)
    broken, connection = await database.connect(), await database.connect()
    submission = _submission(_rows(2))
    await writer.commit(connection, [_submission(_rows(1))])
    await broken.close()

    with pytest.raises(Exception, match="closed"):
        await writer.commit(broken, [submission])
    await writer.commit(connection, [submission])

    assert await MetricsReader(database).count_metrics(MetricFilter()) == 3
    await connection.close()


async def test_a_restored_database_gets_the_tests_again(database: Database) -> None:
    """Known rows are forgotten with the connection, so that a metric never lacks its test."""
    writer = MetricsWriter(database)
    for _ in range(2):
        connection = await database.connect()
        await connection.execute("TRUNCATE test_items, test_session_contexts, test_metrics, test_metric_blocks")
        await writer.commit(connection, [_submission(_rows(1))])
        assert len(await MetricsReader(database).metrics(MetricFilter(item="test_0"), 0, 10)) == 1
        await connection.close()


async def test_blocks_are_counted_when_they_are_closed(database: Database) -> None:
    """The open block is counted on request, closed blocks have a stored number, and the total is right throughout."""
    writer, connection, reader = MetricsWriter(database), await database.connect(), MetricsReader(database)

    for _ in range(5):
        await writer.commit(connection, [_submission(_rows(2000))])

    assert await _blocks(database) == [(6000, 6000), (None, 4000)]
    assert await reader.count_metrics(MetricFilter()) == 10_000
    assert [row["item"] for row in await reader.metrics_page(9_999, 10)] == ["test_1999"]
    assert await reader.metrics_page(10_000, 10) == []
    await connection.close()


async def test_abandoned_blocks_are_closed(database: Database) -> None:
    """A block that a killed service left open is counted once it is old."""
    writer, connection = MetricsWriter(database), await database.connect()
    await writer.commit(connection, [_submission(_rows(3))])
    now = datetime.now(UTC)

    await writer.close_abandoned_blocks(now - timedelta(hours=1))
    assert await _blocks(database) == [(None, 3)]
    await writer.close_abandoned_blocks(now + timedelta(hours=1))
    assert await _blocks(database) == [(3, 3)]
    await connection.close()


async def test_a_load_is_stored_completely_or_not_at_all(database: Database) -> None:
    """A failed load leaves nothing, and a successful one is counted."""
    writer = MetricsWriter(database)

    with pytest.raises(RuntimeError, match="in the middle"):
        async with writer.bulk() as load:
            await load.write(_batches(10))
            raise RuntimeError("in the middle")
    assert await _blocks(database) == []

    with pytest.raises(RuntimeError, match="in its middle"):
        async with writer.bulk() as load:
            await load.write(_broken(_batches(10), RuntimeError("in its middle")))
    assert await _blocks(database) == []

    async with writer.bulk() as load:
        await load.write(_batches(10, 5))
    assert (load.metrics, await _blocks(database)) == (15, [(15, 15)])


async def test_a_load_is_unavailable_when_the_connection_is_lost(database: Database) -> None:
    """The load ends without reading the rest of its stream, and nothing is stored."""
    writer = MetricsWriter(database)

    async def endless() -> AsyncIterator[list[MetricRow]]:
        yield _rows(10)
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
        while True:
            yield _rows(10)
            await asyncio.sleep(0)

    with pytest.raises(Unavailable):
        async with writer.bulk() as load:
            await load.write(endless())

    assert await _blocks(database) == []


async def test_a_load_ends_when_the_connection_is_lost_while_the_database_reads_nothing(database: Database) -> None:
    """asyncpg then waits for permission to write, and never gets it."""
    writer = MetricsWriter(database)
    copying: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    sent = 0

    async def endless(server: int) -> AsyncIterator[list[MetricRow]]:
        nonlocal sent
        os.kill(server, signal.SIGSTOP)
        copying.set_result(server)
        while True:
            yield _rows(1_000)
            sent += 1_000
            await asyncio.sleep(0)

    async def load() -> None:
        async with writer.bulk() as load:
            await load.write(endless(load._connection.get_server_pid()))

    async def stands_still() -> bool:
        before = sent
        await asyncio.sleep(0.1)
        return before > 0 and sent == before

    task = asyncio.create_task(load())
    server = await copying
    try:
        await until(stands_still)
    finally:
        os.kill(server, signal.SIGTERM)
        os.kill(server, signal.SIGCONT)
    with pytest.raises(Unavailable):
        await task
    assert await _blocks(database) == []


async def test_a_load_counts_what_another_stored_while_it_waited(database_url: str) -> None:
    """Otherwise a repeated import would store its metrics twice where the default isolation hides later commits."""
    strict = f"{database_url}{'&' if '?' in database_url else '?'}default_transaction_isolation=repeatable%20read"
    database = Database(DatabaseSettings(url=strict), None)
    await database.open()

    async def count() -> int:
        async with MetricsWriter(database).bulk() as load:
            return await load.lock_session("5" * 32)

    try:
        async with MetricsWriter(database).bulk() as first:
            assert await first.lock_session("5" * 32) == 0
            second = asyncio.ensure_future(count())
            await until(lambda: database.run(waits_for_lock))
            await first.write(_batches(3))
        assert await second == 3
    finally:
        await database.close()


async def test_metrics_after_a_load_come_after_it(database: Database) -> None:
    """The order of arrival holds between single metrics and those of a load."""
    writer, connection = MetricsWriter(database), await database.connect()
    await writer.commit(connection, [_submission(_rows(1, component="1"))])
    async with writer.bulk() as load:
        await load.write(_batches(2, component="2"))
    await writer.commit(connection, [_submission(_rows(1, component="3"))])

    rows = await MetricsReader(database).metrics_page(0, 10)

    assert [row["component"] for row in rows] == ["1", "2", "2", "3"]
    await connection.close()


async def test_expired_metrics_and_sessions_are_deleted(database: Database) -> None:
    """Metrics expire by their block, and sessions once they have no metrics left."""
    writer = MetricsWriter(database)
    for name, day in (("old", 1), ("young", 9)):
        received = NOW + timedelta(days=day)
        await writer.insert_session((name, "2026-01-01", received, "", "{}", "{}", None, "k", received))
        await database.fetch("INSERT INTO test_metric_blocks VALUES ($1, 1)", first_block(received))
        await database.fetch(
            "INSERT INTO test_metrics VALUES ($1, $2, 0, 'c', gen_random_uuid(), '', now(), 1)",
            *(name, first_block(received)),
        )

    assert await writer.expire(NOW + timedelta(days=5)) == (1, 1)

    assert [row["session_h"] for row in await database.fetch("SELECT session_h FROM test_sessions")] == ["young"]
    assert await _blocks(database) == [(1, 1)]
    assert await writer.expire(NOW + timedelta(days=5)) == (0, 0)


async def test_links_of_unknown_sessions_expire_with_their_metrics(database: Database) -> None:
    """Links of stored sessions and of stored metrics remain."""
    writer = MetricsWriter(database)
    await writer.insert_session(("known", "2026-01-01", NOW, "", "{}", "{}", None, "k", NOW))
    await database.fetch("INSERT INTO test_session_contexts SELECT unnest(ARRAY['known', 'measured', 'gone']), 'c'")
    await database.fetch("INSERT INTO test_metric_blocks VALUES ($1, 1)", first_block(NOW))
    await database.fetch(
        "INSERT INTO test_metrics VALUES ('measured', $1, 0, 'c', gen_random_uuid(), '', now(), 1)", first_block(NOW)
    )

    await writer.expire(NOW - timedelta(days=1))

    rows = await database.fetch("SELECT session_h FROM test_session_contexts ORDER BY 1")
    assert [row["session_h"] for row in rows] == ["known", "measured"]


async def test_expired_blocks_are_deleted_in_steps(database: Database) -> None:
    """All expired blocks are deleted, however many there are."""
    writer = MetricsWriter(database)
    await database.fetch("INSERT INTO test_metric_blocks SELECT n, 1 FROM generate_series(1, 70) AS n")
    await database.fetch(
        "INSERT INTO test_metrics "
        "SELECT 's', n, 0, 'c', gen_random_uuid(), '', now(), 1 FROM generate_series(1, 70) AS n"
    )

    assert await writer.expire(NOW) == (0, 70)


class TestUnusedItems:
    """Tests that no metric refers to."""

    HOUR = timedelta(hours=1)

    async def _store(self, writer: MetricsWriter, database: Database, rows: list[MetricRow]) -> None:
        connection = await database.connect()
        await writer.commit(connection, [_submission(rows)])
        await connection.close()

    async def _age(self, database: Database, item: str = "%") -> None:
        await database.fetch("UPDATE test_items SET asked_at = now() - interval '2 days' WHERE item LIKE $1", item)

    async def _items(self, database: Database) -> list[str]:
        return [row["item"] for row in await database.fetch("SELECT item FROM test_items ORDER BY item")]

    async def test_unused_tests_are_deleted(self, database: Database) -> None:
        """Tests that were stored recently and tests of stored metrics remain."""
        writer = MetricsWriter(database)
        await self._store(writer, database, _rows(2, session_h="gone") + _rows(1, session_h="there"))
        await writer.delete_session("gone")
        assert (await writer.remove_unused_items(), await self._items(database)) == (0, ["test_0", "test_1"])

        await self._age(database)
        assert (await writer.remove_unused_items(), await self._items(database)) == (1, ["test_0"])

        await self._store(writer, database, _rows(2, session_h="later"))
        assert await self._items(database) == ["test_0", "test_1"]

    async def test_a_test_that_is_stored_again_is_kept(self, database: Database) -> None:
        """A service that has known a test for long, or has just started, stores it again."""
        await self._store(MetricsWriter(database), database, _rows(1, session_h="gone"))
        await self._age(database)
        writer = MetricsWriter(database)
        await self._store(writer, database, _rows(1, session_h="gone"))
        await writer.delete_session("gone")

        assert (await writer.remove_unused_items(), await self._items(database)) == (0, ["test_0"])

    async def test_a_round_checks_a_bounded_number_of_tests(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next round continues after the last test, and begins again at the end."""
        monkeypatch.setattr("smartmob.metrics.store.writer._ITEMS_AT_ONCE", 3)
        monkeypatch.setattr("smartmob.metrics.store.writer._ITEMS_PER_ROUND", 6)
        writer = MetricsWriter(database)
        await self._store(writer, database, _rows(10, session_h="gone"))
        await writer.delete_session("gone")
        await self._age(database)

        assert [await writer.remove_unused_items() for _ in range(2)] == [6, 4]

        await self._store(writer, database, _rows(2, session_h="gone"))
        await writer.delete_session("gone")
        await self._age(database)
        assert sum([await writer.remove_unused_items() for _ in range(2)]) == 2

    async def test_a_test_that_is_stored_during_the_removal_is_kept(self, database: Database) -> None:
        """The removal waits for a concurrent upsert, and then keeps the test."""
        writer, other = MetricsWriter(database), await database.connect()
        await self._store(writer, database, _rows(1, session_h="gone"))
        await writer.delete_session("gone")
        await self._age(database)

        async with other.transaction():
            row = await other.fetchrow("SELECT * FROM test_items")
            assert row is not None
            values = [[row[name]] for name in tuple(row.keys())[:7]]
            await other.execute(queries.load(PACKAGE)["insert_items"], *values)
            removal = asyncio.ensure_future(writer.remove_unused_items())
            await until(lambda: database.run(waits_for_lock))

        assert (await removal, await self._items(database)) == (0, ["test_0"])
        await other.close()

    async def test_a_test_that_was_just_removed_is_stored_again(self, database: Database) -> None:
        """An upsert waits for a concurrent removal, and then stores the test anew."""
        writer, other = MetricsWriter(database), await database.connect()
        await self._store(MetricsWriter(database), database, _rows(1, session_h="gone"))
        await writer.delete_session("gone")
        await self._age(database)

        async with other.transaction():
            await other.execute("DELETE FROM test_items")
            storing = asyncio.ensure_future(self._store(writer, database, _rows(1, session_h="later")))
            await until(lambda: database.run(waits_for_lock))
        await storing

        (row,) = await MetricsReader(database).metrics_page(0, 10)
        assert (row["session_h"], row["item"]) == ("later", "test_0")
        await other.close()

    async def test_no_test_is_removed_during_a_load(self, database: Database) -> None:
        """The tests of a long load are there at its end."""
        writer, cleaner = MetricsWriter(database), MetricsWriter(database)

        async def slow() -> AsyncIterator[list[MetricRow]]:
            yield _rows(3)
            await self._age(database)
            assert await cleaner.remove_unused_items() == 0
            yield _rows(3)

        async with writer.bulk() as load:
            await load.write(slow())

        assert len(await MetricsReader(database).metrics_page(0, 10)) == 6
        await self._age(database)
        await writer.delete_session("5" * 32)
        assert await cleaner.remove_unused_items() == 3

    async def test_removal_and_writers_together_leave_no_metric_without_its_test(self, database: Database) -> None:
        """In any order of removals and writers, each metric has its test."""
        connections = [await database.connect() for _ in range(3)]
        for turn in range(10):
            # Each knows nothing, as a service that starts.
            writers = [MetricsWriter(database) for _ in connections]
            rows = [_rows(20, session_h=f"{turn}-{number}") for number in range(3)]
            await asyncio.gather(
                *(
                    writer.commit(connection, [_submission(some)])
                    for writer, connection, some in zip(writers, connections, rows, strict=True)
                ),
                *(MetricsWriter(database).remove_unused_items(self.HOUR) for _ in range(3)),
            )
            found = await MetricsReader(database).metrics_page(0, 1_000)
            assert len(found) == await database.fetchval("SELECT count(*) FROM test_metrics") == 60
            for number in range(3):
                await writers[number].delete_session(f"{turn}-{number}")
            await self._age(database)
        assert await MetricsWriter(database).remove_unused_items(self.HOUR) == 20
        for connection in connections:
            await connection.close()
