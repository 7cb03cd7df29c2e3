"""The process managers that are compared: ours as it is installed, and circus and supervisord from PyPI.

Each gets its own way of doing things at once: concurrent requests on one session here, "start all" there. What is
peculiar to one of them is said in README.md beside this file.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks import programs
from benchmarks.candidates import (
    ROOT,
    SMARTMOB,
    START_SECONDS,
    CannotMeasure,
    Service,
    check_alive,
    environment,
    running,
    smartmob,
)

CIRCUS = "circus"
SUPERVISORD = "supervisord"
NAMES = (SMARTMOB, SUPERVISORD, CIRCUS)
REQUIREMENTS = {SUPERVISORD: ("supervisor==4.3.0", "setuptools<81"), CIRCUS: ("circus==0.19.0",)}
_POLL_SECONDS = 0.02
_LOG_BYTES = 50_000_000
_BUSY = b"arbiter is already running"
# Runs in circus's environment, with its own client, and gets its requests as lines of JSON.
_CIRCUS_DRIVER = """\
import json, sys
from circus.client import CircusClient
client = CircusClient(endpoint=sys.argv[1], timeout=60.0)
for line in sys.stdin:
    try:
        answer = client.call(json.loads(line))
    except Exception as error:
        answer = {"status": "error", "reason": repr(error)}
    print(json.dumps(answer), flush=True)
"""


class Runner(ABC):
    """A process manager that can run `count` programs of one kind."""

    name: str
    pid: int

    @abstractmethod
    def start_all(self) -> None:
        """Start all programs at once. They report by themselves when they run."""

    @abstractmethod
    def start_one(self, number: int) -> None:
        """Ask for one program, and return when the manager has answered."""

    @abstractmethod
    def stop_all(self) -> None:
        """End all programs, and return when they have."""

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the manager's own processes, by what they are."""
        return {"manager": [psutil.Process(self.pid)]}

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time that the manager's own processes have used, by what they are."""
        return {part: sum(_cpu_seconds(member.pid) for member in members) for part, members in self.processes().items()}


class Smartmob(Runner):
    """Ours. Programs are created, each as a node of its own, of an archive that has been uploaded and unpacked."""

    name = SMARTMOB

    def __init__(self, service: Service, gate: programs.Gate, kind: str, count: int) -> None:
        self.service = service
        self._gate = gate
        self.pid = service.pid
        self.slugs: dict[int, str] = {}
        self._kind = kind
        self._count = count
        self._made = 0
        self._loop = asyncio.new_event_loop()
        self._session = self._loop.run_until_complete(self._open())
        self._url = ""

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(f"http://127.0.0.1:{self.service.port}")

    def close(self) -> None:
        """Close the connections."""
        self._loop.run_until_complete(self._session.close())
        self._loop.close()

    def upload(self) -> None:
        """Store and unpack the archive, by a first process that is deleted again."""
        status, answer = self.service.request(
            "POST", "/upload-archive", programs.archive(self._kind), media_type="application/octet-stream"
        )
        if status != 201:
            raise CannotMeasure(f"{self.name} answered {status} to the upload: {answer[:500]!r}")
        self._url = orjson.loads(answer)["source_url"]
        self._loop.run_until_complete(self._create(0))
        self._gate.wait(programs.size(self._kind))
        self.stop_all()

    def start_all(self) -> None:
        self._together(self._create(number) for number in range(self._count))

    def start_one(self, number: int) -> None:
        self._loop.run_until_complete(self._create(number))

    def stop_all(self) -> None:
        self._together(self._delete(number) for number in tuple(self.slugs))

    def processes(self) -> dict[str, list[psutil.Process]]:
        main = psutil.Process(self.pid)
        watchdogs = [process for process in main.children() if process.name() == "smartmob-guard"]
        subreapers = [subreaper for watchdog in watchdogs for subreaper in watchdog.children()]
        return {"service": [main], "watchdog": watchdogs, "subreapers": subreapers}

    def _together(self, work: Iterator[Awaitable[None]]) -> None:
        async def wait() -> None:
            await asyncio.gather(*work)

        self._loop.run_until_complete(wait())

    async def _create(self, number: int) -> None:
        self._made += 1
        wanted = {
            "app": "bench",
            "node": f"{self._kind}.{self._made}",
            "process_type": self._kind,
            "source_url": self._url,
            "env": self._gate.variables,
        }
        async with self._session.post("/create-process", data=orjson.dumps(wanted)) as response:
            answer = await response.read()
            if response.status != 201:
                raise CannotMeasure(f"{self.name} answered {response.status}: {answer[:500]!r}")
        self.slugs[number] = orjson.loads(answer)["slug"]

    async def _delete(self, number: int) -> None:
        async with self._session.post(f"/delete-process/{self.slugs.pop(number)}") as response:
            if response.status != 200:
                raise CannotMeasure(f"{self.name} answered {response.status} to a delete")


class Supervisord(Runner):
    """Supervisord, over XML-RPC on TCP."""

    name = SUPERVISORD

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        proxy = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2")
        self.rpc: Any = proxy.supervisor

    def start_all(self) -> None:
        self.rpc.startProcessGroup("bench", False)

    def start_one(self, number: int) -> None:
        self.rpc.startProcess(f"bench:bench_{number:03d}", False)

    def stop_all(self) -> None:
        self.rpc.stopProcessGroup("bench", True)


