"""A backup while the service runs: pg_dump's custom format, all of one moment, with the SHA-256 beside it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smartmob import __version__
from smartmob.errors import DatabaseError, StartupError
from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.database_target import DatabaseTarget
from smartmob.kernel.maintenance.tables import Backup, Table, tables
from smartmob.kernel.runtime import clock, ids

SUM_SUFFIX = ".sha256"
_CHUNK = 1024 * 1024
_ABOUT = re.compile(r'pg_dump: dumping contents of table "?(?:[^".]+)"?\."?([^"]+?)"?$')
_INSERT = """
INSERT INTO database_backups (id, at, path, bytes, sha256, version) VALUES ($1, $2, $3, $4, $5, $6)
"""
_FORGET = "DELETE FROM database_backups WHERE id IN (SELECT id FROM database_backups ORDER BY at DESC OFFSET 100)"

Progress = Callable[[str, int], None]
"""Is told the name of the table (or partition) that is copied now, and how many bytes were written so far."""


@dataclass(slots=True)
class _Written:
    """What has been written so far."""

    file: BinaryIO
    digest: hashlib._Hash
    size: int = 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)


async def dump(place: DatabaseTarget, path: Path | None, stream: BinaryIO, progress: Progress) -> Backup:
    """Write a backup to the new file `path` with its SHA-256 beside it, or without a path to `stream`.

    The file appears under its name only when it is whole. Raises StartupError and DatabaseError.
    """
    if path is None:
        return await _note(place, await _copy(place, stream, "-", progress))
    part = path.with_name(path.name + ".part")
    try:
        # It holds what programs were given as secrets.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if path.exists():
            part.unlink()
            raise FileExistsError(0, "it is there already")
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}. Name another file.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            backup = await _copy(place, file, str(path.absolute()), progress)
            file.flush()
            os.fsync(file.fileno())
        path.with_name(path.name + SUM_SUFFIX).write_text(f"{backup.sha256}  {path.name}\n")
        part.rename(path)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return await _note(place, backup)


async def _copy(place: DatabaseTarget, file: BinaryIO, name: str, progress: Progress) -> Backup:
    started = clock.now()
    connection = await place.database.connect()
    try:
        found = await tables(connection, place.migrations)
        if not found:
            raise DatabaseError(f"there are no tables of smartmob in {place.name}: nothing to back up")
        # Partitions that are made or dropped meanwhile would have to wait for the copy, and everybody behind them.
        await connection.execute("SELECT pg_advisory_lock_shared($1)", PARTITIONS_LOCK)
        written = _Written(file, hashlib.sha256())
        await _dump(place, found, written, progress)
    finally:
        await connection.close()
    return Backup(started, name, written.size, written.digest.hexdigest(), __version__)


async def _dump(place: DatabaseTarget, found: list[Table], written: _Written, progress: Progress) -> None:
    about = ""

    def hear(line: str) -> None:
        nonlocal about
        if match := _ABOUT.match(line):
            about = match[1]
            progress(about, written.size)

    names = [f"--table-and-children={table.quoted}" for table in found]
    options = (
        *("--format=custom", "--no-owner", "--no-privileges", "--encoding=UTF8", "--verbose"),
        "--lock-wait-timeout=60s",
    )
    tools = postgres_tools.find(place)
    async with tools.run("pg_dump", *options, *names, "--dbname", tools.address, hear=hear) as process:
        assert process.stdout is not None
        while data := await process.stdout.read(_CHUNK):
            await asyncio.to_thread(written.write, data)
            progress(about, written.size)


async def _note(place: DatabaseTarget, backup: Backup) -> Backup:
    """Remember the backup in the database, where the table for it is there."""

    async def note(connection: Connection) -> None:
        values = (backup.at, backup.path, backup.bytes, backup.sha256, backup.version)
        if await connection.fetchval("SELECT to_regclass('database_backups')") is not None:
            await connection.execute(_INSERT, ids.uuid7(), *values)
            await connection.execute(_FORGET)

    await place.database.run(note)
    return backup
