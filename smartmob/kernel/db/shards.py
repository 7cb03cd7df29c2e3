"""The shards that rows go to, so that a batch is committed by one node alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from smartmob.kernel.db import citus
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.submission_queue import Shard
from smartmob.kernel.runtime import clock

R = TypeVar("R")

_MAX_KNOWN_KEYS = 100_000  # some 10 MB; above this, all are asked for again
_KNOWN_SECONDS = 600.0  # until the nodes are asked for again, because shards can be moved
MOST_VALUES = 64
"""Rows up to which one INSERT is faster on Citus than a COPY, which always commits in two phases."""

_SHARDS = """
SELECT k.key, k.shard, coalesce(min(p.groupid), 0) AS node
FROM (
    SELECT key, get_shard_id_for_distribution_column($1::text::regclass, key) AS shard FROM unnest($2::text[]) AS key
) AS k LEFT JOIN pg_dist_placement AS p ON p.shardid = k.shard
GROUP BY k.key, k.shard
"""
_ONE_CONNECTION = "SET citus.multi_shard_modify_mode TO 'sequential'"
"""Let a statement use one connection to a node, because opening further ones takes longer than writing a batch."""

MIXED = Shard(0, 0)
"""The shard of rows of one caller that belong to several."""


class RowShards(Generic[R]):
    """The shards of the rows of a table, by their keys. A table that is not distributed has none.

    `key` returns the key of a row, the column by which `table` is distributed. Call `look` with each new connection.
    One statement writes up to `most_together` rows of several shards of the same node.
    """

    def __init__(self, table: str, key: Callable[[R], Hashable], *, most_together: int = MOST_VALUES) -> None:
        self.active = False
        self.most_together = most_together
        self._table = table
        self._key = key
        self._known: dict[str, Shard] = {}
        self._since = clock.steady()

    async def look(self, connection: Connection, *, pooled: bool) -> None:
        """Find out whether the table is distributed, and prepare the connection for it.

        A `pooled` session of the server also serves other clients, so its settings are not changed.
        """
        self.active = self._table in await citus.placed(connection)
        if self.active and not pooled:
            await connection.execute(_ONE_CONNECTION)

    async def learn(self, connection: Connection, batches: Iterable[Sequence[R]]) -> None:
        """Ask the server for the shards of unknown keys."""
        unknown = {str(self._key(row)) for rows in batches for row in rows} - self._known.keys()
        if unknown:
            if len(self._known) > _MAX_KNOWN_KEYS:
                self._forget()
            for row in await connection.fetch(_SHARDS, self._table, sorted(unknown)):
                self._known[row["key"]] = Shard(row["shard"], row["node"])

    def of(self, rows: Sequence[R]) -> Shard | None:
        """Return the shard of some rows, `MIXED` if they belong to several, or None if that is not known yet."""
        if clock.steady() - self._since > _KNOWN_SECONDS:
            self._forget()
        if len(rows) == 1:
            return self._known.get(str(self._key(rows[0])))
        found = {self._known.get(key) for key in {str(self._key(row)) for row in rows}}
        if None in found:
            return None
        return found.pop() if len(found) == 1 else MIXED

    def _forget(self) -> None:
        self._known.clear()
        self._since = clock.steady()


async def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], records: Sequence[Sequence[Any]], *, sharded: bool
) -> None:
    """Write rows by COPY, or up to `MOST_VALUES` rows of a distributed table by one INSERT."""
    if not sharded or not records or len(records) > MOST_VALUES:
        await connection.copy_records_to_table(table, records=records, columns=columns)
        return
    statement = _insertion(table, tuple(columns), len(records))
    await connection.execute(statement, *(value for record in records for value in record))


@lru_cache(maxsize=4 * MOST_VALUES)
def _insertion(table: str, columns: Sequence[str], rows: int) -> str:
    """Return the INSERT of a number of rows with a parameter for each value."""
    width = len(columns)
    places = (", ".join(f"${row * width + number + 1}" for number in range(width)) for row in range(rows))
    values = ", ".join(f"({place})" for place in places)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608  # our own names
