"""Measures how fast and how accurately a turret fires, with OCT's own turret and Locust in the same run.

`python -m benchmarks.turret_fire` from the root of the repository. Users do one of two things: wait 10 ms, where the
truth is known, or ask an aiohttp server in another process for a short text. All rounds take the candidates in turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import zmq

from benchmarks import stopping
from benchmarks.candidates import START_SECONDS, CannotMeasure
from benchmarks.report import Goal, Section, Spread, machine_info, summary, table
from smartmob.errors import InvalidInput
from smartmob.turrets import protocol
from smartmob.turrets.protocol import Briefing, Order, Result, RunBriefing, Slices, Status
from smartmob.turrets.slices import Distribution

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "benchmarks"
OURS, STOCK, LOCUST = "smartmob turret", "oct-turrets 0.2.8", "Locust"
REQUIREMENTS = {STOCK: ("setuptools<80", "oct-turrets==0.2.8"), LOCUST: ("locust==2.47.0",)}
TASK_MS = 10.0
_PATIENCE, _QUIET_PERCENT = 8.0, 15.0
_WARM = 4.0
"""Seconds after the start that are not counted: turrets of OCT start their cannons over this time."""

_TARGET = """
import asyncio, uvloop
from aiohttp import web
async def hello(request):
    return web.Response(text="hello")
app = web.Application()
app.router.add_get("/", hello)
uvloop.install()
async def main():
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

_ASYNC_TASK = """
import asyncio
from smartmob.turrets.scripting import BaseTransaction
class Transaction(BaseTransaction):
    async def run(self):
        await asyncio.sleep(0.01)
"""
_THREAD_TASK = """
import time
from oct_turrets.base import BaseTransaction
class Transaction(BaseTransaction):
    def run(self):
        time.sleep(0.01)
"""
_ASYNC_HTTP = """
from smartmob.turrets.scripting import BaseTransaction, Http
class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super().__init__(config, context)
        self.http = Http()
    async def run(self):
        (await self.http.get(self.config["url"])).expect(200)
"""
_LOCUST_TASK = """
import time, gevent
from locust import User, task, constant
class Waiting(User):
    wait_time = constant(0)
    @task
    def wait_10_ms(self):
        begun = time.perf_counter()
        gevent.sleep(0.01)
        took = (time.perf_counter() - begun) * 1000
        self.environment.events.request.fire(
            request_type="task", name="wait", response_time=took, response_length=0, exception=None, context={})
"""
_LOCUST_HTTP = """
from locust import FastHttpUser, task, constant
class Asking(FastHttpUser):
    wait_time = constant(0)
    @task
    def ask(self):
        self.client.get("/")
"""


@dataclass(frozen=True, slots=True)
class FiringResult:
    """The results of one candidate: transactions a second, its reported median, used cores, memory."""

    rate: float
    p50_ms: float
    cores: float
    memory_mb: float

    @property
    def per_core(self) -> float:
        """Return transactions for each second of processor time."""
        return self.rate / self.cores


