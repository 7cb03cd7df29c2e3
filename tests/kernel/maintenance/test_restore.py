"""Restoring backups, complete ones and damaged ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import DatabaseError, InvalidInput, StartupError
from smartmob.kernel.maintenance.backup import dump
from smartmob.kernel.maintenance.restore import Restored, check_sum, restore
from smartmob.stored_features import PARTITIONS
from tests.kernel.maintenance.conftest import KNOWN, contents


def _unseen(*_: object) -> None:
    """Ignore the progress."""


@pytest.fixture(name="backup")
async def _backup(reached: Any, database_url: str, filled: Any, tmp_path: Path) -> Path:
    """Return a backup of the filled database."""
    await dump(await reached(database_url), tmp_path / "a.dump", io.BytesIO(), _unseen)
    return tmp_path / "a.dump"


async def test_a_restore_into_an_empty_database_brings_all_rows(
    backup: Path, reached: Any, empty_url: str, filled: Any
) -> None:
    """The rows of partitions are there, too."""
    seen: list[str] = []
    done = await restore(await reached(empty_url), backup, PARTITIONS, force=False, progress=seen.append)

    target = await asyncpg.connect(empty_url)
    before, after = await contents(filled), await contents(target)
    assert {name for name in before if before[name] != after[name]} == {"database_backups"}
    assert await target.fetchval("SELECT count(*) FROM host_samples_20261120") == 1000
    assert isinstance(done, Restored)
    assert (done.rows, done.replaced) == (1502 + len(KNOWN), 0)
    assert "host_samples_20261120" in seen
    await target.close()


async def test_a_restore_into_a_database_with_tables_needs_force(
    backup: Path, reached: Any, database_url: str, filled: Any
) -> None:
    """With force the backup replaces all tables, and newer partitions, too."""
    target = await reached(database_url)
    with pytest.raises(DatabaseError, match=r"not empty.*--force"):
        await restore(target, backup, PARTITIONS, force=False, progress=_unseen)
    assert await filled.fetchval("SELECT count(*) FROM marks") == 500
    before = await contents(filled)
    await filled.execute("DELETE FROM marks")
    await filled.execute(
        "CREATE TABLE host_samples_20261121 PARTITION OF host_samples FOR VALUES FROM ('2026-11-21') TO ('2026-11-22')"
    )
    done = await restore(target, backup, PARTITIONS, force=True, progress=_unseen)
    after = await contents(filled)
    assert {name for name in before if before[name] != after[name]} == {"database_backups"}
    assert done.replaced > 20
    assert await filled.fetchval("SELECT to_regclass('host_samples_20261121')") is None


async def test_a_restore_into_a_database_with_clients_is_refused(backup: Path, reached: Any, empty_url: str) -> None:
    """The database stays empty."""
    other = await asyncpg.connect(empty_url)
    with pytest.raises(DatabaseError, match="1 other clients are connected"):
        await restore(await reached(empty_url), backup, PARTITIONS, force=False, progress=_unseen)
    await other.close()


async def test_a_damaged_backup_is_refused_and_the_database_unchanged(
    backup: Path, reached: Any, database_url: str, filled: Any
) -> None:
    """The checksum shows the damage; without it, the restore fails and is rolled back."""
    data = backup.read_bytes()
    backup.write_bytes(data[: len(data) // 2])
    target = await reached(database_url)
    with pytest.raises(InvalidInput, match=r"damaged: its SHA-256 is .*a\.dump\.sha256"):
        await restore(target, backup, PARTITIONS, force=True, progress=_unseen)
    backup.with_name("a.dump.sha256").unlink()
    before = await contents(filled)
    with pytest.raises((DatabaseError, InvalidInput)):
        await restore(target, backup, PARTITIONS, force=True, progress=_unseen)
    assert await contents(filled) == before


async def test_a_truncated_backup_is_never_committed(
    backup: Path, reached: Any, database_url: str, filled: Any
) -> None:
    """Rows that were read before the damage do not replace those of the database."""
    data = backup.read_bytes()
    backup.with_name("a.dump.sha256").unlink()
    await filled.execute("INSERT INTO marks VALUES (gen_random_uuid(), now(), 'newer', '', now())")
    before = await contents(filled)
    target = await reached(database_url)
    for missing in (1, 100, 2000):
        backup.write_bytes(data[:-missing])
        with pytest.raises((DatabaseError, InvalidInput)):
            await restore(target, backup, PARTITIONS, force=True, progress=_unseen)
        assert await contents(filled) == before


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PGDMP\x01"])
async def test_a_file_that_is_not_a_backup_is_refused(
    reached: Any, empty_url: str, tmp_path: Path, data: bytes
) -> None:
    """The error says what it should be."""
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="not a backup"):
        await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)
    with pytest.raises(StartupError, match="cannot read"):
        check_sum(tmp_path / "none")


async def test_a_backup_of_a_newer_smartmob_is_refused(
    reached: Any, database_url: str, empty_url: str, tmp_path: Path
) -> None:
    """The database is not changed."""
    admin = await asyncpg.connect(database_url)
    await admin.execute("INSERT INTO schema_migrations VALUES ('marks', 9, '0009_x.sql', 'x')")
    await dump(await reached(database_url), tmp_path / "n.dump", io.BytesIO(), _unseen)
    with pytest.raises(DatabaseError, match="newer smartmob"):
        await restore(await reached(empty_url), tmp_path / "n.dump", PARTITIONS, force=False, progress=_unseen)
    target = await asyncpg.connect(empty_url)
    assert await target.fetchval("SELECT to_regclass('marks')") is None
    await admin.close()
    await target.close()


async def test_tables_of_another_schema_are_restored_into_that_schema(
    reached: Any, empty_url: str, tmp_path: Path
) -> None:
    """The schema comes from the search path."""
    from smartmob.kernel.db import migrations

    admin = await asyncpg.connect(empty_url)
    await admin.execute("CREATE SCHEMA lab")
    url = f"{empty_url}&search_path=lab"
    connection = await asyncpg.connect(url)
    await migrations.apply(connection, KNOWN)
    await connection.close()
    await admin.close()
    target = await reached(url)
    await dump(target, tmp_path / "s.dump", io.BytesIO(), _unseen)
    done = await restore(target, tmp_path / "s.dump", PARTITIONS, force=True, progress=_unseen)
    assert done.tables == done.replaced
