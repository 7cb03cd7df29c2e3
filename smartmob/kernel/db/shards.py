"""The shards that rows go to, so that a batch of one shard is committed by one node alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from smartmob.kernel.db import citus
from smartmob.kernel.db.database import Connection

R = TypeVar("R")

_MAX_KNOWN_KEYS = 100_000  # some 10 MB; then all are asked for again
_MOST_VALUES = 64
"""Rows up to which one INSERT is faster on Citus than a COPY, which always commits in two phases."""

_SHARDS = """
SELECT key, get_shard_id_for_distribution_column($1::text::regclass, key) AS shard FROM unnest($2::text[]) AS key
"""

MIXED = "mixed"
"""The shard of rows that belong to several."""


class RowShards(Generic[R]):
    """The shards of the rows of a table, by their keys. A table that is not distributed has none.

    `key` returns the key of a row, the column by which `table` is distributed. Call `detect` with each new connection.
    """

    def __init__(self, table: str, key: Callable[[R], Hashable]) -> None:
        self.active = False
        self._table = table
        self._key = key
        self._known: dict[str, int] = {}

    async def detect(self, connection: Connection) -> None:
        """Find out whether the table is distributed."""
        self.active = self._table in await citus.distributed_tables(connection)

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
        found = {self._known.get(key) for key in {str(self._key(row)) for row in rows}}
        if None in found:
            return None
        return found.pop() if len(found) == 1 else MIXED


async def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], records: Sequence[Sequence[Any]], *, sharded: bool
) -> None:
    """Write rows by a COPY, or few rows of a distributed table by one INSERT; more go to one node in one phase."""
    if not sharded or not records or len(records) > _MOST_VALUES:
        await connection.copy_records_to_table(table, records=records, columns=columns)
        return
    width = len(columns)
    parameters = (", ".join(f"${row * width + number + 1}" for number in range(width)) for row in range(len(records)))
    values = ", ".join(f"({row_parameters})" for row_parameters in parameters)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608  # our own names
    await connection.execute(statement, *(value for record in records for value in record))
