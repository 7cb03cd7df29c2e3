"""A long run of all features at once: memory stays flat, the service stops in order, and all accepted data is stored.

`python -m benchmarks.soak [--minutes 20]` from the root of the repository. Each 10 seconds it samples the service:
memory, open files, tasks, how soon it answers, how late its loop is. At the end all loads stop, what was acknowledged
is counted in the database, and the service is stopped by SIGTERM. The report has the samples and the slope of each
figure after the first quarter.

Exit codes: 0 nothing was lost and the stop was clean, 1 something was, 2 it cannot be measured here, 130 stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import statistics
import sys
import sysconfig
import tarfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks import samples, stopping
from benchmarks.candidates import CannotMeasure, Service, say, smartmob
from benchmarks.plan import open_folder
from benchmarks.report import Section, machine_info, table

SECONDS_BETWEEN_SAMPLES = 10.0
_PROBES = 5
_POSTERS, _POST_PAUSE = 4, 0.05
_JOB_PAUSE = 1.0
_SETTLE_SECONDS = 5.0
_CRASHING = 5
"""One of this many programs ends with an error every few seconds."""

_PROCFILE = """\
web: while :; do echo "tick $(date +%s)"; sleep 1; done
crash: echo "started"; sleep 7; exit 3
"""
_SCRIPT = """
import asyncio
from smartmob.turrets.scripting import BaseTransaction
class Transaction(BaseTransaction):
    async def run(self):
        await asyncio.sleep(0.05)
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """The amount of work."""

    minutes: float
    machines: int
    programs: int
    viewers: int
    users: int

    def text(self) -> str:
        """Return a sentence about it."""
        return (
            f"At once: {_POSTERS} clients that post metrics, {self.machines} machines that report each second, "
            f"{self.programs} programs of which one in {_CRASHING} crashes every few seconds, {self.viewers} attached "
            f"viewers, a job each second, pages that are read, and a load test of {self.users} users."
        )


@dataclass(slots=True)
class Taken:
    """The data that the service has acknowledged, and the errors."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment."""

    minute: float
    memory_mb: float
    database_mb: float
    files: int
    tasks: int
    children: int
    answer_ms: float
    lag_ms: float