class Circus(Runner):
    """Circus, by its own client in its own environment."""

    name = CIRCUS

    def __init__(self, pid: int, driver: subprocess.Popen[bytes]) -> None:
        self.pid = pid
        self._driver = driver

    def start_all(self) -> None:
        self.call("start", waiting=True)

    def start_one(self, number: int) -> None:
        self.call("start", name=f"bench_{number:03d}", waiting=True)

    def stop_all(self) -> None:
        self.call("stop", waiting=True)

    def call(self, command: str, **properties: Any) -> None:
        """Have a command carried out; raises CannotMeasure unless circus says that it did."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        while True:
            self._driver.stdin.write(orjson.dumps({"command": command, "properties": properties}) + b"\n")
            self._driver.stdin.flush()
            answer = self._driver.stdout.readline()
            if answer and orjson.loads(answer).get("status") == "ok":
                return
            # It does one thing at a time and refuses everything else, its own rounds included.
            if _BUSY not in answer:
                raise CannotMeasure(f"{self.name} answered to {command}: {answer[:500]!r}")


@contextmanager
def runner(name: str, folder: Path, gate: programs.Gate, kind: str, count: int) -> Iterator[Runner]:
    """Run a manager that can run `count` programs of one kind, with its defaults wherever those are not in the way."""
    folder.mkdir()
    with _STARTERS[name](folder, gate, kind, count) as found:
        yield found


@contextmanager
def _smartmob(folder: Path, gate: programs.Gate, kind: str, count: int) -> Iterator[Smartmob]:
    with smartmob(folder / "data") as service:
        found = Smartmob(service, gate, kind, count)
        try:
            found.upload()
            yield found
        finally:
            found.close()


@contextmanager
def _supervisord(folder: Path, gate: programs.Gate, kind: str, count: int) -> Iterator[Supervisord]:
    python = environment(SUPERVISORD, sys.executable, REQUIREMENTS[SUPERVISORD])
    (port,) = _free_ports(1)
    settings = f"""\
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
[inet_http_server]
port = 127.0.0.1:{port}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:bench]
command = {programs.write(folder)[kind]}
process_name = %(program_name)s_%(process_num)03d
numprocs = {count}
autostart = false
autorestart = true
startsecs = 0
redirect_stderr = true
stdout_logfile = {folder}/%(program_name)s_%(process_num)03d.log
stdout_logfile_maxbytes = {_LOG_BYTES}
stdout_logfile_backups = 1
"""
    (folder / "supervisord.conf").write_text(settings)
    log = folder / "out.log"
    command = [str(python), "-m", "supervisor.supervisord", "-n", "-c", str(folder / "supervisord.conf")]
    with running(command, log, os.environ | gate.variables) as process:
        found = Supervisord(process.pid, port)
        _until(lambda: found.rpc.getState()["statecode"] == 1, process, log)
        yield found


@contextmanager
def _circus(folder: Path, gate: programs.Gate, kind: str, count: int) -> Iterator[Circus]:
    python = environment(CIRCUS, sys.executable, REQUIREMENTS[CIRCUS])
    endpoint, pubsub = (f"tcp://127.0.0.1:{port}" for port in _free_ports(2))
    command, size = programs.write(folder)[kind], programs.size(kind)
    settings = [f"[circus]\nendpoint = {endpoint}\npubsub_endpoint = {pubsub}\nstatsd = False\n"]
    settings += [
        f"""\
[watcher:bench_{number:03d}]
cmd = {command}
numprocesses = 1
copy_env = True
warmup_delay = 0
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/bench_{number:03d}.log
stdout_stream.max_bytes = {_LOG_BYTES}
stdout_stream.backup_count = 1
"""
        for number in range(count)
    ]
    (folder / "circus.ini").write_text("".join(settings))
    log = folder / "out.log"
    command = [str(python), "-m", "circus.circusd", str(folder / "circus.ini")]
    with (
        running(command, log, os.environ | gate.variables) as process,
        subprocess.Popen(
            [str(python), "-c", _CIRCUS_DRIVER, endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        ) as driver,
    ):
        found = Circus(process.pid, driver)
        try:
            # It starts only by "start all" what it also starts by itself, so that comes first.
            begun = [psutil.Process(pid) for pid in gate.wait(count * size)]
            found.stop_all()
            for process_left in begun:  # it leaves children of what it stops
                with suppress(psutil.NoSuchProcess):
                    process_left.kill()
            yield found
        finally:
            driver.kill()


_Starter = Callable[[Path, programs.Gate, str, int], Any]
_STARTERS: dict[str, _Starter] = {SMARTMOB: _smartmob, SUPERVISORD: _supervisord, CIRCUS: _circus}


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process: the scheduler's own account, which no short burst of work escapes."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # it has just ended
            spent += int(thread.read_text().split()[0])
    return spent / 1e9


def _free_ports(number: int) -> Sequence[int]:
    """Return ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if ready():
                return
        except OSError:
            pass  # not yet
        check_alive(process, log)
        if time.monotonic() > deadline:
            raise CannotMeasure(f"{process.args!r} did not answer in {START_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)