class Bench:
    """One run: how long each measurement takes, and where its files are."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self.url = ""

    def turret(self, name: str, script: str, users: int) -> FiringResult:
        """Fire with a turret, ours or OCT's, under a headquarters of this process."""
        (self.folder / "v_user.py").write_text(script)
        hq = _Headquarters(ours=name == OURS)
        config = {
            **{"name": "bench", "cannons": users, "rampup": 0 if name == OURS else _WARM / 2, "script": "v_user.py"},
            **{"hq_address": "127.0.0.1", "hq_publisher": hq.ports[0], "hq_rc": hq.ports[1], "url": self.url},
        }
        (self.folder / "config.json").write_text(json.dumps(config))
        if name == OURS:
            command = [sys.executable, "-m", "smartmob", "turret", "--config-file", str(self.folder / "config.json")]
        else:
            package = self.folder / "bench.tar"
            subprocess.run(["tar", "-cf", package, "-C", self.folder, "config.json", "v_user.py"], check=True)
            command = [str(_environment(STOCK) / "oct-turrets-start"), "--tar", str(package)]
        with _running(command) as process:
            try:
                hq.wait()
                return hq.fire(process, self.seconds)
            finally:
                hq.close()

    def locust(self, script: str, users: int) -> FiringResult:
        """Fire with Locust and return its own results, from the moment when all users run."""
        (self.folder / "locustfile.py").write_text(script)
        command = [
            *(str(_environment(LOCUST) / "locust"), "-f", str(self.folder / "locustfile.py"), "--headless"),
            *("-u", str(users), "-r", str(users), "-t", f"{_WARM + self.seconds + 1:g}s", "--reset-stats"),
            *("--csv", str(self.folder / "locust"), "-H", self.url.rstrip("/") or "http://127.0.0.1", "--only-summary"),
        ]
        with _running(command) as process:
            time.sleep(_WARM)
            used = _used(process)
            time.sleep(self.seconds)
            cores, memory = (_used(process) - used) / self.seconds, process.memory_info().rss / 1e6
            process.wait()
        with (self.folder / "locust_stats.csv").open() as file:
            total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
        return FiringResult(float(total["Requests/s"]), float(total["50%"]), cores, memory)