class Soak:
    """One run against one service."""

    def __init__(self, service: Service, session: aiohttp.ClientSession, scale: Scale) -> None:
        self.service = service
        self.session = session
        self.scale = scale
        self.taken = Taken()
        self.samples: list[Sample] = []
        self.ending = asyncio.Event()
        self._started = time.monotonic()
        self._process = psutil.Process(service.pid)

    def url(self, path: str) -> str:
        """Return an address of the service."""
        return f"http://127.0.0.1:{self.service.port}{path}"

    async def pause(self, seconds: float) -> bool:
        """Wait; return whether the loads go on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ending.wait()
        return not self.ending.is_set()

    async def take_sample(self) -> None:
        """Measure the memory, tasks and lag of the service."""
        answers = []
        for _ in range(_PROBES):
            began = time.perf_counter()
            async with self.session.get(self.url("/health")) as answer:
                await answer.read()
            answers.append((time.perf_counter() - began) * 1000)
        async with self.session.get(self.url("/metrics")) as answer:
            values = dict(
                re.findall(r"^(smartmob_(?:tasks|loop_lag_seconds)) (\S+)", await answer.text(), re.MULTILINE)
            )
        family = self._process.children(recursive=True)
        databases = [child for child in psutil.process_iter(["name", "cwd"]) if self._is_database(child)]
        self.samples.append(
            Sample(
                minute=(time.monotonic() - self._started) / 60,
                memory_mb=self.service.memory(),
                database_mb=sum(map(_own_memory, databases)),
                files=self._process.num_fds(),
                tasks=int(float(values["smartmob_tasks"])),
                children=len(family),
                answer_ms=statistics.median(answers),
                lag_ms=float(values["smartmob_loop_lag_seconds"]) * 1000,
            )
        )
        last = self.samples[-1]
        say(
            f"{last.minute:5.1f} min  {last.memory_mb:6.1f} MB  {last.files:5d} files  {last.tasks:4d} tasks  "
            f"{last.answer_ms:6.1f} ms  {dict(self.taken.counts)} {dict(+self.taken.errors) or ''}"
        )

    def _is_database(self, process: psutil.Process) -> bool:
        home = str(self.service.data_dir / "postgres" / "cluster")
        return bool(process.info["name"] == "postgres" and process.info["cwd"] == home)


def _own_memory(process: psutil.Process) -> float:
    try:
        used = process.memory_full_info()
    except psutil.Error:
        return 0.0
    return float(getattr(used, "pss", used.rss)) / 1e6


# -- the loads ----------------------------------------------------------------------------------------------------


async def post_metrics(soak: Soak) -> None:
    """Post as the plugin does: one at a time, each on a connection of its own."""
    headers = {"Connection": "close", "Content-Type": "application/json"}
    bodies = list(samples.posts(1_000))
    number = 0
    while await soak.pause(_POST_PAUSE):
        body = bodies[number % len(bodies)]
        number += 1
        async with soak.session.post(soak.url("/metrics/"), data=body, headers=headers) as answer:
            await answer.read()
        soak.taken.counts["metrics"] += answer.status == 201
        soak.taken.errors[f"metrics {answer.status}"] += answer.status != 201


async def report_machine(soak: Soak, number: int) -> None:
    """Be a machine that reports each second over its WebSocket."""
    name = f"soak{number}"
    account = {"username": name, "password": "p"}
    async with soak.session.post(soak.url("/client"), json=account) as answer:
        ident = (await answer.json())["client_id"]
    async with soak.session.ws_connect(soak.url("/echo"), heartbeat=30) as socket:
        await socket.send_json({"type": "HELLO"})
        await socket.receive_json()
        while await soak.pause(1.0):
            data = {"cpu_load": 12.5, "mem": 4096, "storage": 1000, "time": time.time()}
            await socket.send_json({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": ident})
            answered = await socket.receive_json()
            soak.taken.counts["samples"] += answered["type"] == "DATA_RETURN"
            soak.taken.errors["samples"] += answered["type"] != "DATA_RETURN"


async def view(soak: Soak, slug: str) -> None:
    """Be attached to a console, and read it."""
    while not soak.ending.is_set():
        async with soak.session.ws_connect(soak.url(f"/attach-console/{slug}")) as socket:
            while not soak.ending.is_set():
                with contextlib.suppress(TimeoutError):
                    message = await socket.receive(5)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    soak.taken.counts["lines"] += 1
        await soak.pause(1.0)


async def run_jobs(soak: Soak) -> None:
    """Run a command each second, and read its output."""
    while await soak.pause(_JOB_PAUSE):
        async with soak.session.post(soak.url("/commands/exec"), json={"cmd": "echo one; echo two"}) as answer:
            text = await answer.text()
        good = answer.status == 200 and '"exit_code":0' in text
        soak.taken.counts["jobs"] += good
        soak.taken.errors["jobs"] += not good


async def look_around(soak: Soak) -> None:
    """Read what people read: listings, a machine's course, the pages."""
    paths = (
        "/metrics/?page=-1",
        "/sessions/",
        "/hosts/",
        "/list-processes",
        "/api/v1/processes",
        "/jobs",
        "/turret-runs",
        "/marks",
        "/docs",
    )
    while await soak.pause(1.0):
        for path in paths:
            async with soak.session.get(soak.url(path)) as answer:
                await answer.read()
            soak.taken.counts["pages"] += answer.status < 400
            soak.taken.errors[f"{path} {answer.status}"] += answer.status >= 400


# -- programs and the load test -----------------------------------------------------------------------------------


async def create_programs(soak: Soak, folder: Path) -> list[str]:
    """Create the programs; return their slugs."""
    (folder / "Procfile").write_text(_PROCFILE)
    archive = folder / "program.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder / "Procfile", "Procfile")
    async with soak.session.post(soak.url("/upload-archive"), data=archive.read_bytes()) as answer:
        source = (await answer.json())["source_url"]
    slugs = []
    for number in range(soak.scale.programs):
        kind = "crash" if number % _CRASHING == 0 else "web"
        wanted = {"app": "soak", "node": f"{kind}.{number}", "process_type": kind, "source_url": source}
        async with soak.session.post(soak.url("/create-process"), json=wanted) as answer:
            if answer.status != 201:
                raise CannotMeasure(f"a program could not be created: {await answer.text()}")
            slugs.append((await answer.json())["slug"])
    return slugs


