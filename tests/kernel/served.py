"""The tiny service in a separate process, which gets real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from tests.certificates import Files
from tests.kernel.forked_service import ForkedProcess, ServiceForks
from tests.kernel.raw import wire

Process: TypeAlias = asyncio.subprocess.Process | ForkedProcess

SECONDS = 800.0
_ROOT = Path(__file__).parents[2]


class Child:
    """A running tiny service, and its log lines."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.port = 0

    async def next_event(self, event: str) -> dict[str, Any]:
        """Return the next line of the event; earlier lines are kept in `lines`."""
        async with asyncio.timeout(SECONDS):
            while line := await self._line():
                if line["event"] == event:
                    return line
        raise AssertionError(f"{event} never came: {self.lines}")

    async def end(self) -> int:
        """Read all further lines; return the exit code."""
        async with asyncio.timeout(SECONDS):
            while await self._line():
                pass
            return await self.process.wait()

    def events(self) -> list[str]:
        """Return the names of the events so far."""
        return [line["event"] for line in self.lines]

    async def _line(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            return None
        self.lines.append(orjson.loads(line))
        return self.lines[-1]


Start = Callable[..., Awaitable[Child]]


@asynccontextmanager
async def starter(forks: ServiceForks) -> AsyncIterator[Start]:
    """Give a function that starts tiny services, which end with the block: `await start()`.

    They are forked, except for those that a command `before` starts.
    """
    async with AsyncExitStack() as stack:

        async def start(
            port: int = 0,
            stop_timeout: float = 60.0,
            idle_timeout: float = 60.0,
            ready: bool = True,
            tls: Files | None = None,
            before: tuple[str, ...] = (),
            **env: str,
        ) -> Child:
            files = () if tls is None else (tls.cert, tls.key)
            arguments, variables = [str(each) for each in (port, stop_timeout, idle_timeout, *files)], os.environ | env
            process: Process
            if before:
                process = await asyncio.create_subprocess_exec(
                    *(*before, sys.executable, "-m", "tests.kernel.tiny_service", *arguments),
                    cwd=_ROOT,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                    env=variables,
                )
            else:
                process = await forks.start(arguments, variables)
            stack.push_async_callback(_end, process)
            child = Child(process)
            if ready:
                child.port = (await child.next_event("ready"))["port"]
            return child

        yield start


async def check_noise(child: Child, *noises: bytes) -> None:
    """Send each noise on its own connection; check that no error is logged and that the service exits with 0."""
    for noise in noises:
        async with wire(child.port) as line:
            line.send(noise)
            line.writer.write_eof()
            await line.ended()
    child.process.send_signal(signal.SIGTERM)
    assert await child.end() == 0
    assert all(line["level"] == "info" for line in child.lines)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()