class _Headquarters:
    """Just enough of a headquarters to fire and to count."""

    def __init__(self, *, ours: bool) -> None:
        self._ours = ours
        self._acknowledged: dict[str, int] = {}
        self._said = ""
        self._context = zmq.Context()
        self._publisher, self._collector = self._context.socket(zmq.PUB), self._context.socket(zmq.PULL)
        self._collector.set_hwm(0)
        self.ports = tuple(made.bind_to_random_port("tcp://127.0.0.1") for made in (self._publisher, self._collector))

    def wait(self) -> None:
        """Return when the turret is ready and hears us."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._order("status_request", None)
            while self._collector.poll(500):
                if isinstance(_decode(self._collector.recv()), Status):
                    return
        raise CannotMeasure("the turret does not come")

    def fire(self, process: psutil.Process, seconds: float) -> FiringResult:
        """Fire, and return what came from the warm seconds."""
        begun = time.monotonic()
        length = _WARM + seconds + 1
        if not self._ours:
            self._order("set_transaction_context", {})
            self._order("start", "open fire")
        whole, reported, used, cores, memory = Distribution(), 0.0, None, 0.0, 0.0
        self._said = "nothing"
        while (now := time.monotonic() - begun) < length + 1:
            if self._ours and now - reported > 0.5:
                reported = now
                run = RunBriefing(id="bench", starts_in=-now, run_time=length)
                self._order(
                    "status_request",
                    None,
                    Briefing(protocol=1, headquarters="bench", run=run, acknowledged=self._acknowledged),
                )
            if used is None and now >= _WARM:
                used, at = _used(process), now
            elif used is not None and not cores and now >= _WARM + seconds:
                cores, memory = (_used(process) - used) / (now - at), process.memory_info().rss / 1e6
            if self._collector.poll(50):
                self._take(whole, seconds)
        if not self._ours:
            self._order("stop", "premature stop")
        if not whole.count:
            raise CannotMeasure(f"no result came in {seconds:g} s; the turret said {self._said}")
        return FiringResult(whole.count / seconds, whole.percentiles([50])[50] * 1000, cores, memory)

    def close(self) -> None:
        """End the turret, and both sockets."""
        self._order("kill", "")
        time.sleep(0.2)
        self._publisher.close(linger=500)
        self._collector.close(linger=0)
        self._context.term()

    def _take(self, whole: Distribution, seconds: float) -> None:
        """Count what has come and belongs to the seconds that count."""
        for _ in range(5000):
            try:
                message = _decode(self._collector.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            if isinstance(message, Status):
                self._said = f"{message.status} ({message.smartmob})"
            elif isinstance(message, Result) and _WARM <= message.elapsed < _WARM + seconds:
                whole.record(message.scriptrun_time)
            elif isinstance(message, Slices) and message.sequence == self._acknowledged.get(message.uuid, 0) + 1:
                self._acknowledged[message.uuid] = message.sequence
                for part in message.slices:
                    if not part.timer and _WARM <= part.second < _WARM + seconds:
                        whole.merge(part)

    def _order(self, command: str, msg: object, briefing: Briefing | None = None) -> None:
        order = Order(command=command, msg=msg)
        if self._ours:
            briefing = briefing or Briefing(protocol=1, headquarters="bench")
            order = Order(command=command, msg=msg, smartmob=briefing)
        self._publisher.send(protocol.encode_order(order))


def _decode(frame: bytes) -> object:
    try:
        return protocol.decode(frame)
    except InvalidInput:
        return None


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _running(command: Sequence[str]) -> Iterator[psutil.Process]:
    """Run a program, quietly, and end it."""
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        try:
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _target() -> Iterator[str]:
    """Give the address of a server that says hello."""
    process = subprocess.Popen([sys.executable, "-c", _TARGET], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _environment(name: str) -> Path:
    """Return the folder of the programs of a candidate; it is installed the first time."""
    folder = CACHE / ("oct" if name == STOCK else "locust")
    if not (folder / "complete").exists():
        print(f"-- installing {name}", file=sys.stderr)
        python = "python3.11" if name == STOCK else sys.executable
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *REQUIREMENTS[name]], check=True)
        (folder / "complete").touch()
    return folder / "bin"


Measure = Callable[[], FiringResult]

_BUSY: list[float] = []
"""How busy the machine was before each measurement, in percent."""
_FAILED: list[str] = []
"""The measurements that gave nothing; their round goes on without them."""


def _noise() -> str:
    """Return a remark on how quiet the machine was."""
    busy = sum(1 for percent in _BUSY if percent > _QUIET_PERCENT)
    return (
        f"Before {busy} of {len(_BUSY)} measurements more than {_QUIET_PERCENT:.0f} % of it were busy with other work."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turret_fire", description="Print a report in Markdown.")
    parser.add_argument("--seconds", type=int, default=6, help="seconds of each measurement (default 6)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round: it shows that everything works")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rounds = 2, 1
    with tempfile.TemporaryDirectory(prefix="smartmob-bench-") as name:
        bench = Bench(Path(name), options.seconds)
        waiting = _rounds(options.rounds, _waiting(bench))
        with _target() as bench.url:
            asking = _rounds(options.rounds, _asking(bench))
    try:
        sections = [_waiting_section(waiting), _asking_section(asking)]
    except KeyError as error:
        print(f"nothing was measured of {error}: {'; '.join(_FAILED)}", file=sys.stderr)
        return 2
    around = machine_info(Locust=REQUIREMENTS[LOCUST][0].partition("==")[2])
    how = (
        f"Medians of {options.rounds} rounds (least to greatest), in which the candidates took turns; "
        f"{options.seconds} s for each measurement, after a warm-up. One process each. {_noise()}"
    )
    goals = [goal for section in sections for goal in section.goals]
    texts = [section.text() for section in sections]
    failed = [f"**Not measured:** {text}" for text in _FAILED]
    head = table(tuple(around), [tuple(around.values())])
    print("\n\n".join(("# Turrets", head, how, *failed, *texts, summary(goals))))
    return 1 if failed else 0


def _waiting(bench: Bench) -> dict[tuple[str, int], Measure]:
    return {
        (OURS, 100): lambda: bench.turret(OURS, _ASYNC_TASK, 100),
        (f"{OURS}, threads", 100): lambda: bench.turret(OURS, _THREAD_TASK, 100),
        (STOCK, 100): lambda: bench.turret(STOCK, _THREAD_TASK, 100),
        (LOCUST, 100): lambda: bench.locust(_LOCUST_TASK, 100),
        (OURS, 1000): lambda: bench.turret(OURS, _ASYNC_TASK, 1000),
        (f"{OURS}, threads", 1000): lambda: bench.turret(OURS, _THREAD_TASK, 1000),
        (STOCK, 1000): lambda: bench.turret(STOCK, _THREAD_TASK, 1000),
        (LOCUST, 1000): lambda: bench.locust(_LOCUST_TASK, 1000),
        (OURS, 10000): lambda: bench.turret(OURS, _ASYNC_TASK, 10000),
    }


def _asking(bench: Bench) -> dict[tuple[str, int], Measure]:
    return {
        (OURS, 100): lambda: bench.turret(OURS, _ASYNC_HTTP, 100),
        (LOCUST, 100): lambda: bench.locust(_LOCUST_HTTP, 100),
        (OURS, 1000): lambda: bench.turret(OURS, _ASYNC_HTTP, 1000),
        (LOCUST, 1000): lambda: bench.locust(_LOCUST_HTTP, 1000),
    }


def _rounds(rounds: int, measures: dict[tuple[str, int], Measure]) -> dict[tuple[str, int], list[FiringResult]]:
    found: dict[tuple[str, int], list[FiringResult]] = {key: [] for key in measures}
    for number in range(rounds):
        for key, measure in measures.items():
            print(f"-- round {number + 1}: {key[0]}, {key[1]} users", file=sys.stderr)
            _wait_until_quiet()
            try:
                found[key].append(measure())
            except CannotMeasure as error:
                _FAILED.append(f"{key[0]}, {key[1]:,} users: {error}")
                print(f"-- {_FAILED[-1]}", file=sys.stderr)
    return {key: runs for key, runs in found.items() if runs}


def _wait_until_quiet() -> None:
    """Wait until the processors are idle, for a limited time, so that other programs do not disturb a candidate."""
    deadline = time.monotonic() + _PATIENCE
    while (busy := psutil.cpu_percent(0.5)) > _QUIET_PERCENT and time.monotonic() < deadline:
        pass
    _BUSY.append(busy)


def _rows(found: dict[tuple[str, int], list[FiringResult]]) -> Iterator[tuple[str, ...]]:
    for (name, users), runs in found.items():
        yield (
            name,
            f"{users:,}",
            Spread.of(run.rate for run in runs).text(),
            Spread.of(run.p50_ms for run in runs).text(".2f"),
            Spread.of(run.cores for run in runs).text(".2f"),
            Spread.of(run.per_core for run in runs).text(),
            Spread.of(run.memory_mb for run in runs).text(),
        )


_HEAD = ("candidate", "users", "transactions/s", "p50 ms", "cores", "transactions per core and s", "MB")


def _waiting_section(found: dict[tuple[str, int], list[FiringResult]]) -> Section:
    truth = Spread.of(run.p50_ms / TASK_MS for run in found[OURS, 1000])
    stock = Spread.of(run.p50_ms / TASK_MS for run in found[STOCK, 1000])
    memory = Spread.of(run.memory_mb for run in found[OURS, 10000])
    goals = [
        Goal("p50 of a 10 ms task at 1,000 users over the truth", 1.2, truth.median, ".2f", at_most=True),
        Goal("memory of 10,000 async users in one process", 150, memory.median, ".0f", " MB", at_most=True),
    ]
    remark = f"The median that OCT's turret reports at 1,000 users is {stock.text('.2f')} times the truth."
    return Section("A task that waits 10 ms", (table(_HEAD, _rows(found)), remark), goals)


def _asking_section(found: dict[tuple[str, int], list[FiringResult]]) -> Section:
    goals = []
    for users in (100, 1000):
        ours, theirs = (Spread.of(run.per_core for run in found[name, users]) for name in (OURS, LOCUST))
        what = f"requests per core over Locust's FastHttpUser, {users:,} users"
        goals.append(Goal(what, 1.0, ours.over(theirs).median, ".2f"))
    remark = "The target is one process, too, and mostly the limit: hence the figure per core of the generator."
    return Section("GET of a short text from aiohttp", (table(_HEAD, _rows(found)), remark), goals)


if __name__ == "__main__":
    sys.exit(stopping.run(main))