@asynccontextmanager
async def load_test(soak: Soak, folder: Path, ports: tuple[int, int]) -> AsyncIterator[str]:
    """Fire a load test with one turret until the end of the block; give its id."""
    package = folder / "turret"
    package.mkdir()
    (package / "script.py").write_text(_SCRIPT)
    turret = {
        "name": "soak",
        "cannons": soak.scale.users,
        "rampup": 0,
        "script": "script.py",
        "hq_address": "127.0.0.1",
    }
    config = turret | {"hq_publisher": ports[0], "hq_rc": ports[1]}
    (package / "config.json").write_text(json.dumps(config))
    program = Path(sysconfig.get_path("scripts")) / "smartmob"
    with (folder / "turret.log").open("wb") as log:
        command = (str(program), "turret", "--config-file", str(package / "config.json"))
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        wanted = {"name": "soak", "run_time": soak.scale.minutes * 60 + 3600, "results_ts_interval": 10, "turrets": []}
        async with soak.session.post(soak.url("/turret-runs"), json=wanted) as answer:
            if answer.status != 201:
                raise CannotMeasure(f"the load test could not be started: {await answer.text()}")
            ident = (await answer.json())["id"]
        yield ident
    finally:
        process.terminate()
        await process.wait()


async def end_load_test(soak: Soak, ident: str) -> dict[str, Any]:
    """Stop the load test; return how it ended."""
    async with soak.session.post(soak.url(f"/turret-runs/{ident}/stop"), json={}) as answer:
        await answer.read()
    while True:
        async with soak.session.get(soak.url(f"/turret-runs/{ident}")) as answer:
            run: dict[str, Any] = await answer.json()
        if run["state"] in ("finished", "stopped", "failed"):
            return run
        await asyncio.sleep(0.5)


# -- one run ------------------------------------------------------------------------------------------------------


async def _loads(soak: Soak, slugs: Sequence[str]) -> None:
    """Keep all loads going until the end; one that fails is counted and begins again."""

    async def again(name: str, load: Callable[[], Awaitable[None]]) -> None:
        while not soak.ending.is_set():
            try:
                await load()
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
                soak.taken.errors[f"{name}: {type(error).__name__}"] += 1
                await soak.pause(1.0)

    async with asyncio.TaskGroup() as group:
        for _ in range(_POSTERS):
            group.create_task(again("metrics", partial(post_metrics, soak)))
        for number in range(soak.scale.machines):
            group.create_task(again("machine", partial(report_machine, soak, number)))
        for number in range(soak.scale.viewers):
            group.create_task(again("viewer", partial(view, soak, slugs[number % len(slugs)])))
        group.create_task(again("jobs", partial(run_jobs, soak)))
        group.create_task(again("pages", partial(look_around, soak)))
        group.create_task(_watch(soak))


async def _watch(soak: Soak) -> None:
    deadline = time.monotonic() + soak.scale.minutes * 60
    while time.monotonic() < deadline:
        await soak.take_sample()
        await asyncio.sleep(SECONDS_BETWEEN_SAMPLES)
    await soak.take_sample()
    soak.ending.set()


async def _stored(service: Service, run: str) -> dict[str, int]:
    """Return what is in the database."""
    connection = await service.connect()
    try:
        return {
            "metrics": await connection.fetchval("SELECT count(*) FROM test_metrics"),
            "samples": await connection.fetchval("SELECT count(*) FROM host_samples WHERE host LIKE 'soak%'"),
            "jobs": await connection.fetchval("SELECT count(*) FROM command_jobs WHERE exit_code = 0"),
            "transactions": await connection.fetchval(
                "SELECT coalesce(sum(count), 0)::bigint FROM turret_slices "
                "WHERE run_id = $1::text::uuid AND timer = (SELECT min(timer) FROM turret_slices)",
                run,
            ),
        }
    finally:
        await connection.close()


