"""The tables of load tests: partitions for each day, and rows that come back as they went in."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.db import citus
from smartmob.turrets.hq.batch import Batch, HealthRow, SliceRow
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.rows import Columns
from smartmob.turrets.model import RunConfig
from smartmob.turrets.protocol import ErrorKind, Result
from smartmob.turrets.store.partitions import PARTITIONED, KnownPartitions
from tests.lock_waits import waits_for_lock
from tests.turrets.messages import slice_of
from tests.turrets.stored import Store
from tests.waiting import until

STARTED = datetime(2031, 2, 28, 23, 59, 59, 500_000, tzinfo=UTC)


async def _partitions(connection: Any) -> set[str]:
    rows = await connection.fetch(
        "SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE relkind = 'r' AND starts_with(c.relname, 'turret_')"
    )
    return {row["name"] for row in rows}


async def test_partitions_are_made_ahead(store: Store) -> None:
    """Those of today and the next days are made once, whoever makes them and how often."""
    other = KnownPartitions()
    connections = [await store.database.connect() for _ in range(2)]
    there = await _partitions(connections[0])
    await asyncio.gather(
        store.writer.make_partitions(STARTED),
        *(other.ensure_ahead(connection, STARTED) for connection in connections),
    )
    days = ("20310228", "20310301", "20310302")
    made = await _partitions(connections[0]) - there
    assert made == {f"{table}_{day}" for table in PARTITIONED for day in days}
    for connection in connections:
        await connection.close()


async def test_a_batch_makes_the_partitions_that_it_needs(store: Store) -> None:
    """A clock that was set far ahead costs a partition, not the results."""
    batch = Batch(uuid4(), STARTED.timestamp(), number=1)
    columns = Columns.of([Result(elapsed=1.0, epoch=2.0, scriptrun_time=0.25, error="a\0b", custom_timers={"t": 1.5})])
    columns.moments = [STARTED.timestamp() + 1]
    batch.add(columns)
    batch.slices = [SliceRow("u", slice_of(0, [0.1])), SliceRow("u", slice_of(7, [0.2], "page", {"x": 1}, late=2))]
    batch.health = [HealthRow(STARTED, "u", 3, 1.5, 0.75, 0.01, 12345, 2)]
    batch.progress = {"u": 9}
    await store.live.put((batch,))

    (record,) = [record async for some in store.reader.results(batch.run) for record in some]
    assert tuple(record)[1:6] == (1.0, 2.0, 0.25, "a\ufffdb", '{"t":1.5}')
    assert record["at"] == STARTED + timedelta(seconds=1)
    assert await store.slices(batch.run) == [row.slice for row in batch.slices]
    assert await store.reader.progress(batch.run) == {"u": 9}
    (health,) = await store.reader.health(batch.run)
    assert tuple(health) == (STARTED, "u", 3, 1.5, 0.75, 0.01, 12345, 2)


async def test_progress_only_grows(store: Store) -> None:
    """A lower number that is written later changes nothing."""
    run = uuid4()
    for number, sequence in enumerate((5, 3), start=1):
        await store.live.put((Batch(run, STARTED.timestamp(), number=number, progress={"u": sequence}),))
    assert await store.reader.progress(run) == {"u": 5}


async def test_a_batch_is_stored_in_a_restored_database(store: Store) -> None:
    """The known partitions are forgotten with the connection."""
    await store.live.put((Batch(uuid4(), STARTED.timestamp(), number=1, slices=[SliceRow("u", slice_of(0, [0.1]))]),))
    connection = await store.database.connect()
    await connection.execute("DROP TABLE turret_slices_20310228")
    await connection.close()
    assert store.live._connection is not None
    store.live._connection.terminate()
    run = uuid4()
    batch = Batch(run, STARTED.timestamp(), number=1, slices=[SliceRow("u", slice_of(0, [0.1]))])
    await store.live.put((batch,))
    assert len(await store.slices(run)) == 1


async def test_a_batch_of_an_attempt_that_is_still_open_is_stored_once(store: Store) -> None:
    """The repetition waits for the earlier attempt, whose answer was lost, and finds the batch stored."""
    run, earlier = uuid4(), await store.database.connect()
    first, second = (Batch(run, STARTED.timestamp(), number=number, progress={"u": number}) for number in (1, 2))
    first.tried = True
    async with earlier.transaction():
        await earlier.execute("INSERT INTO turret_batches VALUES ($1, 1, 0, 0, 0, 0)", run)
        await earlier.execute("INSERT INTO turret_progress VALUES ($1, 'u', 1)", run)
        storing = asyncio.ensure_future(store.live.put((first, second)))
        await until(lambda: store.database.run(waits_for_lock))
    await storing

    assert await earlier.fetchval("SELECT array_agg(batch ORDER BY batch) FROM turret_batches") == [1, 2]
    assert await store.reader.progress(run) == {"u": 2}
    await earlier.close()


async def test_old_partitions_are_dropped(store: Store) -> None:
    """Partitions of later days, and those that are not of a day, stay."""
    partitions, connection = KnownPartitions(), await store.database.connect()
    await partitions.ensure(connection, [date(2031, 2, 26), date(2031, 2, 27)])
    await connection.execute(
        "CREATE TABLE turret_slices_odd PARTITION OF turret_slices FOR VALUES FROM ('2000-01-01') TO ('2000-01-02')"
    )
    old = await _partitions(connection)
    runs, dropped = await store.writer.expire(datetime(2031, 2, 27, 12, tzinfo=UTC))
    left = {f"{table}_20310227" for table in PARTITIONED} | {"turret_slices_odd"}
    assert await _partitions(connection) == left
    assert {f"{table}_20310226" for table in PARTITIONED} < old - left
    assert (runs, dropped) == (0, len(old - left))
    await partitions.ensure(connection, [date(2031, 2, 26)])
    await connection.close()


async def test_runs_that_never_ended_are_removed_later(store: Store) -> None:
    """After 30 more days no headquarters can resume them."""
    connection = await store.database.connect()
    await connection.execute(
        "INSERT INTO turret_runs (run_id, headquarters, name, state, stop_asked, config, created_at, transactions, "
        "errors, counters) SELECT gen_random_uuid(), '/gone', n, n, false, '{}', $1, 0, 0, '{}' "
        "FROM unnest(ARRAY['running', 'finished']) AS n",
        STARTED,
    )
    names = "SELECT array_agg(name) FROM turret_runs"
    await store.writer.expire(STARTED + timedelta(days=1))
    assert await connection.fetchval(names) == ["running"]
    await store.writer.expire(STARTED + timedelta(days=31))
    assert await connection.fetchval(names) is None
    await connection.close()


async def test_tables_can_be_distributed(store: Store) -> None:
    """Each key begins with the run, or with the headquarters, so that a table can be spread by it."""
    connection = await store.database.connect()
    keys = await connection.fetch(
        "SELECT c.relname AS name, a.attname AS first FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
        "WHERE i.indisprimary AND c.relname LIKE 'turret%'"
    )
    # Claims outlive runs: they belong to the headquarters.
    assert {row["first"] for row in keys if row["name"] != "turret_claims"} == {"run_id"}
    assert {row["first"] for row in keys if row["name"] == "turret_claims"} == {"headquarters"}
    with_key = {row["name"] for row in keys}
    assert {"turret_runs", "turret_members", "turret_progress", "turret_batches", "turret_slices"} <= with_key
    await connection.close()


async def test_a_refused_batch_raises_the_error_of_the_database(store: Store) -> None:
    """Nothing of it is stored."""
    connection = await store.database.connect()
    await connection.execute("ALTER TABLE turret_slices ADD CONSTRAINT odd CHECK (count < 3)")
    run = uuid4()
    batch = Batch(run, STARTED.timestamp(), number=1, slices=[SliceRow("u", slice_of(0, [0.1] * 5))], progress={"u": 1})
    try:
        await store.live.put((batch,))
    except (asyncpg.CheckViolationError, asyncpg.InternalServerError) as error:
        # The second is how the coordinator of a cluster passes on errors of other nodes.
        assert "odd" in str(error)
    else:
        raise AssertionError("the constraint did not hold")
    assert await store.reader.progress(run) == {}
    await connection.close()


async def test_failures_are_stored_apart(store: Store) -> None:
    """With their kinds, and those without a duration; a slice of an earlier version comes back as it was stored."""
    batch = Batch(uuid4(), STARTED.timestamp(), number=1)
    parts = [
        slice_of(0, [0.1, 0.2]),
        slice_of(0, [0.3], "", {"a\0b": 2}, failed=True, untimed=1, kind=ErrorKind("HttpError", "503")),
        slice_of(4, [0.1, 0.2], "page", {"old": 1}),
    ]
    batch.slices = [SliceRow("u", part) for part in parts]
    await store.live.put((batch,))

    found = {(part.timer, part.failed): part for part in await store.slices(batch.run)}
    assert [found["", False], found["", True], found["page", False]] == parts
    assert await store.reader.timer_counts(batch.run) == {"": 4, "page": 2}
    assert await store.reader.timer_failures(batch.run) == {"": 2}
    assert (await store.reader.last_second(batch.run), await store.reader.last_second(uuid4())) == (4, 0)


async def test_a_configuration_of_an_earlier_version_is_read(store: Store) -> None:
    """It stored any value of a key that it did not know, such as the conditions of a later version."""
    config = RunConfig(run_time=5)
    run = RunState(str(uuid4()), config, "waiting", STARTED)
    await store.writer.insert_run("here", run, b'{"run_time": 5, "fail_if": {"p99": 1}}', None)
    found = await store.reader.run(UUID(run.id))
    assert found is not None
    assert (found.state.config, "p99" in found.config) == (config, True)


async def test_a_run_whose_rows_are_being_moved_is_removed_later(store: Store) -> None:
    """PostgreSQL refuses to delete published rows without a key, as while Citus moves their shard."""
    run, connection = uuid4(), await store.database.connect()
    if await citus.version(connection) is not None:
        await connection.close()
        pytest.skip("a publication of the coordinator does not publish the shards")
    columns = Columns.of([Result(elapsed=1.0, epoch=2.0, scriptrun_time=0.25, error="", custom_timers={})])
    columns.moments = [STARTED.timestamp()]
    batch = Batch(run, STARTED.timestamp(), number=1)
    batch.add(columns)
    await store.live.put((batch,))
    await connection.execute("CREATE PUBLICATION moved FOR TABLE turret_results_20310228")
    store.database.patience = 0.1
    with pytest.raises(Unavailable, match="rows are being moved to another node of the cluster"):
        await store.writer.delete_run(run)

    await connection.execute("DROP PUBLICATION moved")
    store.database.patience = 60.0
    await store.writer.delete_run(run)
    assert await connection.fetchval("SELECT count(*) FROM turret_results") == 0
    await connection.close()
