"""Runs the installed command like a person or an init system, and reads its output."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests.acceptance import forked, installed

SECONDS = 800.0
"""The seconds after which a test gives up; a bound for hangs, also on a busy machine."""

_SCHEMES = {"tcp": "http", "tls": "https"}


class Programs:
    """A folder of commands, as in `PROGRAMS / "smartmob"`. It is made at the first use."""

    def __init__(self, make: Callable[[], Path]) -> None:
        self._make = make

    def __truediv__(self, name: str) -> Path:
        return self._make() / name


PROGRAMS = Programs(installed.programs)
"""The installed commands."""
QUICK_PROGRAMS = Programs(forked.programs)
"""The installed commands without their imports, for tests of what a command does and not of how it starts."""


def environment(**further: str) -> dict[str, str]:
    """Return the environment for a child, without the settings of the person who runs the tests.

    `smartmob run --detach` does not watch programs for a while, unless a test asks for it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTMOB_", "DATABASE_URL"))}
    return {**kept, "SMARTMOB_UPTIME": "0", **further}


class RunningCommand:
    """A `smartmob serve` process; `events` is its log so far."""

    def __init__(self, process: asyncio.subprocess.Process, pid_file: Path | None = None) -> None:
        self.process = process
        self._pid_file = pid_file
        self.events: list[dict[str, Any]] = []
        self.errors = b""
        self._news = asyncio.Condition()
        self._readers = [asyncio.create_task(self._read_events()), asyncio.create_task(self._read_errors())]

    @property
    def url(self) -> str:
        """Return the address in the `bind` event of the service."""
        bind = next(event for event in self.events if event["event"] == "bind" and event["transport"] in _SCHEMES)
        return f"{_SCHEMES[bind['transport']]}://{bind['host']}:{bind['port']}"

    @property
    def pid(self) -> int:
        """Return the process of the service, which is not that of the program where it is forked."""
        return self.process.pid if self._pid_file is None else int(self._pid_file.read_text())

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the service itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def event(self, name: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for the first event of this name with these fields, from the `after`-th event on, and return it."""
        wanted = {"event": name, **fields}.items()

        def found() -> dict[str, Any] | None:
            return next(
                (event for event in self.events[after:] if all(event.get(key) == value for key, value in wanted)), None
            )

        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: found() is not None or self.process.returncode is not None)
        event = found()
        assert event is not None, f"ended without {name}: {self.errors.decode()}"
        return event

    async def wait(self) -> int:
        """Wait until the process has ended and its output was read, and return the exit code."""
        async with asyncio.timeout(SECONDS):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.send_signal(number)
        return await self.wait()

    async def _read_events(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.events.append(orjson.loads(line))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.errors += line


async def launch(
    *arguments: str | Path, program: str = "smartmob", pid_file: Path | None = None, **env: str
) -> RunningCommand:
    """Start a command that serves, without waiting.

    With a file for the id of its process it is forked from one that has its imports (`forked.py`).
    """
    programs = PROGRAMS if pid_file is None else QUICK_PROGRAMS
    words = [programs / program, *(["serve"] if program == "smartmob" else []), "--log-format", "json", *arguments]
    if pid_file is not None:
        env["FORKED_PID"] = str(pid_file)
    process = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
        limit=4 * 1024 * 1024,
    )
    return RunningCommand(process, pid_file)


@cache
def _served_before() -> Path:
    """Return the database of a data directory after a first start; one process of the test run makes it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o711)
        program = Path(sysconfig.get_path("scripts")) / "smartmob"
        command = [program, "db", "migrate", "--data-dir", folder / "data"]
        subprocess.run(command, env=environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Tests kill programs, not the machine: what is not yet on the disk is not lost by that. Appended, so it keeps
        # its owner.
        with (folder / "data" / "postgres" / "cluster" / "postgresql.auto.conf").open("a") as file:
            file.write("fsync = off\nfull_page_writes = off\n")

    return installed.made("served", make) / "data" / "postgres"


def lay_database(data_dir: Path) -> None:
    """Put an empty database into a data directory that has none, which saves half of the time of a start.

    What a first start does by itself has tests of its own.
    """
    if not (data_dir / "postgres").exists():
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        # With owners and modes, on which PostgreSQL insists.
        subprocess.run(["cp", "-a", _served_before(), data_dir], check=True)


@asynccontextmanager
async def serving(
    data_dir: Path, *arguments: str | Path, as_installed: bool = False, **options: str
) -> AsyncIterator[RunningCommand]:
    """Run a service with an empty database on a free port until the block ends.

    It is forked, unless the test looks at how it starts, at its limits, its environment or its memory.
    """
    if "--database-url" not in arguments:
        lay_database(data_dir)
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    pid_file = None if as_installed else data_dir.with_name(f"{data_dir.name}.pid")
    if pid_file is not None:
        pid_file.unlink(missing_ok=True)
    command = await launch("--port", "0", "--data-dir", data_dir, *arguments, pid_file=pid_file, **options)
    try:
        await command.event("bind", transport="tls" if "--tls-cert" in arguments else "tcp")
        yield command
    finally:
        if command.process.returncode is None:
            await command.stop()
        await command.wait()
        kill_postgres(data_dir)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a plain connection to a service until the block ends."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def postgres_pid(data_dir: Path) -> int | None:
    """Return the process id of the embedded server, or None when it does not run."""
    try:
        pid = int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        return pid if psutil.Process(pid).name().startswith("postgres") else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


def kill_postgres(data_dir: Path) -> None:
    """Stop a server that a killed service has left."""
    if (pid := postgres_pid(data_dir)) is not None:
        server = psutil.Process(pid)  # before it can be gone
        server.send_signal(signal.SIGQUIT)
        server.wait(SECONDS)


async def run(
    *arguments: str | Path,
    program: str = "smartmob",
    programs: Programs = QUICK_PROGRAMS,
    seconds: float = SECONDS,
    **env: str,
) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command that ends by itself."""
    words = list(map(str, arguments))
    if programs is QUICK_PROGRAMS and (kind := forked.kind_of(program, words)):
        async with asyncio.timeout(seconds):
            code, out, err = await forked.run(kind, program, words, environment(**env))
        return code, out.decode(), err.decode()
    process = await asyncio.create_subprocess_exec(
        (programs if program == "smartmob" else PROGRAMS) / program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
    )
    async with asyncio.timeout(seconds):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
