"""Measures what the indexes of `test_metrics` cost a COPY in PostgreSQL: the limit of a bulk load.

`python -m benchmarks.bulk_limit [ROWS]` prints the processor time of PostgreSQL's process for each way to load rows.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from benchmarks import stopping
from benchmarks.candidates import Service, smartmob
from benchmarks.report import Spread, table

_MEASURES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")
_COLUMNS = ("block", "seq", "session_h", "context_h", "item_id", "item_start_time", "started_at", *_MEASURES)
_ROUNDS = 3


def _rows(count: int) -> list[tuple[object, ...]]:
    source, began = random.Random(1), datetime.now(UTC)
    items = [uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(10_000)]
    return [
        (
            *(n // 4096, n % 4096, f"{n // 5000:064d}", "c" * 64, items[n % len(items)]),
            *("2026-01-01 10:00:00.123456", began + timedelta(milliseconds=10 * n)),
            *(source.random() for _ in _MEASURES),
        )
        for n in range(count)
    ]


async def _measure(service: Service, count: int) -> dict[str, list[float]]:
    connection: Any = await service.connect()
    process = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    found = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'test_metrics' ORDER BY 1")
    indexes = [row["indexdef"].partition(" USING ")[2] for row in found]
    rows = _rows(count)
    by_test = sorted(rows, key=lambda row: (str(row[4]), row[0], row[1]))
    taken: dict[str, list[float]] = {}

    async def create(wanted: Sequence[str]) -> None:
        for index in wanted:
            await connection.execute(f"CREATE INDEX ON bulk_limit USING {index}")

    async def copy(sent: Sequence[tuple[object, ...]] = rows, name: str = "bulk_limit") -> None:
        await connection.copy_records_to_table(name, records=sent, columns=_COLUMNS)

    async def one(name: str, wanted: Sequence[str], load: Callable[[], Awaitable[None]]) -> None:
        await connection.execute("DROP TABLE IF EXISTS bulk_limit, bulk_stage")
        await connection.execute("CREATE TABLE bulk_limit (LIKE test_metrics)")
        await connection.execute("CREATE TEMP TABLE bulk_stage (LIKE test_metrics)")
        await create(wanted)
        before = process.cpu_times()
        await load()
        after = process.cpu_times()
        taken.setdefault(name, []).append(after.user + after.system - before.user - before.system)

    async def staged() -> None:
        await copy(name="bulk_stage")
        await connection.execute("INSERT INTO bulk_limit SELECT * FROM bulk_stage ORDER BY item_id, block, seq")

    async def indexed_after() -> None:
        await copy()
        await create(indexes)

    for _ in range(_ROUNDS):
        await one("COPY without an index", (), copy)
        for index in indexes:
            await one(f"COPY, index {index}", (index,), copy)
        await one("COPY, all indexes", indexes, copy)
        await one("COPY, all indexes, rows in the order of the tests", indexes, lambda: copy(by_test))
        await one("COPY into a stage, ordered INSERT", indexes, staged)
        await one("COPY, then build all indexes", (), indexed_after)
    await connection.close()
    return taken


def main() -> None:
    """Measure and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder, smartmob(Path(folder) / "data") as service:
        taken = asyncio.run(_measure(service, count))
    least = Spread.of(taken["COPY without an index"]).median
    rows = []
    for name, values in taken.items():
        spread = Spread.of(values)
        rows.append((name, spread.text(".2f"), f"{least / max(spread.median, 0.01):.2f}"))
    print(table((f"{count:,} rows", "CPU s of PostgreSQL", "of COPY without an index"), rows))


if __name__ == "__main__":
    sys.exit(stopping.run(main))
