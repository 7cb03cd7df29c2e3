"""Tables on the nodes of Citus: the plan of their distribution, refusals, and the work itself on a cluster."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from smartmob.distribution import DISTRIBUTOR, PLACEMENTS
from smartmob.errors import DatabaseError
from smartmob.kernel.db import citus, migrations
from smartmob.kernel.db.database import Database
from smartmob.stored_features import MIGRATED_FEATURES
from tests.lock_waits import waits_for_lock
from tests.waiting import until

_WANTED = migrations.collect(MIGRATED_FEATURES)


async def test_the_plan_begins_with_reference_tables(database: Database) -> None:
    """The first table of a group has its shards made, the others are put beside them; local tables stay."""
    async with database.acquire() as connection:
        steps = (
            {}
            if await citus.distributed_tables(connection)
            else {s.table: s for s in await citus.plan(connection, PLACEMENTS)}
        )

    if steps:
        assert list(steps)[:2] == ["test_contexts", "test_items"]
        assert steps["test_metrics"].colocated_with is None
        assert steps["test_sessions"].colocated_with == "test_metrics"
        assert steps["host_samples"].colocated_with == "host_clocks"
        assert "marks" not in steps


async def test_a_server_without_citus_is_refused(empty_url: str) -> None:
    """The message says in one line what to do; missing migrations are said before."""
    connection = await asyncpg.connect(empty_url)
    try:
        with pytest.raises(DatabaseError, match="this database has no Citus: install it on all nodes"):
            await citus.require_ready(connection, [])
        assert await citus.distributed_tables(connection) == set()
        assert await citus.shards(connection) == citus.DEFAULT_SHARDS
    finally:
        await connection.close()


async def test_a_distributor_does_nothing_without_citus(database: Database) -> None:
    """A migration of another database costs one look at the catalog of extensions."""
    if await database.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"):
        pytest.skip("this run has a cluster")
    async with database.acquire() as connection, connection.transaction():
        await DISTRIBUTOR.begin(connection)
        await DISTRIBUTOR.distribute_new(connection)
        assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'pg_dist_partition'") == 0


async def test_a_distribution_waits_for_another(database: Database) -> None:
    """The session of a killed command still ends the table that it distributes."""
    first, second = await database.connect(), await database.connect()
    await citus.wait_for_others(first)
    waiting = asyncio.ensure_future(citus.wait_for_others(second))
    await until(lambda: database.run(waits_for_lock))
    await first.close()
    await waiting
    await second.close()


@pytest.mark.citus
async def test_a_table_of_a_later_migration_is_distributed(database: Database) -> None:
    """The migration that makes it, or changes a distributed one, does so in its own transaction."""
    placements = {**PLACEMENTS, "late_values": PLACEMENTS["test_metrics"]}
    later = migrations.Migration(
        "late",
        1,
        "0001_late.sql",
        "CREATE TABLE late_values (session_h text PRIMARY KEY);"
        "ALTER TABLE test_metrics ADD COLUMN late integer;"
        "CREATE INDEX late_metrics ON test_metrics (late);",
    )
    async with database.acquire() as connection:
        try:
            await migrations.apply(connection, [*_WANTED, later], citus.Distributor(placements))
            assert "late_values" in await citus.distributed_tables(connection)
            assert (
                await connection.fetchval("SELECT count(late) FROM test_metrics JOIN late_values USING (session_h)")
                == 0
            )
        finally:
            await connection.execute("DROP TABLE IF EXISTS late_values")
            await connection.execute("ALTER TABLE test_metrics DROP COLUMN IF EXISTS late")
            await connection.execute("DELETE FROM schema_migrations WHERE room = 'late'")


@pytest.mark.citus
async def test_a_table_of_an_interrupted_distribution_is_planned_again(database: Database) -> None:
    """Citus manages it on the coordinator alone, with the same method as a reference table."""
    async with database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SELECT undistribute_table('hosts')")
            await connection.execute("SELECT citus_add_local_table_to_metadata('hosts')")
            (step,) = await citus.plan(connection, PLACEMENTS)
            await citus.distribute(connection, step, 4, online=False)
            assert await citus.plan(connection, PLACEMENTS) == []
        finally:
            await transaction.rollback()

    assert (step.table, step.placement) == ("hosts", PLACEMENTS["hosts"])


@pytest.mark.citus
async def test_the_role_of_the_rebalancer_needs_no_rights_in_the_schema_of_citus(database: Database) -> None:
    """It must own the tables, as the role of the service does, which is no superuser."""
    connection = await database.connect()
    try:
        await connection.execute("SET ROLE pg_monitor")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="must be owner of table"):
            await citus.start_rebalance(connection, block_writes=False)
    finally:
        await connection.close()


@pytest.mark.citus
async def test_rows_are_on_several_nodes(database: Database) -> None:
    """Distributed rows are all found, no table is left to distribute, and no shard to move."""
    async with database.acquire() as connection:
        await connection.execute(
            "INSERT INTO hosts (name, own, registered_at)"
            " SELECT 'h' || i, false, now() FROM generate_series(1, 40) AS i"
        )
        assert await connection.fetchval("SELECT count(*) FROM hosts") == 40
        assert await citus.plan(connection, PLACEMENTS) == []
        assert await citus.moves(connection) == []
        places = await connection.fetch(
            "SELECT DISTINCT nodeport FROM citus_shards WHERE table_name = 'hosts'::regclass"
        )
        assert len(places) > 1
