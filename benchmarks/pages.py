"""Pages of a long listing, read by one client one after the other."""

from __future__ import annotations

import asyncio
import time

from benchmarks import samples
from benchmarks.candidates import Service, say, smartmob
from benchmarks.load import PagesRead, post_ndjson, read_pages
from benchmarks.plan import Plan
from benchmarks.report import Goal, Section, Spread, table

_PAGE = 500
_AT_ONCE = 200_000
_WANTED_MS = 25.0


def measure(plan: Plan) -> Section:
    """Load the rows, then read random pages: right after the load, and when the database has tidied up."""
    with plan.place() as folder, smartmob(folder / "data") as service:
        service.introduce()
        _fill(service, plan.stored_rows)
        fresh = _round(plan, service, "right after the load", 0)
        asyncio.run(_tidy_up(service))
        settled = []
        for number in range(plan.rounds):
            plan.wait_until_quiet()
            settled.append(_round(plan, service, "settled", number))
    p99 = Spread.of(read.p99 for read in settled)
    rows = [
        ("right after the load", "1", f"{fresh.p50:.2f}", f"{fresh.p99:.2f}"),
        ("settled", str(plan.rounds), Spread.of(read.p50 for read in settled).text(".2f"), p99.text(".2f")),
    ]
    title = f"GET /metrics/?page=N, {_PAGE} of {plan.stored_rows:,} rows"
    remark = (
        f"{plan.page_requests} random pages a round, on one connection. *Settled* is after VACUUM (ANALYZE) and "
        "CHECKPOINT, which PostgreSQL does by itself within minutes of such a load."
    )
    goal = Goal(
        f"p99 of a page of {_PAGE} out of {plan.stored_rows:,} rows", _WANTED_MS, p99.median, ".1f", " ms", True
    )
    return Section(title, (table(("state", "rounds", "p50 ms", "p99 ms"), rows), remark), [goal])


def _fill(service: Service, rows: int) -> None:
    started = time.perf_counter()
    for first in range(0, rows, _AT_ONCE):
        number = min(_AT_ONCE, rows - first)
        post_ndjson(service, samples.ndjson(first, number), number)
    say(f"{rows:,} rows loaded in {time.perf_counter() - started:.1f} s")


def _round(plan: Plan, service: Service, state: str, number: int) -> PagesRead:
    read = read_pages(service, plan.stored_rows // _PAGE, plan.page_requests, _PAGE)
    plan.keep("pages", state=state, round=number, pages=read.pages, p50=read.p50, p99=read.p99)
    say(f"pages, {state}: p50 {read.p50:.2f} ms, p99 {read.p99:.2f} ms")
    return read


async def _tidy_up(service: Service) -> None:
    connection = await service.connect()
    try:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
