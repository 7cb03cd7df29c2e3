"""Measures how fast the timeline of the console opens: a day of twenty machines, each with a sample a second.

`python -m benchmarks.console` from the root of the repository; it needs Chromium and the extra `tests`. The day is put
into the database as the service stores it: samples and what they come to for each minute. Test runs, programs and a
note are made by the routes. Then a browser opens the page again and again, and the page notes when its chart is drawn:
the first time with an empty cache, later with what it has kept, which is what somebody has who uses the console. Beside
it the document behind the page is asked for alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

import aiohttp

from benchmarks import stopping
from benchmarks.browser import browsing
from benchmarks.candidates import CannotMeasure, Service, say, smartmob
from benchmarks.plan import open_folder
from benchmarks.report import Goal, Section, Spread, machine_info, summary, table
from tests.console.labs import fill

HOSTS = 20
SECONDS = 86_400
_POINTS = 300

_REGISTER = """
INSERT INTO hosts (name, own, registered_at) SELECT 'machine' || n, false, now() FROM generate_series(1, $1) AS n
"""
_SAMPLES = """
INSERT INTO host_samples (host, at, n, received_at, cpu, mem, storage, load, net_received, net_sent)
SELECT 'machine' || h, at, 0, at, 50 + 40 * sin(s / 900.0 + h), 4000 + s % 997, 80000, 1, 1e6 * random(), 1e5 * random()
FROM generate_series(1, $1) AS h, generate_series(0, $2 - 1) AS s,
    LATERAL (SELECT date_trunc('minute', now()) - (s + 1) * interval '1 s' AS at) AS t
"""
_FIGURES = ("cpu", "mem", "storage", "load", "net_received", "net_sent")
_MINUTES = f"""
INSERT INTO host_minutes (host, at, samples,
    {", ".join(f"{name}_min, {name}_max, {name}_sum, {name}_n" for name in _FIGURES)})
SELECT host, date_trunc('minute', at), count(*),
    {", ".join(f"min({name}), max({name}), sum({name}), count({name})" for name in _FIGURES)}
FROM host_samples WHERE host LIKE 'machine%' AND at >= now() - $1 * interval '1 s' GROUP BY 1, 2
ON CONFLICT DO NOTHING
"""
_DRAWN, _WARM = "chart-drawn", 3
"""The mark that the page sets, and how often a browser runs a script before it keeps what it made of it."""


async def _store(service: Service) -> int:
    """Put the day into the database; return the number of samples."""
    connection = await service.connect()
    await connection.execute(_REGISTER, HOSTS)
    # What was received before has been rolled up: here it is done in one go.
    await connection.execute("UPDATE host_progress SET until = now()")
    await connection.execute(_SAMPLES, HOSTS, SECONDS)
    await connection.execute(_MINUTES, SECONDS + 120)
    await connection.execute("VACUUM (ANALYZE)")
    stored = await connection.fetchval("SELECT count(*) FROM host_samples WHERE host LIKE 'machine%'")
    await connection.close()
    return int(stored)


async def _ask(client: aiohttp.ClientSession, span: float) -> tuple[float, int]:
    """Return the milliseconds that the document of a span takes, and its bytes."""
    end = time.time()
    began = time.perf_counter()
    query = {"from": str(end - span), "to": str(end), "points": str(_POINTS)}
    async with client.get("/console/data/timeline", params=query) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise CannotMeasure(f"the timeline was answered {answer.status}: {body[:200]!r}")
    return (time.perf_counter() - began) * 1e3, len(body)


async def measure(service: Service, rounds: int) -> Section:
    """Fill the service, and open its timeline several times."""
    url = f"http://127.0.0.1:{service.port}"
    async with aiohttp.ClientSession(url) as client:
        await fill(client)
        stored = await _store(service)
        say(f"{stored:,} samples of {HOSTS} machines are stored")
        spans = {"24 hours": SECONDS, "6 hours": 21_600, "1 hour": 3_600}
        asked = {name: [await _ask(client, span) for _ in range(rounds + 1)][1:] for name, span in spans.items()}
    page = f"{url}/console/timeline?span={SECONDS}"
    async with browsing() as browser:
        first = [await browser.time(page, _DRAWN) for _ in range(_WARM)]
        opened = Spread.of([await browser.time(page, _DRAWN) for _ in range(rounds)])
    rows = [
        ("timeline of 24 hours, until its chart is drawn", opened.text(), ""),
        ("the same for the first time, with an empty cache", f"{first[0]:,.0f}", ""),
    ]
    for name, found in asked.items():
        taken, size = Spread.of(milliseconds for milliseconds, _ in found), found[-1][1]
        rows.append((f"its document alone, {name}", taken.text(), f"{size / 1e3:,.0f}"))
    goal = Goal(f"timeline of 24 hours of {HOSTS} machines", 1_000, opened.median, ".0f", " ms", at_most=True)
    about = f"{stored:,} samples; median of {rounds} (least to greatest)."
    return Section("Timeline", (about, table(("what", "ms", "kB"), rows)), (goal,))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.console")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    given = parser.parse_args(arguments)
    try:
        with open_folder() as folder, smartmob(folder / "data") as service:
            section = asyncio.run(measure(service, 2 if given.quick else given.rounds))
    except (CannotMeasure, FileNotFoundError) as error:
        say(str(error))
        return 2
    about = ", ".join(f"{name} {value}" for name, value in machine_info().items())
    sys.stdout.write(f"# Console\n\n{about}\n\n{summary(section.goals)}\n\n{section.text()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main))
