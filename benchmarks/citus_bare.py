"""Measures the servers of `benchmarks.citus` without a service: they store batches as the service makes them.

One connection copies batches into PostgreSQL. On Citus one connection to each node stores the batches of this node, by
the statements of the service; the more nodes, the smaller these batches are.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.node_connections import NodeConnections
from smartmob.kernel.db.shards import RowShards

_MEASURES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")
_COLUMNS = ("block", "seq", "session_h", "context_h", "item_id", "item_start_time", "started_at", *_MEASURES)
_TABLE = "test_metrics"

Store: TypeAlias = Callable[[Sequence[tuple[object, ...]]], Awaitable[None]]


class _Rows:
    """Makes rows with keys that no other has."""

    def __init__(self) -> None:
        self._source = random.Random(1)
        self._items = [uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(1_000)]
        self._block = time.time_ns()
        self._number = 0

    def of(self, sessions: Sequence[str], count: int) -> list[tuple[object, ...]]:
        return [self._one(sessions[number % len(sessions)]) for number in range(count)]

    def _one(self, session_h: str) -> tuple[object, ...]:
        self._number += 1
        key = (self._block + self._number // 4096, self._number % 4096)
        test = self._items[self._number % len(self._items)]
        measures = (self._source.random() for _ in _MEASURES)
        return (*key, session_h, "c" * 32, test, "2026-01-01T10:00:00.123456", datetime.now(UTC), *measures)


async def _writing(store: Store, rows: _Rows, sessions: Sequence[str], batch: int, seconds: float) -> int:
    """Store batches for some seconds; return the number of rows."""
    for _ in range(10):
        await store(rows.of(sessions, batch))
    stored, end = 0, time.perf_counter() + seconds
    while stored == 0 or time.perf_counter() < end:
        await store(rows.of(sessions, batch))
        stored += batch
    return stored


async def rate(url: str, sessions: Sequence[str], batch: int, seconds: float) -> float:
    """Store rows of these sessions in batches, delete them again, and return the rows stored per second."""
    rows, database = _Rows(), Database(DatabaseSettings(url=url), None)
    await database.open()
    connection = await database.connect()
    nodes = NodeConnections(database, _TABLE)
    try:
        writers = await _writers(connection, nodes, sessions)
        size = max(1, batch // len(writers))
        began = time.perf_counter()
        stored = await asyncio.gather(*(_writing(store, rows, own, size, seconds) for store, own in writers))
        return sum(stored) / (time.perf_counter() - began)
    finally:
        await connection.execute(f"DELETE FROM {_TABLE} WHERE session_h = ANY ($1)", sessions)
        await nodes.close()
        await connection.close()
        await database.close()


async def _writers(
    connection: Any, nodes: NodeConnections, sessions: Sequence[str]
) -> list[tuple[Store, Sequence[str]]]:
    """Return what stores rows, each with its sessions: one for PostgreSQL, one for each node of Citus."""
    shards: RowShards[str] = RowShards(_TABLE, lambda name: name, nodes)
    await shards.detect(connection)
    if not shards.active:
        return [(_into(shards, connection), sessions)]
    await shards.learn(connection, [sessions])
    await nodes.connect()
    found: dict[Any, list[str]] = {}
    for name in sessions:
        found.setdefault(nodes.node_of(shards.of([name])), []).append(name)
    return [(_into(shards, connection if node is None else nodes.connection(node)), own) for node, own in found.items()]


def _into(shards: RowShards[str], connection: asyncpg.Connection[Any] | Any) -> Store:
    async def store(records: Sequence[tuple[object, ...]]) -> None:
        await shards.insert(connection, _COLUMNS, records, separate=True)

    return store
