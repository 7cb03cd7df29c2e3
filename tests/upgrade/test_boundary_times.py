"""Rows with times at and beyond the ends of the calendar, which other versions or programs may have stored."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from smartmob.app import build
from smartmob.feature_settings import CommandsSettings, HostsSettings, ProcessesSettings
from smartmob.settings import Settings
from tests.conftest import running
from tests.upgrade.make import SHOWN
from tests.upgrade.test_upgrade import RELEASES, restore

BOUNDARIES = ("-infinity", "4000-01-01 BC", "0001-01-01", "9999-12-31 23:59:59.999999+00", "20000-01-01", "infinity")

_COLUMNS = """
SELECT c.table_name, c.column_name FROM information_schema.columns AS c
JOIN pg_class AS t ON t.relname = c.table_name AND NOT t.relispartition
WHERE c.table_schema = 'public' AND c.data_type = 'timestamp with time zone' AND c.table_name != 'schema_migrations'
ORDER BY 1, 2
"""
_MORE = (
    *("/api/v1/compare?base=latest&head=latest", "/items/test_sum/history", "/metrics/orphans", "/hosts/", "/ready"),
    *("/tokens", "/console/data/overview", "/console/data/timeline?from=2026-11-25T00:00:00Z&to=2026-11-26T00:00:00Z"),
    *("/marks?from=0001-01-02T00:00:00Z&to=9999-12-31T00:00:00Z", "/metrics"),
)


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_no_stored_time_makes_an_answer_fail(boundary: str, empty_url: str, settings: Settings) -> None:
    """Each column of each table gets the time, and all listings still answer."""
    await restore(RELEASES[-1], empty_url)
    kept = {
        "hosts": HostsSettings(keep_days=36_500, keep_minutes_days=36_500),
        "commands": CommandsSettings(keep_days=36_500),
        "processes": ProcessesSettings(keep_events_days=36_500),
    }
    async with running(build(replace(settings, database=replace(settings.database, url=empty_url), **kept))) as client:
        connection = await asyncpg.connect(empty_url)
        changed = 0
        for table, column in await connection.fetch(_COLUMNS):
            try:
                await connection.execute(f'UPDATE "{table}" SET "{column}" = timestamptz \'{boundary}\'')
                changed += 1
            except asyncpg.CheckViolationError:
                pass  # there is no partition for it
            except asyncpg.UniqueViolationError:
                await connection.execute(
                    f'UPDATE "{table}" SET "{column}" = timestamptz \'{boundary}\' '
                    f'WHERE ctid = (SELECT min(ctid) FROM "{table}")'
                )
                changed += 1
        await connection.close()
        assert changed > 15
        for path in (*SHOWN, *_MORE):
            async with client.get(path) as answer:
                assert answer.status < 500, (path, await answer.text())
