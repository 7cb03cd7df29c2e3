"""Measures the size of rows and the rate of storing them, on a database with rows of all features.

`python -m benchmarks.capacity [--write]` from the root of the repository; with `--write` the page
docs/reference/capacity.md is written anew. Rows come in as clients send them. Of tables that fill slowly (jobs, events,
slices, results) a few real rows are stored by the service and then multiplied in the database, so that their size is
not that of half-empty pages.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks import samples, stopping
from benchmarks.candidates import CannotMeasure, Service, say, smartmob
from benchmarks.load import post_ndjson
from benchmarks.plan import open_folder
from benchmarks.report import machine_info, table
from benchmarks.soak import Scale, Soak, create_programs, end_load_test, load_test, ports_of
from smartmob.hosts.model import sample_fields
from smartmob.hosts.sampler.snapshot import SnapshotReader

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "capacity.md"
_AT_ONCE = 500
_CONNECTIONS = 32
_MULTIPLIED = 50_000
_DAY, _YEAR = 86_400, 365 * 86_400

_SIZES = """
SELECT sum(pg_table_size(t.relid))::bigint AS data, sum(pg_indexes_size(t.relid))::bigint AS indexes
FROM (SELECT relid FROM pg_partition_tree($1::text::regclass) UNION SELECT $1::text::regclass) AS t
"""
_MULTIPLY = {
    "command_jobs": """
        INSERT INTO command_jobs SELECT (jsonb_populate_record(j, jsonb_build_object('job_id', 10^9 + n))).*
        FROM (SELECT j FROM command_jobs AS j LIMIT 1) AS one, generate_series(1, {rows}) AS n""",
    "process_events": """
        INSERT INTO process_events SELECT slug, at + n * interval '1 ms', gen_random_uuid(), kind, detail
        FROM (SELECT * FROM process_events LIMIT 20) AS e, generate_series(1, {rows} / 20) AS n""",
    "turret_slices": """
        INSERT INTO turret_slices SELECT (jsonb_populate_record(s, jsonb_build_object('batch', 10^9 + n))).*
        FROM (SELECT s FROM turret_slices AS s ORDER BY batch DESC LIMIT 10) AS ten,
            generate_series(1, {rows} / 10) AS n""",
    "turret_health": """
        INSERT INTO turret_health SELECT run_id, at, uuid || n, users, cpu, busiest, lag, memory, late_starts
        FROM (SELECT * FROM turret_health LIMIT 5) AS h, generate_series(1, {rows} / 5) AS n""",
    "turret_results": """
        INSERT INTO turret_results
        SELECT run_id, n / 1000, n % 1000, at, n * 0.01, extract(epoch FROM at), 0.05 + n % 97 * 0.001, '',
            '{{"page": 0.0512}}', 'navigation', 'b2a1c7de-0000-4000-8000-000000000001'
        FROM (SELECT run_id, at FROM turret_slices LIMIT 1) AS s, generate_series(1, {rows}) AS n""",
}
_TABLES = (
    *("test_metrics", "test_items", "host_samples", "host_minutes", "process_events", "command_jobs"),
    *("turret_results", "turret_slices", "turret_health"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """The rows and bytes of a table."""

    name: str
    rows: int
    data: int
    indexes: int

    @property
    def per_row(self) -> float:
        """Return the bytes that a row costs, its indexes included."""
        return (self.data + self.indexes) / max(1, self.rows)


# -- filling ------------------------------------------------------------------------------------------------------


async def _posts(session: aiohttp.ClientSession, url: str, seconds: float) -> float:
    """Return how many metrics a second are taken one by one."""
    bodies, done = list(samples.posts(1_000)), 0
    deadline = time.perf_counter() + seconds

    async def post(first: int) -> None:
        nonlocal done
        number = first
        while time.perf_counter() < deadline:
            async with session.post(f"{url}/metrics/", data=bodies[number % len(bodies)]) as answer:
                if answer.status != 201:
                    raise CannotMeasure(f"a metric was answered {answer.status}")
            number, done = number + 1, done + 1

    await asyncio.gather(*(post(number * 31) for number in range(_CONNECTIONS)))
    return done / seconds


async def _samples(session: aiohttp.ClientSession, url: str, machines: int, each: int) -> float:
    """Send samples as agents do that catch up; return how many a second are taken."""
    fields = sample_fields(SnapshotReader().read(0.0))
    end = time.time() - 60
    idents = []
    for number in range(machines):
        async with session.post(f"{url}/client", json={"username": f"m{number}", "password": "p"}) as answer:
            idents.append((await answer.json())["client_id"])

    async def send(ident: str) -> None:
        async with session.ws_connect(f"{url}/echo") as socket:
            await socket.send_json({"type": "HELLO"})
            await socket.receive_json()
            for first in range(0, each, _AT_ONCE):
                span = range(first, min(first + _AT_ONCE, each))
                found = [{**fields, "time": round(end - each + at, 3), "id": at} for at in span]
                await socket.send_json({"type": "BACKFILL", "samples": found, "client_id": ident})
                answered = await socket.receive_json()
                if answered["type"] != "BACKFILLED":
                    raise CannotMeasure(f"samples were refused: {answered}")

    began = time.perf_counter()
    await asyncio.gather(*map(send, idents))
    return machines * each / (time.perf_counter() - began)


async def _jobs(session: aiohttp.ClientSession, url: str, seconds: float) -> float:
    """Return how many commands a second are run to their end."""
    done, deadline = 0, time.perf_counter() + seconds

    async def run() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            async with session.post(f"{url}/commands/exec", json={"cmd": ["true"]}) as answer:
                await answer.read()
            done += 1

    await asyncio.gather(*(run() for _ in range(8)))
    return done / seconds


async def _until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise CannotMeasure(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(1)


async def fill(service: Service, folder: Path, ports: tuple[int, int], scale: float) -> dict[str, float]:
    """Fill every feature; return how many rows a second were taken, by the way they came."""
    url = f"http://127.0.0.1:{service.port}"
    rates: dict[str, float] = {}
    rows = int(200_000 * scale)
    service.introduce()
    taken = await asyncio.to_thread(post_ndjson, service, samples.ndjson(0, rows), rows)
    rates["measures of tests, as NDJSON in one request"] = rows / taken
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        way = f"measures of tests, one by one on {_CONNECTIONS} connections"
        rates[way] = await _posts(session, url, 10 * scale)
        say(f"metrics: {rates}")
        rates["samples of machines, 500 in a message"] = await _samples(session, url, 20, int(7_200 * scale))
        rates["commands run to their end, 8 at a time"] = await _jobs(session, url, 10 * scale)
        busy = Soak(service, session, Scale(1, 0, 10, 0, 50))
        await create_programs(busy, folder)
        async with load_test(busy, folder, ports) as ident:
            connection = await service.connect()

            async def fired() -> bool:
                return bool(await connection.fetchval("SELECT count(*) >= 10 FROM turret_slices"))

            async def watched() -> bool:
                return bool(await connection.fetchval("SELECT count(*) >= 5 FROM turret_health"))

            async def rolled() -> bool:
                wanted = 20 * (7_200 * scale // 60 - 2)
                return bool(await connection.fetchval("SELECT count(*) >= $1 FROM host_minutes", wanted))

            await _until(fired, "a load test has slices")
            await _until(watched, "a turret reports its health")
            await end_load_test(busy, ident)
            await _until(rolled, "samples are rolled up")
            await connection.close()
    return rates


async def sizes(service: Service, scale: float) -> list[Size]:
    """Return what the tables have, after the small ones were multiplied and all were put in order."""
    connection = await service.connect()
    found = []
    for statement in _MULTIPLY.values():
        await connection.execute(statement.format(rows=int(_MULTIPLIED * scale)))
    for name in _TABLES:
        await connection.execute(f"VACUUM (ANALYZE) {name}")
        row = await connection.fetchrow(_SIZES, name)
        assert row is not None
        rows = await connection.fetchval(f"SELECT count(*) FROM {name}")
        if not rows:
            raise CannotMeasure(f"{name} has no rows: take a larger --scale")
        found.append(Size(name, rows, row["data"], row["indexes"]))
        say(f"{name}: {rows:,} rows, {found[-1].per_row:.0f} bytes each")
    await connection.close()
    return found


def _memory(service: Service) -> tuple[float, float]:
    """Return the memory of the service and of its PostgreSQL, in MB; shared memory counts once."""
    home = str(service.data_dir / "postgres" / "cluster")
    total = 0.0
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == "postgres" and process.info["cwd"] == home:
            used: Any = process.memory_full_info()
            total += getattr(used, "pss", used.rss) / 1e6
    return service.memory(), total


# -- the page -----------------------------------------------------------------------------------------------------


def _amount(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def page(rates: dict[str, float], found: Sequence[Size], memory: dict[str, tuple[float, float]]) -> str:
    """Return the page of the reference."""
    per_row = {size.name: size.per_row for size in found}
    costs = [
        (f"`{size.name}`", f"{size.per_row:,.0f}", f"{size.data / size.rows:,.0f}", f"{size.indexes / size.rows:,.0f}",
         f"{size.rows:,}")
        for size in found
    ]  # fmt: skip
    examples = [
        ("200 machines, a sample each second, kept 14 days", 200 * 14 * _DAY * per_row["host_samples"]),
        ("the same 200 machines, a roll-up each minute, kept a year", 200 * _YEAR / 60 * per_row["host_minutes"]),
        ("a suite of 2,000 tests, 50 times a day, kept a year", 2_000 * 50 * 365 * per_row["test_metrics"]),
        ("a load test of an hour with 10 turrets of smartmob and 5 timers", 10 * 5 * 3600 * per_row["turret_slices"]),
        ("the same with turrets of OCT, 1,000 results a second", 1_000 * 3600 * per_row["turret_results"]),
        ("10,000 jobs a day, kept 30 days, without their output", 10_000 * 30 * per_row["command_jobs"]),
    ]
    about = ", ".join(f"{name} {value}" for name, value in machine_info().items())
    return "\n\n".join(
        (
            "# Capacity",
            "<!-- Written by `python -m benchmarks.capacity --write`. -->",
            f"Measured on one machine ({about}), on which other programs ran at the same time: the sizes are exact, "
            "and a small machine reaches at least these rates. `benchmarks/results` has runs on a "
            "quiet one, beside the limits of the machine. Measure your own with `python -m benchmarks.capacity`.",
            "## Bytes a row",
            "On disk, indexes included, after VACUUM.",
            table(("table", "bytes a row", "of which data", "of which indexes", "rows measured"), costs),
            "## Examples",
            table(("what", "on disk"), [(what, _amount(size)) for what, size in examples]),
            "Add up to 1 GB for PostgreSQL's log of changes (`max_wal_size`), the output of jobs "
            "(`--commands-total-output`, at most 4 GiB), and the releases of programs. "
            "[Retention](retention.md) lists what removes rows.",
            "## Rows a second",
            table(("rows", "a second"), [(what, f"{rate:,.0f}") for what, rate in rates.items()]),
            "All of it is committed to disk before it is acknowledged.",
            "## Memory",
            table(
                ("state", "service MB", "PostgreSQL MB"),
                [(state, f"{ours:.0f}", f"{theirs:.0f}") for state, (ours, theirs) in memory.items()],
            ),
            "Up to a hundred programs share a subreaper, a process of 3 MB, and the service keeps the last output of "
            "each program: at most `--processes-console-bytes` (1 MiB).",
        )
    ) + "\n"  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.capacity")
    parser.add_argument("--scale", type=float, default=1.0, help="Of the numbers of rows.")
    parser.add_argument("--write", action="store_true", help=f"Write {PAGE.name} instead of printing it.")
    given = parser.parse_args(arguments)
    settings = {"SMARTMOB_HQ": "1", **{f"SMARTMOB_HQ_{name}_PORT": "0" for name in ("PUBLISH", "RC", "EXTERNAL")}}
    try:
        with open_folder() as folder, smartmob(folder / "data", **settings) as service:
            memory = {"after the start": _memory(service)}
            rates = asyncio.run(fill(service, folder, ports_of(folder / "data.log"), given.scale))
            memory["after all rows of this page"] = _memory(service)
            text = page(rates, asyncio.run(sizes(service, given.scale)), memory)
    except CannotMeasure as error:
        say(str(error))
        return 2
    if given.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main))
