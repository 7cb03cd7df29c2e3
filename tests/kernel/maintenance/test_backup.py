"""Making backups of a database that is in use."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import DatabaseError, StartupError
from smartmob.kernel.maintenance.backup import dump
from smartmob.kernel.maintenance.restore import restore
from smartmob.kernel.maintenance.tables import last_backup
from smartmob.stored_features import PARTITIONS
from smartmob.turrets.store.partitions import KnownPartitions
from tests.kernel.maintenance.conftest import contents
from tests.waiting import SECONDS, until


def _unseen(*_: object) -> None:
    """Ignore the progress."""


async def test_a_backup_is_a_private_file_with_its_checksum(
    reached: Any, database_url: str, filled: Any, tmp_path: Path
) -> None:
    """The database has a record of it."""
    target, path, seen = await reached(database_url), tmp_path / "a.dump", []
    made = await dump(target, path, io.BytesIO(), lambda table, size: seen.append((table, size)))

    data = path.read_bytes()
    assert (made.bytes, made.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (tmp_path / "a.dump.sha256").read_text() == f"{made.sha256}  a.dump\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] in (["a.dump", "a.dump.sha256"], ["a.dump.sha256", "a.dump"])
    assert {"marks", "host_samples_20261120"} <= {table for table, _ in seen}
    assert await last_backup(filled) == made


async def test_a_backup_overwrites_no_file_and_makes_no_folder(reached: Any, database_url: str, tmp_path: Path) -> None:
    """The error says so."""
    target, path = await reached(database_url), tmp_path / "a.dump"
    path.write_bytes(b"mine")
    with pytest.raises(StartupError, match="it exists already"):
        await dump(target, path, io.BytesIO(), _unseen)
    assert path.read_bytes() == b"mine"
    with pytest.raises(StartupError, match="No such file"):
        await dump(target, tmp_path / "none" / "a.dump", io.BytesIO(), _unseen)
    assert [file.name for file in tmp_path.iterdir() if "dump" in file.name] == ["a.dump"]


async def test_a_backup_of_an_empty_database_is_refused(reached: Any, empty_url: str, tmp_path: Path) -> None:
    """No file is left."""
    with pytest.raises(DatabaseError, match="nothing to back up"):
        await dump(await reached(empty_url), tmp_path / "a.dump", io.BytesIO(), _unseen)
    assert list(tmp_path.glob("a.dump*")) == []


async def test_a_backup_to_a_stream_has_only_the_tables_of_smartmob(
    reached: Any, database_url: str, empty_url: str, tmp_path: Path
) -> None:
    """Other tables of the database are not copied."""
    admin = await asyncpg.connect(database_url)
    await admin.execute("CREATE TABLE foreigner AS SELECT 1 AS n")
    stream = io.BytesIO()
    made = await dump(await reached(database_url), None, stream, _unseen)
    assert made.path == "-"
    (tmp_path / "b.dump").write_bytes(stream.getvalue())
    await restore(await reached(empty_url), tmp_path / "b.dump", PARTITIONS, force=False, progress=_unseen)
    target = await asyncpg.connect(empty_url)
    assert await target.fetchval("SELECT to_regclass('foreigner')") is None
    before, after = await contents(admin), await contents(target)
    assert {name for name in before if before[name] != after[name]} == {"database_backups"}
    await admin.close()
    await target.close()


async def test_writing_goes_on_while_a_backup_is_made(
    reached: Any, database_url: str, filled: Any, tmp_path: Path
) -> None:
    """A partition that would have to wait for the backup is made after it."""
    target, holding, going_on = await reached(database_url), asyncio.Event(), asyncio.Event()

    class Slow(io.BytesIO):
        """A file that waits after the first bytes, like a slow disk."""

        def write(self, data: Any) -> int:
            loop.call_soon_threadsafe(holding.set)
            asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result(SECONDS)
            return super().write(data)

    loop = asyncio.get_running_loop()
    copying = asyncio.create_task(dump(target, None, Slow(), _unseen))
    await asyncio.wait_for(holding.wait(), SECONDS)
    maker = await asyncpg.connect(database_url)
    later = await filled.fetchval("SELECT now() + interval '30 days'")
    making = asyncio.create_task(KnownPartitions().ensure_ahead(maker, later))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND pid = $1"
    await until(lambda: filled.fetchval(waits, maker.get_server_pid()))
    # No connection holds or waits for a lock on the table, so writing does not wait.
    await filled.execute("INSERT INTO marks VALUES (gen_random_uuid(), now(), 'meanwhile', '', now())")
    await filled.execute("SELECT count(*) FROM turret_results")
    going_on.set()
    await copying
    await making
    made = "SELECT to_regclass('turret_results_' || to_char($1 AT TIME ZONE 'UTC', 'YYYYMMDD')) IS NOT NULL"
    assert await filled.fetchval(made, later)
    await maker.close()
