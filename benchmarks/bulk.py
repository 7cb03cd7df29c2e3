"""Many metrics in one request, beside PostgreSQL's COPY of the same rows, already prepared."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg

from benchmarks import samples
from benchmarks.candidates import SMARTMOB, Service, say, smartmob
from benchmarks.load import post_ndjson
from benchmarks.plan import Plan
from benchmarks.report import Goal, Section, Spread, table

_BATCH = 10_000
_WANTED = 0.25
_TABLES = {
    "COPY, no index": "CREATE TABLE {} (LIKE test_metrics INCLUDING DEFAULTS)",
    "COPY, the indexes of test_metrics": "CREATE TABLE {} (LIKE test_metrics INCLUDING ALL)",
}


def measure(plan: Plan) -> Section:
    """Load the same rows by one request and by COPY, into a new database in each round."""
    body = samples.ndjson(0, plan.bulk_rows)
    rates: dict[str, list[float]] = {SMARTMOB: [], **{name: [] for name in _TABLES}}
    records: list[tuple[Any, ...]] = []
    for number in range(plan.rounds):
        with plan.place() as folder, smartmob(folder / "data") as service:
            service.introduce()
            plan.wait_until_quiet()
            rates[SMARTMOB].append(plan.bulk_rows / post_ndjson(service, body, plan.bulk_rows))
            records = records or asyncio.run(_stored(service))
            for name, statement in _TABLES.items():
                plan.wait_until_quiet()
                rates[name].append(plan.bulk_rows / asyncio.run(_copy(service, statement, records)))
        for name, values in rates.items():
            plan.keep("bulk", candidate=name, round=number, rows=plan.bulk_rows, rows_per_second=values[-1])
            say(f"round {number + 1}, {name}: {values[-1]:,.0f} rows/s")
    ours = Spread.of(rates[SMARTMOB])
    limits = {name: Spread.of(rates[name]) for name in _TABLES}
    rows = [(f"{SMARTMOB}, NDJSON", ours.text(), "")]
    rows += [(name, limit.text(), ours.over(limit).text(".2f")) for name, limit in limits.items()]
    what = f"One POST /metrics/ with {plan.bulk_rows:,} lines ({len(body) / 1e6:.0f} MB) of NDJSON"
    goals = [Goal(f"bulk rows/s / {name}", _WANTED, ours.over(limit).median, ".2f") for name, limit in limits.items()]
    return Section(what, (table(("way", "rows/s", f"{SMARTMOB} / this one"), rows),), goals)


async def _stored(service: Service) -> list[tuple[Any, ...]]:
    """Return the rows as the service has stored them, ready for COPY."""
    connection = await service.connect()
    try:
        return [tuple(row) for row in await connection.fetch("SELECT * FROM test_metrics ORDER BY block, seq")]
    finally:
        await connection.close()


async def _copy(service: Service, statement: str, records: list[tuple[Any, ...]]) -> float:
    """Return how many seconds the COPY of all records into a new table takes, in one transaction."""
    connection: asyncpg.Connection[Any] = await service.connect()
    try:
        await connection.execute(statement.format("copied"))
        # What was written before does not go to the disk meanwhile.
        await connection.execute("CHECKPOINT")
        started = time.perf_counter()
        async with connection.transaction():
            for first in range(0, len(records), _BATCH):
                await connection.copy_records_to_table("copied", records=records[first : first + _BATCH])
        seconds = time.perf_counter() - started
        await connection.execute("DROP TABLE copied")
        return seconds
    finally:
        await connection.close()
