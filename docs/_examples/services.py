"""The servers of the examples: a service of the real command, and servers of files and of PostgreSQL beside it."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import asyncpg
import psutil

from docs._examples.shell import Shell
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.embedded.roles import ADMIN
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.acceptance.commands import kill_postgres, lay_database

T = TypeVar("T")

_SECONDS = 800.0
_SERVES = re.compile(r"(?:\w+=\S+ )*(?:smartmob serve|smartmob-agent)\b(?!.*(?:--help|--version))")


def serves(command: str) -> bool:
    """Return whether a command is one that serves."""
    return _SERVES.match(command) is not None


def until(condition: Callable[[], T | None], what: str) -> T:
    """Return what `condition` gives once that is something."""
    pause, rounds = threading.Event(), int(_SECONDS / 0.02)
    for _ in range(rounds):
        if (found := condition()) is not None:
            return found
        pause.wait(0.02)
    raise TimeoutError(f"{what}: not within {_SECONDS:g} s")


def interrupt(process: subprocess.Popen[bytes], pid: int | None = None) -> int:
    """Press CTRL-C, and return the exit code; what does not end is killed.

    `pid` is the process to interrupt where the program passes the work on to another.
    """
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.kill(pid or process.pid, signal.SIGINT)
    try:
        return process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


class Service:
    """A running `smartmob serve`; `port` is where it listens. After use you must `stop`.

    Its programs get ports from `base_port` on.
    """

    def __init__(self, shell: Shell, folder: Path, command: str, base_port: int) -> None:
        self._data = folder / "data"
        self._output = folder / "service.out"
        self._pid_file = folder / "service.pid"
        self._pid_file.unlink(missing_ok=True)
        variables = {
            "SMARTMOB_PORT": "0",
            "SMARTMOB_DATA_DIR": str(self._data),
            "SMARTMOB_PROCESSES_BASE_PORT": str(base_port),
            # It is forked from a service that has its imports (tests/acceptance/forked.py).
            "FORKED_PID": str(self._pid_file),
        }
        # A page that is about load tests runs no programs, so that its headquarters can have their ports.
        names = ("PUBLISH", "RC", "EXTERNAL")
        self._others = {base_port + place: f"SMARTMOB_HQ_{name}_PORT" for place, name in enumerate(names)}
        variables |= {name: str(port) for port, name in self._others.items()}
        lay_database(self._data)
        self._process = shell.start(command, self._output, variables)
        try:
            self.port = until(self._listening, "the service listens")
            until(self._answering, "the service answers")
        except BaseException:
            self.stop()
            raise

    @property
    def output(self) -> str:
        """Return what it has written to its terminal so far."""
        return self._output.read_text(errors="replace")

    def stop(self) -> int:
        """Press CTRL-C, and return the exit code."""
        try:
            return interrupt(self._process, self._pid())
        finally:
            kill_postgres(self._data)

    def _pid(self) -> int | None:
        """Return the process of the service, or None when it has not started."""
        written = self._pid_file.read_text() if self._pid_file.exists() else ""
        return int(written) if written else None

    def _listening(self) -> int | None:
        if self._process.poll() is not None:
            raise ChildProcessError(f"the service ended with {self._process.returncode}:\n{self.output}")
        if self._pid() is None:
            return None
        try:
            connections = psutil.Process(self._pid()).net_connections("tcp")
        except psutil.Error:
            return None
        ports = [found.laddr.port for found in connections if found.status == psutil.CONN_LISTEN]
        return next((port for port in ports if port not in self._others), None)

    def _answering(self) -> bool | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200 or None
        except ConnectionError:
            return None
        finally:
            connection.close()


FILES = "http://files.example.com"
"""What pages call the server of the home folder's files."""


