"""Putting backups back, whole ones and damaged ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.app import PARTITIONS
from smartmob.errors import DatabaseError, InvalidInput, StartupError
from smartmob.kernel.maintenance.backup import dump
from smartmob.kernel.maintenance.restore import Restored, check_sum, restore
from tests.kernel.maintenance.conftest import KNOWN, contents


def _unseen(*_: object) -> None:
    """Show nothing."""


@pytest.fixture(name="backup")
async def _backup(reached: Any, database_url: str, filled: Any, tmp_path: Path) -> Path:
    """Return a backup of the filled database."""
    await dump(await reached(database_url), tmp_path / "a.dump", io.BytesIO(), _unseen)
    return tmp_path / "a.dump"


async def test_into_an_empty_database(backup: Path, reached: Any, empty_url: str, filled: Any) -> None:
    """Every row of every table is there again, partitions too."""
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


async def test_into_one_that_is_not_empty(backup: Path, reached: Any, database_url: str, filled: Any) -> None:
    """It is refused; by force the backup takes the place of all that was there, newer partitions too."""
    place = await reached(database_url)
    with pytest.raises(DatabaseError, match=r"not empty.*--force"):
        await restore(place, backup, PARTITIONS, force=False, progress=_unseen)
    assert await filled.fetchval("SELECT count(*) FROM marks") == 500
    before = await contents(filled)
    await filled.execute("DELETE FROM marks")
    await filled.execute(
        "CREATE TABLE host_samples_20261121 PARTITION OF host_samples FOR VALUES FROM ('2026-11-21') TO ('2026-11-22')"
    )
    done = await restore(place, backup, PARTITIONS, force=True, progress=_unseen)
    after = await contents(filled)
    assert {name for name in before if before[name] != after[name]} == {"database_backups"}
    assert done.replaced > 20
    assert await filled.fetchval("SELECT to_regclass('host_samples_20261121')") is None


async def test_while_others_are_connected(backup: Path, reached: Any, empty_url: str) -> None:
    """An empty database that somebody uses is left alone."""
    other = await asyncpg.connect(empty_url)
    with pytest.raises(DatabaseError, match="1 others are connected"):
        await restore(await reached(empty_url), backup, PARTITIONS, force=False, progress=_unseen)
    await other.close()


async def test_a_damaged_file(backup: Path, reached: Any, database_url: str, filled: Any) -> None:
    """The sum tells; and without a sum, what breaks on the way leaves the database as it was."""
    data = backup.read_bytes()
    backup.write_bytes(data[: len(data) // 2])
    place = await reached(database_url)
    with pytest.raises(InvalidInput, match=r"damaged: its SHA-256 is .*a\.dump\.sha256"):
        await restore(place, backup, PARTITIONS, force=True, progress=_unseen)
    backup.with_name("a.dump.sha256").unlink()
    before = await contents(filled)
    with pytest.raises((DatabaseError, InvalidInput)):
        await restore(place, backup, PARTITIONS, force=True, progress=_unseen)
    assert await contents(filled) == before


async def test_a_truncated_end_is_never_committed(backup: Path, reached: Any, database_url: str, filled: Any) -> None:
    """Rows that can be read before the damage are not put in place of what is there."""
    data = backup.read_bytes()
    backup.with_name("a.dump.sha256").unlink()
    await filled.execute("INSERT INTO marks VALUES (gen_random_uuid(), now(), 'newer', '', now())")
    before = await contents(filled)
    place = await reached(database_url)
    for missing in (1, 100, 2000):
        backup.write_bytes(data[:-missing])
        with pytest.raises((DatabaseError, InvalidInput)):
            await restore(place, backup, PARTITIONS, force=True, progress=_unseen)
        assert await contents(filled) == before


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PGDMP\x01"])
async def test_a_file_that_is_no_backup(reached: Any, empty_url: str, tmp_path: Path, data: bytes) -> None:
    """It is refused with what it should be."""
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="no backup"):
        await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)
    with pytest.raises(StartupError, match="cannot read"):
        check_sum(tmp_path / "none")


async def test_a_backup_of_a_newer_smartmob(reached: Any, database_url: str, empty_url: str, tmp_path: Path) -> None:
    """It is refused before anything is changed."""
    admin = await asyncpg.connect(database_url)
    await admin.execute("INSERT INTO schema_migrations VALUES ('marks', 9, '0009_x.sql', 'x')")
    await dump(await reached(database_url), tmp_path / "n.dump", io.BytesIO(), _unseen)
    with pytest.raises(DatabaseError, match="newer smartmob"):
        await restore(await reached(empty_url), tmp_path / "n.dump", PARTITIONS, force=False, progress=_unseen)
    target = await asyncpg.connect(empty_url)
    assert await target.fetchval("SELECT to_regclass('marks')") is None
    await admin.close()
    await target.close()


async def test_the_schema_of_a_search_path(reached: Any, empty_url: str, tmp_path: Path) -> None:
    """Tables in a schema of their own go into a schema of that name."""
    from smartmob.kernel.db import migrations

    admin = await asyncpg.connect(empty_url)
    await admin.execute("CREATE SCHEMA lab")
    url = f"{empty_url}&search_path=lab"
    connection = await asyncpg.connect(url)
    await migrations.apply(connection, KNOWN)
    await connection.close()
    await admin.close()
    place = await reached(url)
    await dump(place, tmp_path / "s.dump", io.BytesIO(), _unseen)
    done = await restore(place, tmp_path / "s.dump", PARTITIONS, force=True, progress=_unseen)
    assert done.tables == done.replaced
