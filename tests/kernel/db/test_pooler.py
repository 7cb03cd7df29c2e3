"""A pooler in transaction mode between the service and its database: it works, or is refused in one line."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from smartmob.errors import DatabaseError, Unavailable
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import migrations, pooler
from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection, Database
from smartmob.kernel.maintenance import backup, restore
from smartmob.kernel.maintenance.database_target import reach
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES
from tests.kernel.pooler import Pooler, pooler_of
from tests.kernel.proxy import proxy_to


@pytest.fixture(name="shared")
async def _shared(database_url: str) -> AsyncIterator[Pooler]:
    async with pooler_of(database_url) as shared:
        yield shared


@pytest.fixture(name="filled_backup")
async def _filled_backup(database_url: str, tmp_path: Path) -> Path:
    settings = Settings(database=DatabaseSettings(url=database_url))
    async with reach(settings, migrations.collect(MIGRATED_FEATURES)) as target:
        await backup.dump(target, tmp_path / "lab.dump", io.BytesIO(), lambda *_: None)
    return tmp_path / "lab.dump"


async def _leave_statements(shared: Pooler) -> None:
    """Prepare statements with the names that the driver gives next; they stay in the session of the pooler."""
    connection = await asyncpg.connect(shared.url)
    last = (await connection.prepare("SELECT 1")).get_name()
    number = int(last.strip("_").rpartition("_")[2], 16)  # of the process, counted up for each statement
    for following in range(number + 1, number + 20):
        await connection.execute(f"PREPARE __asyncpg_stmt_{following:x}__ AS SELECT 2")
    await connection.close()


async def _start(url: str, cache: int) -> None:
    """Do with a database what the start of a service does."""
    database = Database(DatabaseSettings(url=url, statement_cache_size=cache), None)
    try:
        await database.open()
        await migrations.bring_up_to_date(database, MIGRATED_FEATURES)
    finally:
        await database.close()


async def test_a_pooler_without_prepared_statements_is_refused_with_the_option_to_give(shared: Pooler) -> None:
    """Each statement would now and then be another client's. With the option the service starts."""
    with pytest.raises(DatabaseError, match="--database-statement-cache-size 0") as caught:
        await _start(shared.url, 100)
    await _start(shared.url, 0)

    assert "\n" not in str(caught.value)


async def test_a_pooler_with_one_session_is_not_waited_for(database_url: str) -> None:
    """It cannot give one to a second client, so nothing shows what it does with statements."""
    async with pooler_of(database_url, size=1) as shared:
        await _start(shared.url, 100)


async def test_a_server_without_a_pooler_is_asked_nothing_more(database: Database) -> None:
    """It tells each client the number of its process."""
    async with database.acquire() as connection:
        assert not await pooler.is_between(connection)
        await pooler.check_session(database, connection)
    await pooler.check_statements(database)


async def test_a_setting_in_the_url_which_a_pooler_refuses_ends_the_start(shared: Pooler) -> None:
    """To wait for the server would not help."""
    with pytest.raises(DatabaseError) as caught:
        await _start(f"{shared.url}&search_path=lab", 0)

    expected = (
        "unsupported startup parameter: search_path: leave it out of the database URL, and set it with ALTER ROLE"
    )
    assert expected in str(caught.value)


async def test_a_statement_that_a_pooler_has_lost_is_no_bug_of_the_service(shared: Pooler) -> None:
    """A pooler may be put in front while the service runs: requests get 503 with what to do."""
    database = Database(DatabaseSettings(url=shared.url, patience=0, pool_size=2), None)
    await database.open()
    try:
        other = await database.connect()

        async def ask(connection: Connection) -> None:
            await connection.fetchval("SELECT 1 + $1::int", 1)
            async with other.transaction():
                # The session that was used last is now taken, so the statement is asked for in the other one.
                await other.execute("SELECT 1")
                await connection.fetchval("SELECT 1 + $1::int", 1)

        with pytest.raises(Unavailable, match="mixes up prepared statements: use --database-statement-cache-size 0"):
            await database.run(ask)
        await other.close()
    finally:
        await database.close()


async def test_backups_are_refused_behind_a_pooler_and_leave_no_lock(
    shared: Pooler, database: Database, filled_backup: Path
) -> None:
    """The lock would stay in a session of the pooler, and the settings of pg_dump would be found by services."""
    await _leave_statements(shared)
    settings = Settings(database=DatabaseSettings(url=shared.url))
    async with reach(settings, migrations.collect(MIGRATED_FEATURES)) as target:
        with pytest.raises(DatabaseError, match="give the address of the server itself"):
            await backup.dump(target, None, io.BytesIO(), lambda *_: None)
        with pytest.raises(DatabaseError, match="give the address of the server itself"):
            await restore.restore(target, filled_backup, {}, force=True, progress=lambda *_: None)

    assert await database.fetchval("SELECT pg_try_advisory_lock($1)", PARTITIONS_LOCK)


async def test_concurrent_transactions_through_two_sessions_are_all_answered(shared: Pooler) -> None:
    """Eight connections, of which most wait for a session, get their own answers."""
    settings = DatabaseSettings(url=shared.url, statement_cache_size=0, pool_size=8)
    database = Database(settings, None)
    await database.open()
    try:
        sums = await asyncio.gather(*(database.fetchval("SELECT $1::int + 1", n) for n in range(100)))
        products = await asyncio.gather(*(database.fetchval("SELECT $1::int * 7", n) for n in range(100)))
    finally:
        await database.close()

    assert sums == [n + 1 for n in range(100)]
    assert products == [n * 7 for n in range(100)]


async def test_statements_that_other_programs_left_in_a_pooler_are_refused_in_one_line(shared: Pooler) -> None:
    """The names that the driver gives are the same in each program."""
    await _leave_statements(shared)

    with pytest.raises(DatabaseError, match="--database-statement-cache-size 0"):
        await _start(shared.url, 100)


async def test_a_write_whose_connection_broke_may_be_stored(database_url: str) -> None:
    """After that attempt no other one reached the server, so the answer must not say that nothing was stored."""
    async with proxy_to(database_url) as proxy:
        database = Database(DatabaseSettings(url=proxy.url, patience=0.2, pool_size=2), None)
        await database.open()

        async def write(connection: Connection) -> None:
            await connection.execute("CREATE TABLE kept (a int)")
            proxy.cut()
            await connection.execute("SELECT 1")

        with pytest.raises(Unavailable, match="it is not known whether this was stored"):
            await database.run(write)
        await database.close()
