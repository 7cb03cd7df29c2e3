"""Single posts to a service on Citus beside one on plain PostgreSQL: rates, latencies and processor time.

`python -m benchmarks.citus --plain-url URL --citus-url URL` from the root of the repository. Both databases must exist,
and should be on this machine with the same settings. The tables are made and distributed if they are missing. Both
services run at the same time and get the same posts by turns, so that the ratios hold also on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil

from benchmarks import citus_bare, samples, stopping
from benchmarks.candidates import Candidate, CannotMeasure, say, smartmob
from benchmarks.ingest import positive
from benchmarks.load import Posted, Wrk
from benchmarks.plan import open_folder
from benchmarks.report import Spread, machine_info, table

_LOADS = ((16, 8), (16, 1), (64, 64))
"""The numbers of connections and of sessions."""
_TESTS = 1_000
_WARM_UP_SECONDS = 2
"""After that all tests are stored, and the nodes are connected and have made their plans."""
_BATCHES = {(16, 8): 8, (16, 1): 8, (64, 64): 30}
"""The rows of a batch on PostgreSQL, as the service makes them under these loads."""
_PLAIN, _CITUS = "PostgreSQL", "Citus"
_NODES = "SELECT nodeport FROM pg_dist_node WHERE noderole = 'primary' AND isactive ORDER BY groupid"


class Servers:
    """The PostgreSQL servers of a database: the one that the service connects to, and the other nodes."""

    def __init__(self, url: str) -> None:
        self.url = url
        ports = [urlsplit(url).port or 5432]
        ports += [port for port in asyncio.run(_node_ports(url)) if port not in ports]
        self._processes = [_listener(port) for port in ports]

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the processor time of the server of the service, and that of all others."""
        used = [_with_children(process) for process in self._processes]
        return used[0], sum(used[1:])


async def _node_ports(url: str) -> list[int]:
    connection: Any = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"):
            return []
        return [row["nodeport"] for row in await connection.fetch(_NODES)]
    finally:
        await connection.close()


def _listener(port: int) -> psutil.Process:
    """Return the main process of the server that listens on a port of this machine."""
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port and found.pid is not None:
            return psutil.Process(found.pid)
    raise CannotMeasure(f"no process that may be looked at listens on port {port} of this machine")


def _with_children(process: psutil.Process) -> float:
    times = process.cpu_times()
    used = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += spent.user + spent.system
    return used


@dataclass(frozen=True, slots=True)
class _Measured:
    """One run of wrk: what it saw, the rows that it made, and the processor time in seconds."""

    posted: Posted
    rows: int
    load: float
    first: float
    others: float


class _Bench:
    """Both services, and what they have done so far."""

    def __init__(self, folder: Path, seconds: int) -> None:
        self._seconds = seconds
        self._loads = {
            load: Wrk(_made(folder / f"load-{load[0]}-{load[1]}"), samples.posts(_TESTS, load[1])) for load in _LOADS
        }
        self.found: dict[tuple[str, tuple[int, int]], list[_Measured]] = {}
        self._alone: dict[tuple[str, tuple[int, int]], list[float]] = {}

    def warm_up(self, candidate: Candidate, load: tuple[int, int]) -> None:
        """Post for a moment, without counting."""
        self._loads[load].post(candidate, load[0], _WARM_UP_SECONDS)

    def run_servers(self, name: str, url: str, load: tuple[int, int]) -> None:
        """Store rows without a service."""
        sessions = [f"bare-{number}" for number in range(load[1])]
        found = asyncio.run(citus_bare.rate(url, sessions, _BATCHES[load], self._seconds))
        self._alone.setdefault((name, load), []).append(found)
        say(f"batches of {_BATCHES[load]}, {load[1]} sessions, {name} alone: {found:,.0f}/s")

    def run(self, name: str, candidate: Candidate, servers: Servers, load: tuple[int, int]) -> None:
        """Post for some seconds; count the rows."""
        before, first, wrk = candidate.count(), servers.cpu_seconds(), _children_seconds()
        posted = self._loads[load].post(candidate, load[0], self._seconds)
        wrk, second = _children_seconds() - wrk, servers.cpu_seconds()
        rows = candidate.count() - before
        if posted.errors or rows < posted.requests:
            raise CannotMeasure(f"{name}: {posted.requests} answers, {rows} rows, errors: {posted.errors}")
        measured = _Measured(posted, rows, wrk, second[0] - first[0], second[1] - first[1])
        self.found.setdefault((name, load), []).append(measured)
        say(f"{load[0]} connections, {load[1]} sessions, {name}: {posted.rate:,.0f}/s, p50 {posted.p50:.1f} ms")

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows of the report; ratios are medians of those of the rounds."""
        for (name, load), runs in self.found.items():
            rates = Spread.of(run.posted.rate for run in runs)
            plain = Spread.of(run.posted.rate for run in self.found[_PLAIN, load])
            used = (
                [run.posted.cpu_seconds for run in runs], [run.load for run in runs],
                [run.first for run in runs], [run.others for run in runs],
            )  # fmt: skip
            yield (
                name, str(load[0]), str(load[1]), rates.text(), "" if name == _PLAIN else rates.over(plain).text(".2f"),
                Spread.of(run.posted.p50 for run in runs).text(".1f"), *(_each(part, runs) for part in used),
            )  # fmt: skip

    def rows_alone(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows of the report on the servers alone."""
        for (name, load), rates in self._alone.items():
            ratio = Spread.of(rates).over(Spread.of(self._alone[_PLAIN, load]))
            ratios = "" if name == _PLAIN else ratio.text(".2f")
            yield name, str(_BATCHES[load]), str(load[1]), Spread.of(rates).text(), ratios