class Files:
    """A server of the files of a folder. After use you must `stop`."""

    def __init__(self, folder: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Let go of everybody and end."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Ports:
    """The ports of the programs: pages say 5000 and up, and the tests of a machine must not be in each other's way.

    After use you must `give_back`.
    """

    _SHOWN, _MANY, _CHECKED = 5000, 400, 3

    def __init__(self) -> None:
        self._claim: socket.socket | None = None
        self.base = until(self._free, "there are free ports")

    def give_back(self) -> None:
        """Let others have them."""
        if self._claim is not None:
            self._claim.close()

    @property
    def headquarters(self) -> str:
        """Return the options that tell a turret of smartmob the ports, which pages leave at 5000 and 5001."""
        return f"--hq-publisher {self.base} --hq-rc {self.base + 1}"

    def real(self, text: str) -> str:
        """Return text of a page with the ports that are there, also in the configuration of a turret."""
        before = r"(?:(?<=\b127\.0\.0\.1:)|(?<=\"hq_rc\": )|(?<=\"hq_publisher\": ))"
        return re.sub(rf"{before}5[0-3]\d\d\b", lambda found: str(int(found[0]) + self._moved), text)

    def shown(self, text: str) -> str:
        """Return output with the ports that pages show."""

        def replace(match: re.Match[str]) -> str:
            inside = 0 <= int(match[0]) - self.base < self._MANY
            return str(int(match[0]) - self._moved) if inside else match[0]

        return re.sub(r"(?i:(?<=port[ =:])|(?<=port\":)|(?<=port\": )|(?<=127\.0\.0\.1:)|(?<= )(?=\d+ *$))\d{5}\b",
                      replace, text, flags=re.MULTILINE)  # fmt: skip

    @property
    def _moved(self) -> int:
        return self.base - self._SHOWN

    def _free(self) -> int | None:
        # Below those that the system itself hands out.
        base = 20_000 + self._MANY * secrets.randbelow(30)
        # Its last port is bound as long as the range is in use: others of these tests that draw the same pass it over.
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", base + self._MANY - 1))
            for port in (*range(base, base + self._CHECKED), *range(base + 100, base + 100 + self._CHECKED)):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            return None
        self._claim = claim
        return base


class Outside:
    """A PostgreSQL server that asks for passwords. After use you must `stop`."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "outside"
        asyncio.run(self._start())

    async def _start(self) -> None:
        tasks = TaskRegistry()

        postgres = EmbeddedPostgres(self._home, tasks)
        address = await postgres.start()
        access = self._home / "cluster" / "pg_hba.conf"
        # Appended, so it keeps its owner; the first line that fits counts.
        with access.open("a") as file:
            file.write("local all all scram-sha-256\n")
        connection = await asyncpg.connect(host=address.host, user=ADMIN, database="postgres")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        # The server goes on after this event loop has ended.
        await tasks.close()
        postgres.watchdog.kill()

    def url(self, database: str) -> str:
        """Return what stands in a URL behind the password."""
        return f"@/{database}?host={self._home}/socket"

    def execute(self, text: str) -> None:
        """Execute statements as the administrator; the comment `-- in the database NAME` goes to another database."""
        asyncio.run(self._execute([part.strip() for part in re.split(r"(?:^|;)\s*\n", text + "\n")]))

    async def _execute(self, statements: list[str]) -> None:
        connection = await asyncpg.connect(f"postgresql://{ADMIN}{self.url('postgres')}")
        for statement in filter(None, statements):
            if moves := re.match(r"-- in the database (\w+)\n", statement):
                await connection.close()
                connection = await asyncpg.connect(f"postgresql://{ADMIN}{self.url(moves[1])}")
                statement = statement[moves.end() :]
            await connection.execute(statement)
        await connection.close()

    def stop(self) -> None:
        """End it at once."""
        pid = int((self._home / "cluster" / "postmaster.pid").read_text().split()[0])
        server = psutil.Process(pid)  # before it can be gone
        server.send_signal(signal.SIGQUIT)
        server.wait(_SECONDS)
