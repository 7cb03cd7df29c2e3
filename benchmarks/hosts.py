"""Measures writing and reading of samples, with a bare WebSocket echo in the same run.

`python -m benchmarks.hosts` from the root of the repository; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks import stopping
from benchmarks.candidates import ROOT, START_SECONDS, CannotMeasure, Service, say, smartmob
from benchmarks.frames import CLIENT_ID
from benchmarks.plan import open_folder
from benchmarks.report import Goal, Section, Spread, machine_info, summary, table

BARE, COMMITTING = "bare aiohttp echo", "bare echo that commits"
CONNECTIONS = (1, 50, 1_000)
_GOAL_CONNECTIONS = 50
_REPORT_SAMPLES = 86_400
_SUBSCRIBERS = 1_000
_HTTP_CONNECTIONS = 16
_MACHINES = 500
_WRK_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "@ID@"
wrk.body = '{"cpu_load": 18.5, "mem": 8513, "storage": 81720, "time": @TIME@}'
"""


@contextmanager
def _bare(folder: Path, *dsn: str) -> Iterator[int]:
    log = folder / f"bare_echo{len(dsn)}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_echo", *dsn], stdout=output, cwd=ROOT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(rb"port=(\d+)", log.read_bytes())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure("the bare echo did not start")
            time.sleep(0.05)
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _pid_of(port: int) -> int:
    for connection in psutil.net_connections("tcp"):
        if connection.status == "LISTEN" and connection.laddr.port == port and connection.pid:
            return connection.pid
    raise CannotMeasure(f"no program listens on port {port}")


