"""The databases of the tests: what one test leaves in a database no other test finds."""

from __future__ import annotations

import asyncpg
import pytest

from tests.databases import Databases

ROW = "gen_random_uuid(), now(), repeat('x', 1900), 'b', now()"


async def _counts(url: str, *statements: str) -> dict[str, int]:
    """Execute statements, and return how many rows each table has then."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for (name,) in names}
    finally:
        await connection.close()


async def test_rows_of_a_test_are_deleted(postgres_url: str, databases: Databases) -> None:
    """A database with more and other rows than at first is given to the next test with its first rows only."""
    name = await databases.take()
    before = await _counts(postgres_url.format(name))
    changes = (f"INSERT INTO marks SELECT {ROW}", "DELETE FROM command_numbers")
    assert await _counts(postgres_url.format(name), *changes) != before
    await databases.give_back(name)
    again = await databases.take()
    try:
        assert (again, await _counts(postgres_url.format(again))) == (name, before)
    finally:
        await databases.give_back(again)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE marks ADD COLUMN more text",
        "ALTER TABLE marks DROP COLUMN author",
        "ALTER TABLE marks RENAME COLUMN author TO writer",
        "ALTER TABLE marks ALTER COLUMN author SET DEFAULT ''",
        "CREATE TABLE more (n integer)",
        "DROP TABLE marks",
        "DROP TABLE schema_migrations",
        "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA more",
        "SELECT lo_create(0)",
        "DELETE FROM schema_migrations WHERE number > 1",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET work_mem = 1024'; END $$",
        f"INSERT INTO marks SELECT {ROW} FROM generate_series(1, 3000)",
    ],
)
async def test_a_changed_database_is_not_used_again(postgres_url: str, databases: Databases, change: str) -> None:
    """Other tables, functions, settings or migrations, and many rows, end with the test."""
    name = await databases.take()
    await _counts(postgres_url.format(name), change)
    await databases.give_back(name)
    again = await databases.take()
    try:
        assert again != name
    finally:
        await databases.give_back(again)


async def test_connections_that_a_test_left_open_are_closed(postgres_url: str, databases: Databases) -> None:
    """The next test is alone with its database."""
    name = await databases.take()
    left = await asyncpg.connect(postgres_url.format(name))
    await databases.give_back(name)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await left.fetchval("SELECT 1")
    left.terminate()
