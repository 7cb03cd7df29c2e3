"""The tables and the status of a database."""

from __future__ import annotations

from typing import Any

import asyncpg
from msgspec.structs import replace

from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance import tables
from tests.kernel.maintenance.conftest import KNOWN


async def test_each_table_is_listed_once_with_its_partitions(filled: Any) -> None:
    """Tables of other programs are not listed."""
    await filled.execute("CREATE TABLE foreigner (n integer)")
    await filled.execute("VACUUM ANALYZE marks")
    found = {table.name: table for table in await tables.tables(filled, KNOWN)}
    assert set(found) == set(migrations.tables(KNOWN)) - {"host_samples_rest", "host_minutes_rest"}
    partitions = await filled.fetchval("SELECT count(*) FROM pg_partition_tree('host_samples') WHERE isleaf")
    assert found["host_samples"].partitions == partitions >= 2
    assert found["marks"].rows == 500
    assert found["marks"].bytes > 8192
    assert found["marks"].quoted == '"public"."marks"'
    sizes = await tables.sizes(filled, KNOWN)
    assert sizes["host_samples_20261120"] > 8192
    assert "foreigner" not in sizes


async def test_in_an_empty_database_all_migrations_are_missing(empty_url: str) -> None:
    """Reading the status changes nothing."""
    connection = await asyncpg.connect(empty_url)
    status = await tables.status(connection, KNOWN)
    assert (status.applied, status.tables, status.wrong, status.backup) == (0, [], None, None)
    assert len(status.missing) == len(KNOWN)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


async def test_changed_and_unknown_migrations_are_reported_as_wrong(filled: Any) -> None:
    """In a database that is up to date nothing is missing."""
    status = await tables.status(filled, KNOWN)
    assert (status.applied, status.missing, status.wrong) == (len(KNOWN), [], None)
    assert status.server == await filled.fetchval("SHOW server_version")
    changed = [replace(KNOWN[0], sql="SELECT 1"), *KNOWN[1:]]
    assert "was changed" in str((await tables.status(filled, changed)).wrong)
    await filled.execute("INSERT INTO schema_migrations VALUES ('marks', 9, '0009_x.sql', 'x')")
    assert "newer smartmob" in str((await tables.status(filled, KNOWN)).wrong)
