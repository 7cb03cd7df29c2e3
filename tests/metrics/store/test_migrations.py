"""The migration that repairs the times of sessions and metrics that a former version stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from smartmob.kernel.db import migrations
from smartmob.kernel.runtime import clock
from smartmob.metrics.store.block_allocator import first_block
from smartmob.stored_features import MIGRATED_FEATURES


async def test_stored_times_of_wrong_clocks_become_the_time_of_arrival(empty_url: str) -> None:
    """Sessions keep the time that was given; plausible times stay as they are."""
    wanted = migrations.collect(MIGRATED_FEATURES)
    (last,) = (each for each in wanted if each.name == "0005_places_and_clocks.sql")
    connection = await asyncpg.connect(empty_url)
    try:
        await migrations.apply(connection, [each for each in wanted if each != last])
        arrived = clock.now() - timedelta(days=3)
        block = first_block(arrived)
        for number, text in enumerate(("-infinity", "1970-01-01", "2020-02-02", "2099-01-01", "infinity")):
            name = f"s{number}"
            await connection.execute(
                "INSERT INTO test_sessions "
                "(session_h, run_date, started_at, scm_ref, description, tags, run_key, received_at) "
                f"VALUES ($1, '', timestamptz '{text}', '', '{{}}', '{{}}', 'k', $2)",
                *(name, arrived),
            )
            await connection.execute(
                "INSERT INTO test_metrics "
                "(session_h, block, seq, context_h, item_id, item_start_time, started_at, total_time) "
                f"VALUES ($1, $2, $3, 'c', gen_random_uuid(), '', timestamptz '{text}', 1)",
                *(name, block, number),
            )
        await migrations.apply(connection, wanted)
        sessions = await connection.fetch(
            "SELECT started_at, stated_at IS NULL AS kept FROM test_sessions ORDER BY session_h"
        )
        metrics = await connection.fetch("SELECT started_at FROM test_metrics ORDER BY session_h")
    finally:
        await connection.close()
    known = datetime(2020, 2, 2, tzinfo=UTC)
    assert [row["kept"] for row in sessions] == [False, False, True, False, False]
    for rows in (sessions, metrics):
        assert rows[2]["started_at"] == known
        for number in (0, 1, 3, 4):
            assert abs(rows[number]["started_at"] - arrived) < timedelta(seconds=1)
