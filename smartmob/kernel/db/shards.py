"""The shards that rows go to, so that a batch of one shard is committed by one node alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from smartmob.kernel.db import citus
from smartmob.kernel.db.connection_loss import ended_with
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.node_connections import NodeConnections

R = TypeVar("R")

_MAX_KNOWN_KEYS = 100_000  # some 10 MB; then all are asked for again
_MOST_VALUES = 64
"""Rows up to which one INSERT is faster on Citus than a COPY, which always commits in two phases."""
_MOST_SEPARATE = 16
"""Rows up to which a node is faster with a prepared statement for each row, all sent at once, because it keeps their
plan. For a statement with arrays it makes a plan each time, and locks all shards of the table.
"""

_COLUMNS = """
SELECT attname::text AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
"""
_SHARDS = """
SELECT key, get_shard_id_for_distribution_column($1::text::regclass, key) AS shard FROM unnest($2::text[]) AS key
"""

MIXED = "mixed"
"""The shard of rows that belong to several."""


class RowShards(Generic[R]):
    """The shards of the rows of a table, by their keys. A table that is not distributed has none.

    `key` returns the key of a row, the column by which `table` is distributed. Call `detect` with each new connection.
    `nodes` are the connections to the nodes, for rows that need no table of the coordinator.
    """

    def __init__(self, table: str, key: Callable[[R], Hashable], nodes: NodeConnections | None = None) -> None:
        self.active = False
        self.nodes = nodes
        self._table = table
        self._key = key
        self._known: dict[str, int] = {}
        self._types: dict[str, str] = {}

    def leave_nodes(self) -> None:
        """Let the coordinator store all rows."""
        self.nodes = None

    async def detect(self, connection: Connection) -> None:
        """Find out whether the table is distributed."""
        self.active = self._table in await citus.distributed_tables(connection)
        if self.active:
            rows = await connection.fetch(_COLUMNS, self._table)
            self._types = {row["name"]: row["type"] for row in rows}

    async def learn(self, connection: Connection, batches: Iterable[Sequence[R]]) -> None:
        """Ask the server for the shards of unknown keys."""
        unknown = {str(self._key(row)) for rows in batches for row in rows} - self._known.keys()
        if unknown:
            if len(self._known) > _MAX_KNOWN_KEYS:
                self._known.clear()
            for row in await connection.fetch(_SHARDS, self._table, sorted(unknown)):
                self._known[row["key"]] = row["shard"]

    def of(self, rows: Sequence[R]) -> Hashable:
        """Return the shard of some rows, `MIXED` if they belong to several, or None if that is not known yet."""
        if len(rows) == 1:
            return self._known.get(str(self._key(rows[0])))
        found = {self._known.get(key) for key in {str(self._key(row)) for row in rows}}
        if None in found:
            return None
        return found.pop() if len(found) == 1 else MIXED

    def destination_of(self, shard: Hashable) -> Hashable:
        """Return the connected node of a shard, or else the shard: a batch is stored in one such destination."""
        node = None if self.nodes is None else self.nodes.node_of(shard)
        return shard if node is None else node

    async def on_coordinator(self, connection: Connection, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do some work on tables of the coordinator, on another connection if this one leads to a node."""
        if self.nodes is None:
            await work(connection)
        else:
            await self.nodes.on_coordinator(connection, work)

    async def insert(
        self,
        connection: Connection,
        columns: Sequence[str],
        records: Sequence[Sequence[Any]],
        *,
        separate: bool = False,
        again: bool = False,
    ) -> None:
        """Write rows by the statement that suits the connection and their number.

        `separate` allows that only some of the rows are stored after an error. `again` skips rows that are stored.
        """
        if self.active and again:
            await connection.execute(self._insert_arrays(columns) + " ON CONFLICT DO NOTHING", *_arrays(records))
        elif self.nodes is None or not self.nodes.owns(connection):
            await insert_rows(connection, self._table, columns, records, sharded=self.active)
        elif separate and len(records) <= _MOST_SEPARATE:
            # A node that no longer has their shard would have each row committed alone.
            await connection.executemany(self._insert_row(columns), records)
        else:
            await connection.execute(self._insert_arrays(columns), *_arrays(records))

    def _insert_arrays(self, columns: Sequence[str]) -> str:
        arrays = ", ".join(f"${number}::{self._types[name]}[]" for number, name in enumerate(columns, 1))
        return f"INSERT INTO {self._table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608  # our names

    def _insert_row(self, columns: Sequence[str]) -> str:
        values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        return f"INSERT INTO {self._table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608  # our own names


def _arrays(records: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the columns of some rows."""
    return [list(column) for column in zip(*records, strict=True)]


async def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], records: Sequence[Sequence[Any]], *, sharded: bool
) -> None:
    """Write rows by a COPY, or few rows of a distributed table by one INSERT; more go to one node in one phase."""
    if not sharded or not records or len(records) > _MOST_VALUES:
        async with ended_with(connection):
            await connection.copy_records_to_table(table, records=records, columns=columns)
        return
    width = len(columns)
    parameters = (", ".join(f"${row * width + number + 1}" for number in range(width)) for row in range(len(records)))
    values = ", ".join(f"({row_parameters})" for row_parameters in parameters)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608  # our own names
    await connection.execute(statement, *(value for record in records for value in record))
