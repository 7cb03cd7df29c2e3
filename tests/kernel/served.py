"""A tiny service in a process of its own, which gets real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.certificates import Files
from tests.kernel.raw import wire

SECONDS = 20.0
_ROOT = Path(__file__).parents[2]


class Child:
    """A running tiny service, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self.port = 0

    async def hear(self, event: str) -> dict[str, Any]:
        """Return the next line of the event; what is said before it is kept."""
        async with asyncio.timeout(SECONDS):
            while line := await self._line():
                if line["event"] == event:
                    return line
        raise AssertionError(f"{event} never came: {self.said}")

    async def end(self) -> int:
        """Return the exit code, after all that it says."""
        async with asyncio.timeout(SECONDS):
            while await self._line():
                pass
            return await self.process.wait()

    def events(self) -> list[str]:
        """Return the names of what was said so far."""
        return [line["event"] for line in self.said]

    async def _line(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            return None
        self.said.append(orjson.loads(line))
        return self.said[-1]


Start = Callable[..., Awaitable[Child]]


@asynccontextmanager
async def starter() -> AsyncIterator[Start]:
    """Give the starter of tiny services, which end with the block: `await start()`."""
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
            process = await asyncio.create_subprocess_exec(
                *(*before, sys.executable, "-m", "tests.kernel.tiny_service"),
                *(*map(str, (port, stop_timeout, idle_timeout)), *files),
                cwd=_ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **env},
            )
            stack.push_async_callback(_end, process)
            child = Child(process)
            if ready:
                child.port = (await child.hear("ready"))["port"]
            return child

        yield start


async def takes(child: Child, *noises: bytes) -> None:
    """Send each noise on a connection of its own; nothing of it is logged as a failure, and the service ends well."""
    for noise in noises:
        async with wire(child.port) as line:
            line.send(noise)
            line.writer.write_eof()
            await line.ended()
    child.process.send_signal(signal.SIGTERM)
    assert await child.end() == 0
    assert all(line["level"] == "info" for line in child.said)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()
