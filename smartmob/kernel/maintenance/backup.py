"""Makes a backup while the service runs: one consistent snapshot in pg_dump's custom format, with its SHA-256."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from smartmob import __version__
from smartmob.errors import DatabaseError, StartupError
from smartmob.kernel.db import pooler
from smartmob.kernel.db.database import PARTITIONS_LOCK, Connection
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.database_target import DatabaseTarget
from smartmob.kernel.maintenance.tables import Backup, Table, tables
from smartmob.kernel.runtime import clock, ids

SUM_SUFFIX = ".sha256"
_CHUNK_BYTES = 1024 * 1024
_DUMPED_TABLE = re.compile(r'pg_dump: dumping contents of table "?(?:[^".]+)"?\."?([^"]+?)"?$')
_INSERT = """
INSERT INTO database_backups (id, at, path, bytes, sha256, version) VALUES ($1, $2, $3, $4, $5, $6)
"""
_DELETE_OLD = "DELETE FROM database_backups WHERE id IN (SELECT id FROM database_backups ORDER BY at DESC OFFSET 100)"

_OPTIONS = (
    "--format=custom",
    "--no-owner",
    "--no-privileges",
    "--encoding=UTF8",
    "--verbose",
    "--lock-wait-timeout=60s",
)

Progress = Callable[[str, int], None]
"""Called with the name of the table (or partition) that is copied now, and the bytes written so far."""


class _DigestWriter(msgspec.Struct):
    """Writes to a file, and keeps the digest and the number of bytes of what was written."""

    file: BinaryIO
    digest: hashlib._Hash
    size: int = 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)


async def dump(target: DatabaseTarget, path: Path | None, stream: BinaryIO, progress: Progress) -> Backup:
    """Write a backup to the new file `path` with its SHA-256 beside it, or to `stream` if `path` is None.

    The file gets its name only when it is complete. Raises StartupError and DatabaseError.
    """
    if path is None:
        return await _record(target, await _copy(target, stream, "-", progress))
    part = path.with_name(path.name + ".part")
    try:
        # Only the owner may read it: it holds secrets that programs got.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if path.exists():
            part.unlink()
            raise FileExistsError(0, "it exists already")
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}. Name another file.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            backup = await _copy(target, file, str(path.absolute()), progress)
            file.flush()
            os.fsync(file.fileno())
        path.with_name(path.name + SUM_SUFFIX).write_text(f"{backup.sha256}  {path.name}\n")
        part.rename(path)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return await _record(target, backup)


async def _copy(target: DatabaseTarget, file: BinaryIO, name: str, progress: Progress) -> Backup:
    """Write a backup to an open file; return its description with `name` as its path."""
    started = clock.now()
    connection = await target.database.connect()
    try:
        await pooler.check_session(target.database, connection)
        found = await tables(connection, target.migrations)
        if not found:
            raise DatabaseError(f"there are no tables of smartmob in {target.name}: nothing to back up")
        # Making or dropping a partition would wait for the end of the copy, and block all later queries on the table.
        await connection.execute("SELECT pg_advisory_lock_shared($1)", PARTITIONS_LOCK)
        writer = _DigestWriter(file, hashlib.sha256())
        await _dump(target, found, writer, progress)
    finally:
        await connection.close()
    return Backup(started, name, writer.size, writer.digest.hexdigest(), __version__)


async def _dump(target: DatabaseTarget, found: list[Table], writer: _DigestWriter, progress: Progress) -> None:
    """Run pg_dump, and write its output."""
    table_name = ""

    def on_line(line: str) -> None:
        nonlocal table_name
        if match := _DUMPED_TABLE.match(line):
            table_name = match[1]
            progress(table_name, writer.size)

    names = [f"--table-and-children={table.quoted}" for table in found]
    tools = postgres_tools.find(target)
    async with tools.run("pg_dump", *_OPTIONS, *names, "--dbname", tools.address, on_line=on_line) as process:
        assert process.stdout is not None
        while data := await process.stdout.read(_CHUNK_BYTES):
            await asyncio.to_thread(writer.write, data)
            progress(table_name, writer.size)


async def _record(target: DatabaseTarget, backup: Backup) -> Backup:
    """Store the description of a backup in the database, if that has the table for it; return the description."""

    async def record(connection: Connection) -> None:
        values = (backup.at, backup.path, backup.bytes, backup.sha256, backup.version)
        if await connection.fetchval("SELECT to_regclass('database_backups')") is not None:
            await connection.execute(_INSERT, ids.uuid7(), *values)
            await connection.execute(_DELETE_OLD)

    await target.database.run(record)
    return backup
