"""Measures storing results and making a report, with the bare pipeline and OCT in the same run.

`python -m benchmarks.turrets` from the root of the repository; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil

from benchmarks import stopping
from benchmarks.candidates import CannotMeasure, Service, environment, port_of, running, say, smartmob
from benchmarks.plan import Run, open_folder
from benchmarks.report import Goal, Section, Spread, machine_info, summary, table

OCT_REQUIREMENTS = (
    "oct==0.4.12",
    # The newest releases with which its headquarters works: it pins nothing itself.
    *("peewee==3.17.9", "pyzmq==25.1.2", "pandas==1.5.3", "numpy==1.26.4", "setuptools<80"),
)
_OURS, _BARE, _OCT = "smartmob", "bare pipeline", "OCT 0.4.12"
_PATIENCE = 900.0
_SHARE = 0.75
_MOST_MB = 150.0
_REPORT_SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turrets", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: it shows that everything works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=1_000_000, help="results of each round")
    parser.add_argument("--oct-count", type=int, default=100_000, help="results of each round for OCT")
    parser.add_argument("--many", type=int, default=10_000_000, help="results of the long run and its report")
    parser.add_argument("--without-oct", action="store_true")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.count, options.oct_count, options.many = 1, 100_000, 10_000, 200_000
    with open_folder() as folder:
        run = Run(folder=folder, seconds=0, rounds=options.rounds)
        try:
            sections = [_measure_rate(run, options), _measure_many(run, options)]
        except CannotMeasure as error:
            say(str(error))
            return 2
    around = machine_info()
    how = f"Medians of {options.rounds} rounds (least to greatest), in which the candidates took turns. {run.noise()}"
    goals = [goal for section in sections for goal in section.goals]
    head = table(tuple(around), [tuple(around.values())])
    print("\n\n".join(("# Turrets", head, how, *(section.text() for section in sections), summary(goals))))
    return 0 if all(section.sound for section in sections) else 1


def _measure_rate(run: Run, options: argparse.Namespace) -> Section:
    """Send results to each candidate, alternately; the rate is that from the first PUSH to the last committed row."""
    rates: dict[str, list[float]] = {}
    missing = 0
    with run.place() as folder, _headquarters(folder) as service:
        for number in range(options.rounds):
            for name, measure in _candidates(service, folder, options).items():
                run.wait_until_quiet()
                count = options.oct_count if name == _OCT else options.count
                rate, stored = measure(count)
                missing += count - stored
                rates.setdefault(name, []).append(rate)
                run.keep("results", candidate=name, round=number, rate=rate, stored=stored)
                say(f"{name}: {rate:,.0f} results/s, {stored:,} of {count:,} stored")
    spreads = {name: Spread.of(values) for name, values in rates.items()}
    share = spreads[_OURS].over(spreads[_BARE])
    rows = [(name, spread.text(), spread.over(spreads[_BARE]).text(".2f")) for name, spread in spreads.items()]
    remark = (
        f"{options.count:,} results of one sender for each candidate ({options.oct_count:,} for OCT), from the first "
        "PUSH to the last committed row. The bare pipeline stores five columns without an index; smartmob checks each "
        "message, tells runs apart, stores eleven columns, folds each result into slices and keeps the live numbers."
    )
    goals = [Goal("results/s, share of the bare pipeline", _SHARE, share.median, ".2f")]
    sound = missing == 0
    lost = "None was lost." if sound else f"**{missing:,} results are missing.**"
    return Section(
        "From PUSH to committed rows", (table(("", "results/s", "of bare"), rows), remark, lost), goals, sound
    )


def _candidates(
    service: Service, folder: Path, options: argparse.Namespace
) -> dict[str, Callable[[int], tuple[float, int]]]:
    found: dict[str, Callable[[int], tuple[float, int]]] = {
        _BARE: lambda count: _send_to_bare(service, folder, count),
        _OURS: lambda count: _send_to_ours(service, folder, count)[:2],
    }
    if not options.without_oct:
        found[_OCT] = lambda count: _send_to_oct(folder, count)
    return found


def _measure_many(run: Run, options: argparse.Namespace) -> Section:
    """Send many results in one run; weigh the service meanwhile, and ask for the report."""
    with run.place() as folder, _headquarters(folder) as service:
        say(f"{options.many:,} results in one run")
        rate, stored, ident, heaviest = _send_to_ours(service, folder, options.many, weigh=True)
        began = time.perf_counter()
        status, page = service.request("GET", f"/turret-runs/{ident}/report")
        took = time.perf_counter() - began
    if status != 200:
        raise CannotMeasure(f"the report answered {status}: {page[:500]!r}")
    run.keep("many", rate=rate, stored=stored, megabytes=heaviest, report=took)
    say(f"{rate:,.0f} results/s, at most {heaviest:.1f} MB, report in {took:.1f} s")
    rows = [(f"{options.many:,}", f"{rate:,.0f}", f"{heaviest:.1f}", f"{took:.2f}", f"{len(page) / 1e6:.1f}")]
    goals = [
        Goal("most memory while results come", _MOST_MB, heaviest, ".1f", " MB", at_most=True),
        Goal("report", _REPORT_SECONDS, took, ".2f", " s", at_most=True),
    ]
    head = ("results", "results/s", "most MB", "report (s)", "page (MB)")
    return Section("A long run and its report", (table(head, rows),), goals, stored == options.many)


@contextmanager
def _headquarters(folder: Path) -> Iterator[Service]:
    ports = free_ports(3)
    names = ("SMARTMOB_HQ_PUBLISH_PORT", "SMARTMOB_HQ_RC_PORT", "SMARTMOB_HQ_EXTERNAL_PORT")
    variables = dict(zip(names, map(str, ports), strict=True))
    with smartmob(folder / "data", SMARTMOB_HQ="true", SMARTMOB_TURRETS_QUIET="0.5", **variables) as service:
        yield service


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


@contextmanager
def _sender(folder: Path, *arguments: object) -> Iterator[Path]:
    log = folder / f"sender-{time.time_ns()}.log"
    command = [sys.executable, "-m", "benchmarks.turret_sender", *map(str, arguments)]
    with running(command, log, dict(os.environ)):
        yield log


def _said(log: Path, word: str, alive: Callable[[], bool] = lambda: True) -> list[float]:
    """Return the numbers of the line that begins with a word; wait for it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and alive():
        if found := re.search(rf"^{word} (.*)$", log.read_text(), re.MULTILINE):
            return [float(part) for part in found[1].split()]
        time.sleep(0.01)
    raise CannotMeasure(f"{log.name} did not say {word!r}: {log.read_text()[-1000:]}")