async def soak(service: Service, scale: Scale, folder: Path, ports: tuple[int, int]) -> tuple[Soak, Counter[str]]:
    """Run all loads; return what was seen and how much of each kind is missing."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        run = Soak(service, session, scale)
        for path, document in (("/contexts/", samples.CONTEXT), ("/sessions/", samples.SESSION)):
            async with session.post(run.url(path), json=document) as answer:
                await answer.read()
        slugs = await create_programs(run, folder)
        async with load_test(run, folder, ports) as ident:
            await _loads(run, slugs)
            ended = await end_load_test(run, ident)
            run.taken.counts["transactions"] = ended["transactions"]
            run.taken.errors["transactions dropped"] += ended["counters"]["dropped"]
        await asyncio.sleep(_SETTLE_SECONDS)
        await run.take_sample()
        found = await _stored(service, ident)
    missing: Counter[str] = Counter()
    for kind, count in found.items():
        missing[kind] = max(0, run.taken.counts[kind] - count)
    return run, missing


def slope(values: Sequence[tuple[float, float]]) -> float:
    """Return by how much a figure grows in an hour, by least squares over what follows the first quarter."""
    used = values[len(values) // 4 :]
    if len(used) < 3:
        return 0.0
    minutes, values = zip(*used, strict=True)
    return statistics.linear_regression(minutes, values).slope * 60


def report(run: Soak, missing: Counter[str], stop: str) -> Section:
    """Return the tables."""
    names = ("memory_mb", "database_mb", "files", "tasks", "children", "answer_ms", "lag_ms")
    head = (
        "minute",
        "memory MB",
        "PostgreSQL MB",
        "files",
        "tasks",
        "children",
        "/health ms",
        "worst lag of the loop ms",
    )
    shown = run.samples[:: max(1, len(run.samples) // 24)]
    rows: list[tuple[str, ...]] = [
        (f"{s.minute:.1f}", f"{s.memory_mb:.1f}", f"{s.database_mb:.0f}", str(s.files), str(s.tasks), str(s.children),
         f"{s.answer_ms:.1f}", f"{s.lag_ms:.0f}")
        for s in shown
    ]  # fmt: skip
    # The last one is of the service at rest.
    busy = run.samples[:-1]
    slopes = [f"{slope([(s.minute, float(getattr(s, name))) for s in busy]):+.1f}" for name in names]
    rows.append(("**per hour**", *slopes))
    kinds = ("metrics", "samples", "jobs", "transactions")
    counts = [(kind, f"{run.taken.counts[kind]:,}", f"{missing[kind]:,}") for kind in kinds]
    others = ", ".join(f"{count:,} {kind}" for kind, count in run.taken.counts.items() if kind not in kinds)
    errors = dict(+run.taken.errors)
    sound = not any(missing.values()) and stop == "in order"
    parts = (
        table(head, rows),
        table(("kind", "acknowledged", "missing"), counts),
        f"Also {others}. Errors that clients saw: {errors or 'none'}. The service stopped {stop}.",
    )
    return Section(f"Soak of {run.scale.minutes:g} minutes", parts, sound=sound)


def ports_of(log: Path) -> tuple[int, int]:
    """Return the ports of the headquarters for orders and for results, which its log has."""
    found = re.search(r"event=turrets\.listening publish_port=(\d+) rc_port=(\d+)", log.read_text(errors="replace"))
    if found is None:
        raise CannotMeasure("the headquarters does not listen")
    return int(found[1]), int(found[2])


def _stopped(service: Service) -> str:
    """Stop the service as an init system does; return how it went."""
    process = psutil.Process(service.pid)
    family = process.children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(120)
    except psutil.TimeoutExpired:
        return "not within 120 s"
    _, left = psutil.wait_procs(family, 10)
    return f"and left {len(left)} processes behind" if left else "in order"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak and print its report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--users", type=int, default=50, help="Of the load test; each does 20 transactions a second.")
    given = parser.parse_args(arguments)
    scale = Scale(given.minutes, given.machines, given.programs, given.viewers, given.users)
    settings = {"SMARTMOB_HQ": "1", **{f"SMARTMOB_HQ_{name}_PORT": "0" for name in ("PUBLISH", "RC", "EXTERNAL")}}
    try:
        with open_folder() as folder, smartmob(folder / "data", **settings) as service:
            ports = ports_of(folder / "data.log")
            run, missing = asyncio.run(soak(service, scale, folder, ports))
            section = report(run, missing, _stopped(service))
    except CannotMeasure as error:
        say(str(error))
        return 2
    about = ", ".join(f"{name} {value}" for name, value in machine_info().items())
    sys.stdout.write(f"# Soak\n\n{about}\n\n{scale.text()}\n\n{section.text()}\n")
    return 0 if section.sound else 1


if __name__ == "__main__":
    sys.exit(stopping.run(main))