def _each(seconds: Sequence[float], runs: Sequence[_Measured]) -> str:
    """Return the processor time for each row, in microseconds."""
    return Spread.of(part / run.rows * 1e6 for part, run in zip(seconds, runs, strict=True)).text()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _prepare(url: str, *commands: Sequence[str]) -> None:
    """Make or distribute the tables of a database."""
    program = Path(sysconfig.get_path("scripts")) / "smartmob"
    for words in commands:
        done = subprocess.run(
            [program, *words], env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotMeasure(f"smartmob {' '.join(words)}: {done.stderr.strip()[-500:]}")


def _measure(options: argparse.Namespace, folder: Path) -> _Bench:
    _prepare(options.plain_url, ("db", "migrate"))
    _prepare(options.citus_url, ("db", "migrate"), ("db", "distribute"))
    bench = _Bench(folder, options.seconds)
    with ExitStack() as stack:
        candidates = []
        for name, url in ((_PLAIN, options.plain_url), (_CITUS, options.citus_url)):
            service = stack.enter_context(smartmob(folder / name, DATABASE_URL=url))
            service.introduce()
            candidates.append((name, service, Servers(url)))
        for load in _LOADS:
            for _, service, _ in candidates:
                bench.warm_up(service, load)
        for number in range(options.rounds):
            turn = number % 2
            for load in _LOADS:
                for candidate in candidates[turn:] + candidates[:turn]:
                    bench.run(*candidate, load)
                for name, _, servers in candidates[turn:] + candidates[:turn]:
                    bench.run_servers(name, servers.url, load)
    return bench


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.citus", description="Measure single posts on Citus.")
    parser.add_argument("--plain-url", required=True, metavar="URL", help="a database without Citus")
    parser.add_argument("--citus-url", required=True, metavar="URL", help="a database on the coordinator")
    parser.add_argument("--seconds", type=positive, default=10, metavar="N", help="seconds of each run (default 10)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="rounds (default 3)")
    options = parser.parse_args(arguments)
    try:
        with open_folder() as folder:
            bench = _measure(options, folder)
    except CannotMeasure as error:
        say(str(error))
        return 2
    around = machine_info()
    head = (
        "database", "connections", "sessions", "rows/s", "of PostgreSQL", "p50 ms", "service µs", "load µs",
        "first server µs", "other nodes µs",
    )  # fmt: skip
    alone = table(("database", "rows of a batch", "sessions", "rows/s", "of PostgreSQL"), bench.rows_alone())
    conditions = table(tuple(around), [tuple(around.values())])
    parts = ("# Single posts on Citus", conditions, table(head, bench.rows()), "## The servers alone", alone)
    print("\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main))