def _send_to_bare(service: Service, folder: Path, count: int) -> tuple[float, int]:
    where = f"postgresql://smartmob@/smartmob?host={service.data_dir / 'postgres' / 'socket'}"
    log = folder / f"bare-{time.time_ns()}.log"
    with running([sys.executable, "-m", "benchmarks.turret_bare", where, str(count)], log, dict(os.environ)) as process:
        port = port_of(process, log, rb"port=(\d+)")
        with _sender(folder, port, count) as sent:
            began = _said(sent, "sent")[0]
            ended = _said(log, "stored")[0]
    stored = asyncio.run(_value(service, "SELECT count(*) FROM bare_results"))
    return count / (ended - began), stored


def _send_to_ours(service: Service, folder: Path, count: int, *, weigh: bool = False) -> tuple[float, int, str, float]:
    config = orjson.dumps({"run_time": 86_400})
    status, body = service.request("POST", "/turret-runs", config)
    if status != 201:
        raise CannotMeasure(f"POST /turret-runs answered {status}: {body[:500]!r}")
    ident = orjson.loads(body)["id"]
    there = orjson.loads(service.request("GET", "/turrets")[1])["headquarters"]
    with _sender(folder, there["rc_port"], count, there["publish_port"]) as sent:
        ended, heaviest = asyncio.run(_until_stored(service, ident, count, weigh))
        began = _said(sent, "sent")[0]
        service.request("POST", f"/turret-runs/{ident}/stop")
        deadline = time.monotonic() + _PATIENCE
        while orjson.loads(service.request("GET", f"/turret-runs/{ident}")[1])["state"] != "stopped":
            if time.monotonic() > deadline:
                raise CannotMeasure("the run does not end")
            time.sleep(0.1)
    run = orjson.loads(service.request("GET", f"/turret-runs/{ident}")[1])
    rows = asyncio.run(_value(service, "SELECT sum(results) FROM turret_batches WHERE run_id = $1", ident))
    return count / (ended - began), min(run["transactions"], rows), ident, heaviest


async def _until_stored(service: Service, ident: str, count: int, weigh: bool) -> tuple[float, float]:
    """Return when all results of a run were committed, and how heavy the service was at most."""
    connection = await service.connect()
    process, heaviest, looked = psutil.Process(service.pid), 0.0, 0
    try:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            stored = await connection.fetchval("SELECT sum(results) FROM turret_batches WHERE run_id = $1", ident)
            if (stored or 0) >= count:
                return time.time(), heaviest
            if weigh and looked % 10 == 0:
                heaviest = max(heaviest, process.memory_info().rss / 1e6)
            looked += 1
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    raise CannotMeasure(f"only {stored or 0:,} of {count:,} results were stored in {_PATIENCE:g} s")


async def _value(service: Service, query: str, *arguments: Any) -> int:
    connection: asyncpg.Connection[Any] = await service.connect()
    try:
        return int(await connection.fetchval(query, *arguments))
    finally:
        await connection.close()


def _send_to_oct(folder: Path, count: int) -> tuple[float, int]:
    python = environment("oct", _python_311(), OCT_REQUIREMENTS, "--only-binary", "numpy,pandas,pyzmq")
    (port,) = free_ports(1)
    place = folder / f"oct-{time.time_ns()}"
    place.mkdir()
    log = place / "log"
    script = Path(__file__).with_name("turret_oct.py")
    with running([str(python), str(script), str(place), str(port), str(count)], log, dict(os.environ)) as process:
        port_of(process, log, rb"port=(\d+)")
        with _sender(folder, port, count) as sent:
            began = _said(sent, "sent")[0]
            ended, stored = _said(log, "stored")
    return count / (ended - began), int(stored)


def _python_311() -> str:
    interpreter = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if interpreter is None:
        raise CannotMeasure("OCT needs python3.11, which is not on the PATH; leave it out with --without-oct")
    return interpreter


if __name__ == "__main__":
    sys.exit(stopping.run(main))
