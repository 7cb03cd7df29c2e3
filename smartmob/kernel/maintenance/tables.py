"""The state of the database: the service's own tables with their sizes, and the migrations that were applied."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from smartmob.errors import DatabaseError
from smartmob.kernel.db import citus, migrations
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration

_TABLES = """
WITH named AS (
    SELECT to_regclass(name) AS top FROM unnest($1::text[]) AS name
), parts AS (
    SELECT n.top, p.relid, p.isleaf FROM named AS n, LATERAL pg_partition_tree(n.top) AS p
    WHERE n.top IS NOT NULL
    UNION ALL
    SELECT n.top, n.top, true FROM named AS n
    WHERE n.top IS NOT NULL AND NOT EXISTS (SELECT FROM pg_partition_tree(n.top))
)
SELECT s.nspname AS schema, c.relname AS name, c.relispartition AS part,
       sum(pg_total_relation_size(p.relid))::bigint AS bytes,
       coalesce(sum(pg_stat_get_live_tuples(p.relid)), 0)::bigint AS rows,
       (count(*) FILTER (WHERE p.isleaf AND p.relid <> p.top))::integer AS partitions
FROM parts AS p JOIN pg_class AS c ON c.oid = p.top JOIN pg_namespace AS s ON s.oid = c.relnamespace
GROUP BY s.nspname, c.relname, c.relispartition ORDER BY c.relname
"""
_SIZES = """
SELECT coalesce(p.relid, c.oid)::regclass::text AS name, pg_table_size(coalesce(p.relid, c.oid)) AS bytes
FROM unnest($1::text[]) AS n JOIN pg_class AS c ON c.oid = to_regclass(n)
LEFT JOIN LATERAL pg_partition_tree(c.oid) AS p ON true
"""
# A reference table has a copy of its shard on each node.
_SHARD_SIZES = """
SELECT name, sum(bytes)::bigint AS bytes FROM (
    SELECT DISTINCT ON (shardid) table_name::text AS name, shard_size AS bytes FROM citus_shards ORDER BY shardid
) AS s GROUP BY name
"""
_LAST_BACKUP = "SELECT at, path, bytes, sha256, version FROM database_backups ORDER BY at DESC LIMIT 1"


class Table(msgspec.Struct, frozen=True):
    """A table with its approximate number of rows, and its bytes on disk including indexes and partitions."""

    schema: str
    name: str
    rows: int
    bytes: int
    partitions: int

    @property
    def quoted(self) -> str:
        """Return the quoted name with the schema, for SQL."""
        return f'"{self.schema}"."{self.name}"'


class Backup(msgspec.Struct, frozen=True):
    """The description of a backup: when it was made, its path, its size in bytes, and the version of smartmob."""

    at: datetime
    path: str
    bytes: int
    sha256: str
    version: str


class DatabaseStatus(msgspec.Struct, frozen=True):
    """The state of the database. `wrong` says why this program cannot use it, or is None. `bytes` is its size."""

    server: str
    bytes: int
    applied: int
    missing: list[str]
    wrong: str | None
    tables: list[Table]
    backup: Backup | None


async def tables(connection: Connection, known: Sequence[Migration]) -> list[Table]:
    """Return the service's own tables that exist. Partitions are counted as part of their table."""
    rows = await connection.fetch(_TABLES, migrations.tables(known))
    names = ("schema", "name", "rows", "bytes", "partitions")
    return [Table(*(row[name] for name in names)) for row in rows if not row["part"]]


async def sizes(connection: Connection, known: Sequence[Migration]) -> dict[str, int]:
    """Return the bytes of each table and of each partition by its name, those on one server without indexes."""
    rows = await connection.fetch(_SIZES, migrations.tables(known))
    found = {row["name"].rpartition(".")[2]: row["bytes"] for row in rows}
    if await citus.distributed_tables(connection):
        for row in await connection.fetch(_SHARD_SIZES):
            name = row["name"].rpartition(".")[2]
            if name in found:
                found[name] = row["bytes"]
    return found


async def status(connection: Connection, known: Sequence[Migration]) -> DatabaseStatus:
    """Return the state of the database, without changing it."""
    found = await tables(connection, known)
    applied = await migrations.applied(connection)
    wrong = None
    try:
        migrations.check(known, applied)
    except DatabaseError as error:
        wrong = str(error)
    missing = [f"{one.feature}/{one.name}" for one in known if (one.feature, one.number) not in applied]
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    server = str(await connection.fetchval("SHOW server_version"))
    return DatabaseStatus(server, size, len(applied), missing, wrong, found, await last_backup(connection))


async def last_backup(connection: Connection) -> Backup | None:
    """Return the newest backup that is recorded, or None."""
    try:
        row = await connection.fetchrow(_LAST_BACKUP)
    except asyncpg.UndefinedTableError:
        return None
    return None if row is None else Backup(**dict(row))
