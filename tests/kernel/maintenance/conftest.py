"""Fixtures for the tests of backups: an open database, and a database with rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance.database_target import reach
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES

KNOWN = migrations.collect(MIGRATED_FEATURES)


@pytest.fixture(name="reached")
async def _reached(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that opens an external database: `target = await reached(url)`."""
    async with AsyncExitStack() as stack:

        async def make(url: str) -> Any:
            settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(url=url))
            return await stack.enter_async_context(reach(settings, KNOWN))

        yield make


@pytest.fixture(name="filled")
async def _filled(database_url: str) -> AsyncIterator[Any]:
    """Return a connection to the database of the test, which has marks, and samples in partitions."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO marks SELECT gen_random_uuid(), now(), 'm' || n, '', now() FROM generate_series(1, 500) n"
    )
    await connection.execute(
        "CREATE TABLE host_samples_20261120 PARTITION OF host_samples FOR VALUES FROM ('2026-11-20') TO ('2026-11-21')"
    )
    await connection.execute(
        "INSERT INTO host_samples (host, at, n, cpu, detail) "
        "SELECT 'wood', '2026-11-20 00:00+00'::timestamptz + make_interval(secs => n), n, n, '{\"a\": 1}' "
        "FROM generate_series(1, 1000) n"
    )
    yield connection
    await connection.close()


async def contents(connection: Any) -> dict[str, str]:
    """Return a digest of the rows of each table, by name."""
    found = {}
    for name in migrations.tables(KNOWN):
        query = f"SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {name} AS t"
        found[name] = str(await connection.fetchval(query))
    return found
