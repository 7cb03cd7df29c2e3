"""Loads the rows of a backup into tables that our own migrations make.

Indexes that are not part of a constraint are dropped first and made again after the rows: building an index once is
faster than adding each row to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.db import migrations
from smartmob.kernel.db.connection_loss import ended_with
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.maintenance.dump_reader import CopyBlock

_COLUMNS = """
SELECT c.relname AS name, s.nspname AS schema, c.relkind = 'p' AS partitioned,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM unnest($1::text[]) AS n JOIN pg_class AS c ON c.oid = to_regclass(n)
JOIN pg_namespace AS s ON s.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.relname, s.nspname, c.relkind
"""
# Indexes of partitions are made and dropped with the index of the partitioned table. pg_get_indexdef writes ONLY for
# the latter, which would leave the partitions without it.
_INDEXES = """
SELECT format('DROP INDEX %I.%I', s.nspname, c.relname) AS drop,
       regexp_replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') AS make
FROM unnest($1::text[]) AS n JOIN pg_index AS i ON i.indrelid = to_regclass(n)
JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS s ON s.oid = c.relnamespace
WHERE NOT c.relispartition AND NOT i.indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
ORDER BY c.relname
"""
_LONGEST_MONTH_DAYS = 31


class _LoadedTable(msgspec.Struct, frozen=True):
    """A table: its schema, whether it has partitions, and its columns."""

    schema: str
    partitioned: bool
    columns: frozenset[str]


class TableLoader:
    """Makes the tables of some migrations and fills them, in the caller's transaction.

    Call `make`, then `fill` for each block of rows, then `finish`. `partitions` maps the name of each partitioned table
    to the strftime(3) format of the time at the end of its partitions' names.
    """

    def __init__(self, connection: Connection, partitions: Mapping[str, str]) -> None:
        self._connection = connection
        self._partitions = partitions
        self._tables: dict[str, _LoadedTable] = {}
        self._dropped_indexes: list[str] = []

    async def make(self, wanted: Sequence[Migration]) -> None:
        """Make empty tables without indexes, even where migrations insert rows."""
        await migrations.apply(self._connection, wanted)
        for row in await self._connection.fetch(_COLUMNS, migrations.tables(wanted)):
            self._tables[row["name"]] = _LoadedTable(row["schema"], row["partitioned"], frozenset(row["columns"]))
        await self._connection.execute(
            "TRUNCATE " + ", ".join(_quoted(table, name) for name, table in self._tables.items())
        )
        for row in await self._connection.fetch(_INDEXES, list(self._tables)):
            await self._connection.execute(row["drop"])
            self._dropped_indexes.append(row["make"])

    async def fill(self, block: CopyBlock) -> int:
        """Store the rows of a block and return their number; raises InvalidInput for an unknown table or column.

        Only names of our own tables and columns get into the statement.
        """
        table = self._tables.get(block.table) or await self._partition(block.table)
        if table is None or table.partitioned:
            raise InvalidInput(f"the file holds rows of {block.table!r}, which is not a table of this smartmob")
        if unknown := [column for column in block.columns if column not in table.columns]:
            raise InvalidInput(
                f"the file holds a column {unknown[0]!r} that this smartmob's {block.table} does not have"
            )
        async with ended_with(self._connection):
            status = await self._connection.copy_to_table(
                block.table,
                schema_name=table.schema,
                columns=block.columns,
                source=block.rows,
                format="text",
                encoding=block.encoding,
            )
        return int(status.rpartition(" ")[2])

    async def finish(self) -> None:
        """Make the indexes again."""
        for statement in self._dropped_indexes:
            await self._connection.execute(statement)

    async def _partition(self, name: str) -> _LoadedTable | None:
        """Make the partition of this name and return it; return None when the name is not that of a partition."""
        parent, _, written = name.rpartition("_")
        form, table = self._partitions.get(parent), self._tables.get(parent)
        if form is None or table is None or not table.partitioned:
            return None
        try:
            start = datetime.strptime(written, form).replace(tzinfo=UTC)
            end = start + timedelta(days=1 if "%d" in form else _LONGEST_MONTH_DAYS + 1)
        except (ValueError, OverflowError):
            return None
        if start.strftime(form) != written:
            return None
        if "%d" not in form:
            end = end.replace(day=1)
        await self._connection.execute(
            f"CREATE TABLE {_quoted(table, name)} PARTITION OF {_quoted(table, parent)} "
            f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
        )
        self._tables[name] = made = _LoadedTable(table.schema, False, table.columns)
        return made


def _quoted(table: _LoadedTable, name: str) -> str:
    return f'"{table.schema}"."{name}"'
