"""A server that allows few connections: each process of a service gets some, and what is written is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import asyncpg
import pytest
import structlog

from smartmob.app import build
from smartmob.errors import DatabaseError
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import connection_limits
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import GroupCommitWriter, Submission
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings
from tests import citus_databases
from tests.databases import as_admin
from tests.each import each
from tests.kernel.pooler import pooler_of

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(name="admin")
async def _admin(database_url: str) -> AsyncIterator[Admin]:
    """Return a connection of the administrator, for whom no limit counts."""
    admin = await asyncpg.connect(as_admin(database_url))
    yield admin
    await admin.close()


async def _limit(admin: Admin, connections: int) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {connections}')


@each(
    "wished, allowed, workers, size",
    [(8, 100, 1, 8), (8, 15, 1, 8), (8, 7, 1, 7), (8, 2, 1, 2), (8, 100, 2, 8), (8, 7, 2, 2), (4, 30, 4, 4)],
)
def test_each_process_gets_its_share(wished: int, allowed: int, workers: int, size: int) -> None:
    """The owner would otherwise take all at its start, and the workers none."""
    assert connection_limits.pool_size(wished, allowed, workers) == size


@each("allowed, workers, said", [(1, 1, "allows this role 1 connections"), (5, 2, "needs 6 at least")])
def test_too_few_connections_are_refused(allowed: int, workers: int, said: str) -> None:
    """The line says what to raise, and that fewer workers do with less."""
    with pytest.raises(DatabaseError, match=said) as caught:
        connection_limits.pool_size(8, allowed, workers)

    assert ("fewer workers" in str(caught.value)) is (workers > 1)


async def test_the_writers_of_a_service_are_counted(settings: Settings) -> None:
    """Each has a connection of its own beside the pool, except that of the audit log, which writes rarely."""
    writers = [feature.writer for feature in build(settings).features if feature.writer is not None]
    writers = [writer for writer in writers if not getattr(writer, "_delay", 0.0)]

    assert len(writers) == connection_limits.WRITERS


async def test_the_pool_is_no_larger_than_the_limit(admin: Admin, database_url: str) -> None:
    """A limit of the database counts as one of the server does."""
    if citus_databases.url() is not None:
        pytest.skip("the role that owns the tables of a cluster may be a superuser, which has no limit")
    await _limit(admin, 3)
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    try:
        assert (database.allowed, database.pool_size) == (3, 3)
    finally:
        await database.close()


async def test_a_pooler_shares_its_own_connections(database_url: str) -> None:
    """So the limit of the server says nothing about those of the service."""
    async with pooler_of(database_url) as shared:
        database = Database(DatabaseSettings(url=shared.url, statement_cache_size=0), None)
        await database.open()
        try:
            assert (database.allowed, database.pool_size) == (None, 8)
        finally:
            await database.close()


def test_a_service_that_may_run_out_of_connections_says_so_at_its_start() -> None:
    """The log has how many it may have, and how many it may want."""
    with structlog.testing.capture_logs() as lines:
        connection_limits.warn(13, 8, 1)
        connection_limits.warn(14, 8, 1)
        connection_limits.warn(25, 8, 2)
        connection_limits.warn(None, 8, 2)

    assert [(line["event"], line["allowed"], line["wanted"]) for line in lines] == [
        ("database.few_connections", 13, 14),
        ("database.few_connections", 25, 26),
    ]


async def test_rows_are_written_though_the_server_allows_no_further_connection(admin: Admin, database_url: str) -> None:
    """The writer borrows a connection of the pool, which keeps those that it has for minutes."""
    database, tasks = Database(DatabaseSettings(url=database_url, pool_size=2, patience=0.5), None), TaskRegistry()
    await database.open()
    async with database.acquire(), database.acquire():
        pass
    taken = await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    await _limit(admin, taken)
    await admin.execute("CREATE TABLE few (line text); GRANT ALL ON few TO PUBLIC")

    async def commit(connection: Connection, submissions: Sequence[Submission[str]]) -> None:
        await connection.executemany(
            "INSERT INTO few VALUES ($1)", [(row,) for submission in submissions for row in submission.rows]
        )

    writer = GroupCommitWriter("few", database, commit)
    await writer.start(tasks)
    try:
        await writer.put(["one"])
        await writer.put(["two"])
    finally:
        await writer.close()
        await tasks.close()
        await database.close()

    assert await admin.fetchval("SELECT array_agg(line ORDER BY line) FROM few") == ["one", "two"]
