"""Tests of reading while there is no replica that can be read; `tests/kernel/embedded/test_streaming.py` has one."""

from __future__ import annotations

import asyncpg
import pytest

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime.replica_reads import ALLOWED


async def test_a_server_that_is_no_replica_is_not_read(database_url: str) -> None:
    """The database itself answers, also with its errors, and the check says why."""
    database = Database(DatabaseSettings(url=database_url, read_url=database_url), None)
    await database.open()
    try:
        assert database.replica is not None
        assert database.reader is not database
        ALLOWED.set(True)
        assert await database.reader.fetchval("SELECT 7") == 7
        assert [row["n"] for row in await database.reader.fetch("SELECT 1 AS n")] == [1]
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.reader.fetchrow("SELECT * FROM nothing")
        async with database.reader.acquire() as connection:
            assert await connection.fetchval("SELECT 7") == 7
        assert str(await database.replica.note()).startswith("the replica is not read: ")
    finally:
        await database.close()


async def test_without_a_replica_the_database_reads(database: Database) -> None:
    """No request is looked at for it, either."""
    assert database.reader is database
    assert database.replica_reads() is None