def _load(port: int, connections: int, seconds: int) -> dict[str, Any]:
    pid = _pid_of(port)
    used = _cpu(pid)
    words = [sys.executable, "-m", "benchmarks.frames", str(port), str(connections), str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found | {"cpu": (_cpu(pid) - used) / max(1, found["messages"]) * 1e6}


def measure_messages(service: Service, bare: int, committing: int, rounds: int, seconds: int) -> Section:
    """Measure CLIENT_DATA messages per second; each is committed before its answer."""
    ports = {BARE: bare, COMMITTING: committing, "smartmob": service.port}
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    lost = 0
    for number in range(rounds):
        for connections in CONNECTIONS:
            for name, port in ports.items():
                before = asyncio.run(_rows(service))
                run = _load(port, connections, seconds)
                found.setdefault((name, connections), []).append(run)
                say(f"round {number + 1}, {connections} connections, {name}: {run['rate']:,.0f} messages/s")
                if name == "smartmob":
                    stored = asyncio.run(_rows(service)) - before
                    lost += max(0, run["messages"] - stored)
    rows, goals = [], []
    for connections in CONNECTIONS:
        theirs, least = (Spread.of(run["rate"] for run in found[name, connections]) for name in (BARE, COMMITTING))
        for name in reversed(ports):
            runs = found[name, connections]
            rate = Spread.of(run["rate"] for run in runs)
            figures = (Spread.of(run[key] for run in runs).text(form) for key, form in _LATENCIES)
            ratio = rate.over(theirs)
            of_least = rate.over(least).text(".2f")
            rows.append((name, str(connections), rate.text(), *figures, ratio.text(".2f"), of_least))
            if name == "smartmob" and connections == _GOAL_CONNECTIONS:
                goals.append(Goal(f"messages/s at {connections} connections / {BARE}", 0.5, ratio.median, ".2f"))
    errors = sum(run["errors"] for (name, _), runs in found.items() if name == "smartmob" for run in runs)
    head = ("server", "connections", "messages/s", "p50 ms", "p99 ms", "CPU µs", f"/ {BARE}", f"/ {COMMITTING}")
    remark = f"{errors} errors; {lost} messages that were answered are missing in the database."
    texts = (table(head, rows), _WHAT_COMMITS, remark)
    return Section("CLIENT_DATA over the WebSocket", texts, goals, errors == 0 and lost == 0)


_WHAT_COMMITS = (
    "The bare echo that commits decodes a sample and copies it into a table without an index before it answers, and "
    "does nothing else: no check, no proof of who sends, no second chance when the database is away."
)


_LATENCIES = (("p50", ".2f"), ("p99", ".2f"), ("cpu", ".1f"))


async def _rows(service: Service) -> int:
    connection = await service.connect()
    try:
        return int(await connection.fetchval("SELECT count(*) FROM host_samples WHERE host = 'bench'"))
    finally:
        await connection.close()


def measure_http(service: Service, folder: Path, rounds: int, seconds: int) -> Section:
    """Measure samples per second over HTTP by wrk."""
    script = folder / "sample.lua"
    script.write_text(_WRK_SCRIPT.replace("@ID@", CLIENT_ID).replace("@TIME@", str(int(time.time()))))
    rates = []
    for _ in range(rounds):
        words = ["wrk", "-t1", f"-c{_HTTP_CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{service.port}/client/bench"], capture_output=True, text=True, check=False
        )
        rate = re.search(r"Requests/sec: +([\d.]+)", done.stdout)
        if rate is None or "Non-2xx" in done.stdout:
            raise CannotMeasure(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        rates.append(float(rate[1]))
    spread = Spread.of(rates)
    say(f"samples over HTTP: {spread.text()}/s")
    return Section(
        "Samples over HTTP", (table(("connections", "samples/s"), [(str(_HTTP_CONNECTIONS), spread.text())]),)
    )


async def _report(service: Service, rounds: int) -> list[tuple[float, float, int]]:
    """Return seconds until the first byte and until the end, and the number of samples."""
    connection = await service.connect()
    await connection.execute(
        "INSERT INTO host_samples (host, at, n, cpu, mem, storage) SELECT 'bench', now() - interval '40 days' + "
        f"make_interval(secs => n), n, n % 1000 / 10.0, 8513, 81720 FROM generate_series(1, {_REPORT_SAMPLES}) AS n"
    )
    await connection.execute("ANALYZE host_samples")
    start = await connection.fetchval("SELECT extract(epoch FROM now() - interval '41 days')::bigint")
    await connection.close()
    path = f"http://127.0.0.1:{service.port}/client/bench/time/report?start={start}&end={start + 49 * 3600}"
    found = []
    async with aiohttp.ClientSession(headers={"Authorization": CLIENT_ID}, read_bufsize=2**22) as session:
        for _ in range(rounds + 1):
            began = time.perf_counter()
            async with session.get(path) as response:
                first = time.perf_counter() - began
                parts = [chunk async for chunk in response.content.iter_any()]
            whole = time.perf_counter() - began
            found.append((first, whole, len(orjson.loads(b"".join(parts))["payload"])))
    return found[1:]


def measure_report(service: Service, rounds: int) -> Section:
    """Measure a report of a day's samples, until its last byte."""
    runs = asyncio.run(_report(service, rounds))
    first, whole = (Spread.of(1e3 * run[place] for run in runs) for place in (0, 1))
    say(f"report: first byte {first.text('.0f')} ms, whole {whole.text('.0f')} ms")
    rows = [(f"{_REPORT_SAMPLES:,}", first.text(".0f"), whole.text(".0f"))]
    goal = Goal(f"report of {_REPORT_SAMPLES:,} samples", 150, whole.median, ".0f", " ms", at_most=True)
    sound = all(run[2] == _REPORT_SAMPLES for run in runs)
    return Section("Report", (table(("samples", "first byte ms", "last byte ms"), rows),), [goal], sound)


async def _watch(service: Service, seconds: int) -> tuple[float, float]:
    """Return the share of a core that the service used, and how many events came each second."""
    count = 0

    async def watch(session: aiohttp.ClientSession, ready: asyncio.Semaphore) -> None:
        nonlocal count
        async with session.ws_connect(f"http://127.0.0.1:{service.port}/echo") as socket:
            await socket.send_str('{"type": "HELLO"}')
            await socket.receive()
            wish = {"type": "SUBSCRIBE", "request_id": 1, "data": ["CPU", "MEM", "STORAGE"], "interval": 1}
            await socket.send_str(orjson.dumps(wish).decode())
            ready.release()
            async for _ in socket:
                count += 1

    ready = asyncio.Semaphore(0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = []
        for _ in range(_SUBSCRIBERS):
            tasks.append(asyncio.create_task(watch(session, ready)))
            await ready.acquire()
        await asyncio.sleep(2)
        used, before, began = _cpu(service.pid), count, time.perf_counter()
        await asyncio.sleep(seconds)
        taken = time.perf_counter() - began
        share, rate = (_cpu(service.pid) - used) / taken, (count - before) / taken
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return share, rate


def measure_watchers(service: Service, seconds: int) -> Section:
    """Measure what a thousand subscribers cost, and what the sampler costs without any."""
    used, began = _cpu(service.pid), time.perf_counter()
    time.sleep(seconds)
    idle = (_cpu(service.pid) - used) / (time.perf_counter() - began)
    share, rate = asyncio.run(_watch(service, seconds))
    say(f"idle {100 * idle:.2f} %, with {_SUBSCRIBERS} subscribers {100 * share:.1f} % of a core, {rate:,.0f} events/s")
    rows = [("0", "0", f"{100 * idle:.2f}"), (f"{_SUBSCRIBERS:,}", f"{rate:,.0f}", f"{100 * share:.1f}")]
    goals = [
        Goal(f"{_SUBSCRIBERS:,} subscribers at 1 s", 10, 100 * share, ".1f", " % of a core", at_most=True),
        Goal("idle service with its sampler", 1, 100 * idle, ".2f", " % of a core", at_most=True),
    ]
    sound = rate > 0.9 * _SUBSCRIBERS
    return Section("Subscribers", (table(("subscribers", "events/s", "% of a core"), rows),), goals, sound)


async def _machine(session: aiohttp.ClientSession, port: int, number: int, seconds: int) -> int:
    """Register a machine and send a sample each second; return how many were answered."""
    url = f"http://127.0.0.1:{port}"
    async with session.post(f"{url}/client", json={"username": f"m{number}", "password": "123"}) as response:
        client_id = (await response.json())["client_id"]
    answered = 0
    async with session.ws_connect(f"{url}/echo") as socket:
        due = asyncio.get_running_loop().time()
        for _ in range(seconds):
            await socket.send_str('{"type": "HELLO"}')
            await socket.receive_str()
            data = {"cpu_load": 18.5, "mem": 8513, "storage": 81720, "time": int(time.time())}
            await socket.send_json({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": client_id})
            answered += (await socket.receive_str()).startswith('{"type": "DATA_RETURN"')
            due += 1
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
    return answered


async def _fleet(service: Service, seconds: int) -> tuple[int, int, float]:
    """Return the samples that were answered and those that are stored, and the share of a core that it took."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        used, began = _cpu(service.pid), time.perf_counter()
        machines = (_machine(session, service.port, number, seconds) for number in range(_MACHINES))
        answered = sum(await asyncio.gather(*machines))
        share = (_cpu(service.pid) - used) / (time.perf_counter() - began)
    connection = await service.connect()
    try:
        stored = await connection.fetchval("SELECT count(*) FROM host_samples WHERE host ~ '^m[0-9]+$'")
    finally:
        await connection.close()
    return answered, int(stored), share


def measure_fleet(service: Service, seconds: int) -> Section:
    """Let 500 machines report each second, with a HELLO before each sample; nothing may be lost."""
    answered, stored, share = asyncio.run(_fleet(service, seconds))
    wanted = _MACHINES * seconds
    say(f"{_MACHINES} machines for {seconds} s: {answered} of {wanted} answered, {stored} stored")
    head = ("machines", "seconds", "sent", "answered", "stored", "% of a core")
    row = (str(_MACHINES), str(seconds), str(wanted), str(answered), str(stored), f"{100 * share:.1f}")
    remark = "The share of a core includes the registration of all machines (one scrypt each)."
    return Section("A fleet", (table(head, [row]), remark), (), answered == stored == wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, metavar="N", help="seconds of each run (default 5)")
    parser.add_argument("--fleet-seconds", type=int, default=60, metavar="N", help="seconds of the fleet (default 60)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round: it shows that everything works")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.fleet_seconds, options.rounds = 1, 5, 1
    with open_folder() as folder:
        try:
            with (
                smartmob(folder / "data") as service,
                _bare(folder) as bare,
                _bare(
                    folder, f"postgresql://smartmob@/smartmob?host={service.data_dir / 'postgres' / 'socket'}"
                ) as second,
            ):
                service.request("POST", "/client", b'{"username": "bench", "password": "123"}')
                load_before = os.getloadavg()[0]
                sections = [
                    measure_watchers(service, 2 * options.seconds),
                    measure_messages(service, bare, second, options.rounds, options.seconds),
                    measure_http(service, folder, options.rounds, options.seconds),
                    measure_report(service, options.rounds),
                    measure_fleet(service, options.fleet_seconds),
                ]
        except CannotMeasure as error:
            say(str(error))
            return 2
    around = machine_info(**{"load before": f"{load_before:.1f}", "load after": f"{os.getloadavg()[0]:.1f}"})
    how = (
        f"Medians of {options.rounds} rounds (least to greatest) of {options.seconds} s; within a round the candidates "
        "took turns, and ratios are medians of the rounds' ratios. The load average shows how busy the machine was "
        "with other things: the load generator, PostgreSQL and the service share its cores."
    )
    goals = [goal for section in sections for goal in section.goals]
    texts = [section.text() for section in sections]
    print("\n\n".join(("# Hosts", table(tuple(around), [tuple(around.values())]), how, *texts, summary(goals))))
    return 0 if all(section.sound for section in sections) else 1


if __name__ == "__main__":
    sys.exit(stopping.run(main))
