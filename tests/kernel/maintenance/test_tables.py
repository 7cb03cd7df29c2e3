"""What `status` says of a database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncpg

from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance import tables
from tests.kernel.maintenance.conftest import KNOWN


async def test_tables(filled: Any) -> None:
    """Each table of the service is there once, with its partitions in it; those of others are not."""
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


async def test_status_of_an_empty_database(empty_url: str) -> None:
    """Everything is missing, and looking changes nothing."""
    connection = await asyncpg.connect(empty_url)
    status = await tables.status(connection, KNOWN)
    assert (status.applied, status.tables, status.wrong, status.backup) == (0, [], None, None)
    assert len(status.missing) == len(KNOWN)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


async def test_status_of_a_database_that_is_up_to_date(filled: Any) -> None:
    """Nothing is missing; a changed migration, and one of a newer program, are told."""
    status = await tables.status(filled, KNOWN)
    assert (status.applied, status.missing, status.wrong) == (len(KNOWN), [], None)
    assert status.server.startswith("18")
    changed = [replace(KNOWN[0], sql="SELECT 1"), *KNOWN[1:]]
    assert "was changed" in str((await tables.status(filled, changed)).wrong)
    await filled.execute("INSERT INTO schema_migrations VALUES ('marks', 9, '0009_x.sql', 'x')")
    assert "newer smartmob" in str((await tables.status(filled, KNOWN)).wrong)
