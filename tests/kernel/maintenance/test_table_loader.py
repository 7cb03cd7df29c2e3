"""Loading rows into tables that migrations make, with their partitions and indexes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import InvalidInput
from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance.backup import dump
from smartmob.kernel.maintenance.dump_reader import CopyBlock
from smartmob.kernel.maintenance.restore import restore
from smartmob.kernel.maintenance.table_loader import TableLoader
from smartmob.stored_features import PARTITIONS
from tests.kernel.maintenance.conftest import KNOWN, contents

_BOUNDS = """
SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = $1
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index
WHERE indrelid = ANY($1::text[]::regclass[]) ORDER BY 1
"""
_EARLIER = [one for one in KNOWN if one.feature != "metrics" or one.number == 1]
_LATER = len(KNOWN) - len(_EARLIER)


def _unseen(*_: object) -> None:
    """Ignore the progress."""


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.fixture(name="made")
async def _made(empty_url: str) -> AsyncIterator[tuple[TableLoader, Any]]:
    """Return a loader with the tables of all migrations, and its connection."""
    connection = await asyncpg.connect(empty_url)
    loader = TableLoader(connection, PARTITIONS)
    await loader.make(KNOWN)
    yield loader, connection
    await connection.close()


async def test_new_tables_have_no_rows_and_no_sequences(made: Any) -> None:
    """A backup of rows alone is complete then."""
    _, connection = made
    assert await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'S'") == []
    for name in migrations.tables(KNOWN):
        assert await connection.fetchval(f"SELECT count(*) FROM {name}") == 0


@pytest.mark.parametrize("table", sorted(PARTITIONS))
async def test_partitions_are_made_for_the_time_in_their_name(made: Any, table: str) -> None:
    """They cover a day or a month, as the feature would make them."""
    loader, connection = made
    day, span = (
        ("20241231", ("2024-12-31", "2025-01-01"))
        if "%d" in PARTITIONS[table]
        else ("202412", ("2024-12-01", "2025-01-01"))
    )

    assert await loader.fill(CopyBlock(f"{table}_{day}", ("at",), "UTF8", _nothing())) == 0

    bounds = await connection.fetchval(_BOUNDS, f"{table}_{day}")
    assert bounds == f"FOR VALUES FROM ('{span[0]} 00:00:00+00') TO ('{span[1]} 00:00:00+00')"


@pytest.mark.parametrize(
    "name",
    [
        *("host_samples", "host_samples_", "host_samples_2024123", "host_samples_2024 1 1", "host_samples_99991231"),
        *("host_minutes_20241231", "marks_20241231", "pg_authid", "hosts_rest", "host_samples_20241231_20241231"),
    ],
)
async def test_rows_of_unknown_tables_are_refused(made: Any, name: str) -> None:
    """Partitioned tables themselves and tables of PostgreSQL are refused, too."""
    loader, _ = made
    with pytest.raises(InvalidInput, match="not a table of this smartmob"):
        await loader.fill(CopyBlock(name, ("at",), "UTF8", _nothing()))


async def test_indexes_are_made_again_after_the_rows(made: Any, database_url: str) -> None:
    """They are missing while rows are loaded, and at the end equal those of the migrations, in partitions, too."""
    loader, connection = made
    migrated = await asyncpg.connect(database_url)
    for one in (connection, migrated):
        await one.execute("SET search_path = public")
    assert await connection.fetch("SELECT indexname FROM pg_indexes WHERE indexname = 'marks_by_time'") == []
    await loader.fill(CopyBlock("host_samples_20241231", ("at",), "UTF8", _nothing()))
    await migrated.execute(
        "CREATE TABLE host_samples_20241231 PARTITION OF host_samples FOR VALUES FROM ('2024-12-31') TO ('2025-01-01')"
    )

    await loader.finish()

    names = [*migrations.tables(KNOWN), "host_samples_20241231"]
    made_again, expected = await connection.fetch(_INDEXES, names), await migrated.fetch(_INDEXES, names)
    assert made_again == expected
    assert "marks_by_time" in str(expected)
    assert all(row["indisvalid"] for row in made_again)
    await migrated.close()


async def test_a_backup_of_an_earlier_schema_is_restored_and_migrated(
    reached: Any, empty_url: str, database_url: str, tmp_path: Path
) -> None:
    """Its rows go into the tables of that schema, and later migrations are applied after that."""
    old = await asyncpg.connect(empty_url)
    await migrations.apply(old, _EARLIER)
    await old.execute(
        "INSERT INTO test_items VALUES (gen_random_uuid(), 'p', E'back\\\\slash\\ttab\\n\\\\.\\nüñ', '', '', 'k', 'c')"
    )
    names = migrations.tables(_EARLIER)
    await dump(await reached(empty_url), tmp_path / "a.dump", io.BytesIO(), _unseen)
    query = "SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {} AS t"
    before = {name: await old.fetchval(query.format(name)) for name in names if name != "database_backups"}
    await old.close()

    done = await restore(await reached(database_url), tmp_path / "a.dump", PARTITIONS, force=True, progress=_unseen)

    assert done.rows == 1 + 2 + len(_EARLIER)  # with the rows of command_numbers and host_progress
    new = await asyncpg.connect(database_url)
    assert {name: await new.fetchval(query.format(name)) for name in before} == before
    assert await migrations.apply(new, KNOWN) == _LATER
    assert await new.fetchval("SELECT asked_at IS NOT NULL FROM test_items")
    await new.close()


async def test_all_kinds_of_values_survive_a_backup(
    reached: Any, empty_url: str, filled: Any, database_url: str, tmp_path: Path
) -> None:
    """Bytes, nulls, JSON, infinite times and special characters are equal afterwards, in more than one chunk."""
    await filled.execute("INSERT INTO hosts VALUES ('a', true, '\\x000102ff', NULL, 'infinity')")
    await filled.execute(
        "INSERT INTO turret_runs SELECT gen_random_uuid(), 'h', E'\\\\.', 's', NULL, false, '{\"a\": \"\\\\n\"}', "
        "'-infinity', NULL, NULL, NULL, 9223372036854775807, 0, '{}', NULL, decode(repeat('0a5c2e0a', 300000), 'hex') "
        "FROM generate_series(1, 3)"
    )
    await dump(await reached(database_url), tmp_path / "a.dump", io.BytesIO(), _unseen)

    await restore(await reached(empty_url), tmp_path / "a.dump", PARTITIONS, force=False, progress=_unseen)

    target = await asyncpg.connect(empty_url)
    before, after = await contents(filled), await contents(target)
    assert {name for name in before if before[name] != after[name]} == {"database_backups"}
    await target.close()
