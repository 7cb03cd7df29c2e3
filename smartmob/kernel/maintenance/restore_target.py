"""The tables that a backup is put into: made by our own migrations, and filled with rows by COPY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from smartmob.errors import InvalidInput
from smartmob.kernel.db import migrations
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.maintenance.dump_reader import CopyBlock

_COLUMNS = """
SELECT c.relname AS name, s.nspname AS schema, c.relkind = 'p' AS divided,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM unnest($1::text[]) AS n JOIN pg_class AS c ON c.oid = to_regclass(n)
JOIN pg_namespace AS s ON s.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.relname, s.nspname, c.relkind
"""
_LONGEST_MONTH = 31


@dataclass(frozen=True, slots=True)
class _Known:
    """A table: its schema, whether it is divided into partitions, and its columns."""

    schema: str
    divided: bool
    columns: frozenset[str]


class RestoreTarget:
    """The empty tables of some migrations. `partitions` tells how the times in the names of partitions are written."""

    def __init__(self, connection: Connection, partitions: Mapping[str, str]) -> None:
        self._connection = connection
        self._partitions = partitions
        self._known: dict[str, _Known] = {}

    async def make(self, wanted: Sequence[Migration]) -> None:
        """Make the tables, without the rows that migrations put into them."""
        await migrations.apply(self._connection, wanted)
        for row in await self._connection.fetch(_COLUMNS, migrations.tables(wanted)):
            self._known[row["name"]] = _Known(row["schema"], row["divided"], frozenset(row["columns"]))
        await self._connection.execute(
            "TRUNCATE " + ", ".join(_quoted(known, name) for name, known in self._known.items())
        )

    async def fill(self, block: CopyBlock) -> int:
        """Store the rows of a block and return how many; raises InvalidInput for a table or column that is not known.

        The statement is made of our own names of the table and its columns.
        """
        table = self._known.get(block.table) or await self._partition(block.table)
        if table is None or table.divided:
            raise InvalidInput(f"the file holds rows of {block.table!r}, which is no table of this smartmob")
        if strange := [column for column in block.columns if column not in table.columns]:
            raise InvalidInput(f"the file holds a column {strange[0]!r} that {block.table} has not in this smartmob")
        said = await self._connection.copy_to_table(
            block.table,
            schema_name=table.schema,
            columns=block.columns,
            source=block.rows,
            format="text",
            encoding=block.encoding,
        )
        return int(said.rpartition(" ")[2])

    async def _partition(self, name: str) -> _Known | None:
        """Make the partition of this name and return it, or None when there can be none."""
        parent, _, written = name.rpartition("_")
        form, known = self._partitions.get(parent), self._known.get(parent)
        if form is None or known is None or not known.divided:
            return None
        try:
            start = datetime.strptime(written, form).replace(tzinfo=UTC)
            end = start + timedelta(days=1 if "%d" in form else _LONGEST_MONTH + 1)
        except (ValueError, OverflowError):
            return None
        if start.strftime(form) != written:
            return None
        if "%d" not in form:
            end = end.replace(day=1)
        await self._connection.execute(
            f"CREATE TABLE {_quoted(known, name)} PARTITION OF {_quoted(known, parent)} "
            f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
        )
        self._known[name] = made = _Known(known.schema, False, known.columns)
        return made


def _quoted(table: _Known, name: str) -> str:
    return f'"{table.schema}"."{name}"'
