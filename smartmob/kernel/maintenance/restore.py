"""Restores a backup in one transaction: into an empty database, or in place of the existing rows."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import asyncpg
import msgspec

from smartmob.counts import counted
from smartmob.errors import DatabaseError, InvalidInput, StartupError
from smartmob.kernel.db import citus, migrations, pooler
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.backup import SUM_SUFFIX
from smartmob.kernel.maintenance.database_target import DatabaseTarget
from smartmob.kernel.maintenance.dump_reader import CopyBlock, blocks
from smartmob.kernel.maintenance.postgres_tools import PostgresTools
from smartmob.kernel.maintenance.table_loader import TableLoader
from smartmob.kernel.maintenance.tables import Table, tables

_CHUNK_BYTES = 256 * 1024
_LONGEST_MIGRATIONS_TABLE_BYTES = 1024 * 1024  # a real one has less than 100 bytes for each migration
_READ = ("--data-only", "--format=custom", "--no-owner", "--no-privileges", "--file=-")
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_OWN_CONNECTIONS = 1  # the one in the pool
_SESSION = ("lock_timeout = '30s'", "statement_timeout = 0", "idle_in_transaction_session_timeout = 0")
_UNKNOWN = "DELETE FROM schema_migrations WHERE room <> ALL($1::text[])"

Applied = Mapping[tuple[str, int], str]
Progress = Callable[[str], None]
"""Called with the name of each table (or partition) before its rows are loaded."""


class Restored(msgspec.Struct, frozen=True):
    """The numbers of tables and rows that were restored, and of tables that they have replaced.

    `checked` is whether there was a file with the checksum of the backup.
    """

    tables: int
    rows: int
    replaced: int
    checked: bool


async def restore(
    target: DatabaseTarget,
    path: Path,
    partitions: Mapping[str, str],
    *,
    force: bool,
    progress: Progress,
    distributor: citus.Distributor | None = None,
) -> Restored:
    """Restore a backup; with `force` also into a database that has tables of smartmob, which are replaced.

    Only rows are taken from the file. Our own migrations make the tables, up to the migrations that the file names.
    `partitions` is the argument of `TableLoader`. In a distributed database `distributor` distributes the tables before
    the rows are loaded. Raises DatabaseError, InvalidInput and StartupError.
    """
    if target.serving:
        raise StartupError(f"a service runs on {target.name}: stop it first, then restore")
    checked = await asyncio.to_thread(check_sum, path)
    tools = postgres_tools.find(target)
    applied = await _read_applied(tools, path)
    wanted = _migrations_of(target.migrations, applied)
    connection = await target.database.connect()
    try:
        await pooler.check_session(target.database, connection)
        found = await tables(connection, target.migrations)
        if found and not force:
            raise DatabaseError(
                f"{target.name} is not empty: it has {counted(len(found), 'table')} of smartmob. "
                "Restore into another one, or give --force to have them replaced by the backup."
            )
        others = await connection.fetchval(_OTHERS) - _OWN_CONNECTIONS
        if others and not force:
            raise DatabaseError(
                f"{others} other clients are connected to {target.name}: stop the services that use it, or give --force"
            )
        async with connection.transaction():
            shards = await citus.shards(connection) if await citus.distributed_tables(connection) else None
            if distributor is not None:
                await distributor.begin(connection)
            await _drop(connection, found)
            loader = TableLoader(connection, partitions)
            await loader.make(wanted)
            if distributor is not None and shards is not None:
                await distributor.distribute_all(connection, shards)
            rows = await _load(loader, tools, path, progress)
            await loader.finish()
            if await migrations.applied(connection) != applied:
                raise InvalidInput(f"{path} was changed while it was read")
            await connection.execute(_UNKNOWN, sorted({migration.feature for migration in target.migrations}))
        await connection.execute("ANALYZE")
        return Restored(len(await tables(connection, target.migrations)), rows, len(found), checked)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise InvalidInput(f"{path} is damaged, or not a backup of smartmob: {_first_line(error)}") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError) as error:
        raise DatabaseError(f"nothing was restored into {target.name}: {_first_line(error)}") from None
    finally:
        await connection.close()


def check_sum(path: Path) -> bool:
    """Check the SHA-256 of a file against that in the file beside it; return whether that file exists.

    Raises InvalidInput when they differ.
    """
    try:
        with path.open("rb") as file:
            beside = path.with_name(path.name + SUM_SUFFIX)
            if not beside.exists():
                return False
            wanted = beside.read_text().split(maxsplit=1)[:1]
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StartupError(f"cannot read {error.filename or path}: {error.strerror}") from None
    if wanted != [digest]:
        raise InvalidInput(f"{path} is damaged: its SHA-256 is {digest}, and not what {beside.name} says")
    return True


async def _read_applied(tools: PostgresTools, path: Path) -> Applied:
    """Return the migrations of the backed-up database; raises InvalidInput for a file that is not a backup."""
    applied: dict[tuple[str, int], str] = {}
    try:
        async with tools.run("pg_restore", *_READ, f"--table={migrations.MIGRATIONS_TABLE}", str(path)) as process:
            async for block in blocks(_reader(process)):
                if block.table != migrations.MIGRATIONS_TABLE:
                    raise InvalidInput(f"{path} holds other rows as its table {migrations.MIGRATIONS_TABLE}")
                applied |= _parse_applied(block.columns, await _text(block))
    except DatabaseError as error:
        raise InvalidInput(f"{path} is not a backup of `smartmob db dump`: {error}") from None
    if not applied:
        raise InvalidInput(f"{path} has no table {migrations.MIGRATIONS_TABLE}: it is not a backup of smartmob")
    return applied


async def _text(block: CopyBlock) -> str:
    """Return all rows of a block as text."""
    data = b""
    async for part in block.rows:
        data += part
        if len(data) > _LONGEST_MIGRATIONS_TABLE_BYTES:
            raise InvalidInput(f"the table {migrations.MIGRATIONS_TABLE} in the file is too long for a smartmob backup")
    return data.decode(errors="replace")


def _parse_applied(columns: Sequence[str], text: str) -> Applied:
    """Return the migrations in the rows of that table, as PostgreSQL writes them in its text format."""
    applied = {}
    try:
        room, number, checksum = map(columns.index, ("room", "number", "checksum"))
        for line in text.splitlines():
            values = line.split("\t")
            applied[values[room], int(values[number])] = values[checksum]
    except (ValueError, IndexError):
        raise InvalidInput(
            f"the table {migrations.MIGRATIONS_TABLE} of the file is not that of a backup of smartmob"
        ) from None
    return applied


def _migrations_of(known: Sequence[Migration], applied: Applied) -> list[Migration]:
    """Return the migrations that make the tables of a backup; raises DatabaseError if a newer smartmob made it."""
    migrations.check(known, applied)
    wanted = [migration for migration in known if (migration.feature, migration.number) in applied]
    last = {migration.feature: migration.number for migration in wanted}
    for migration in known:
        if migration not in wanted and migration.number < last.get(migration.feature, 0):
            raise InvalidInput(f"the backup lacks {migration.name} of {migration.feature}, and has a later one")
    return wanted


async def _drop(connection: Connection, found: Sequence[Table]) -> None:
    """Drop tables, waiting for locks at most as long as `_SESSION` says."""
    for setting in _SESSION:
        await connection.execute(f"SET LOCAL {setting}")
    if found:
        await connection.execute(f"DROP TABLE {', '.join(table.quoted for table in found)} CASCADE")


async def _load(loader: TableLoader, tools: PostgresTools, path: Path, progress: Progress) -> int:
    """Load all rows of a backup, and return their number."""
    rows = 0
    async with tools.run("pg_restore", *_READ, str(path)) as process:
        async for block in blocks(_reader(process)):
            progress(block.table)
            rows += await loader.fill(block)
    return rows


def _reader(process: Process) -> Callable[[], Awaitable[bytes]]:
    assert process.stdout is not None
    return partial(process.stdout.read, _CHUNK_BYTES)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
