"""A command while it runs, on pipes or on a pseudo-terminal: what it has said so far, and CTRL-C."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.acceptance.commands import QUICK_PROGRAMS, SECONDS, environment

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_ROWS, _COLUMNS = 40, 120


class Typed:
    """A command that runs; on a terminal all that it says is in `output`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._said = {"output": b"", "errors": b""}
        self._news = asyncio.Condition()
        self._readers: list[asyncio.Task[None]] = []

    @property
    def output(self) -> str:
        """Return what it has written to standard output, or to the terminal."""
        return self._said["output"].decode().replace("\r\n", "\n")

    @property
    def errors(self) -> str:
        """Return what it has written to standard error."""
        return self._said["errors"].decode()

    @property
    def text(self) -> str:
        """Return the output without colours and movements of the cursor."""
        return _ESCAPES.sub("", self.output)

    def read(self, name: str, reader: asyncio.StreamReader) -> None:
        """Take what comes from `reader`."""
        self._readers.append(asyncio.create_task(self._read(name, reader)))

    async def says(self, *parts: str) -> None:
        """Return when all of these have been said."""

        def said() -> bool:
            return all(part in self.text or part in self.errors for part in parts)

        async with self._news:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._news.wait_for(lambda: said() or all(reader.done() for reader in self._readers))
            except TimeoutError:
                pass  # the assertion tells more
        assert said(), f"waited for {parts}: {self.text}\n{self.errors}"

    async def interrupt(self) -> int:
        """Send what CTRL-C sends, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.wait()

    async def wait(self) -> int:
        """Return the exit code once it has ended and all was read."""
        async with asyncio.timeout(SECONDS):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def _read(self, name: str, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""  # so ends a terminal whose other side was closed
            async with self._news:
                self._said[name] += data
                self._news.notify_all()
            if not data:
                return


@asynccontextmanager
async def typed(
    *arguments: str | Path,
    terminal: bool = False,
    columns: int = _COLUMNS,
    output: int = asyncio.subprocess.PIPE,
    **env: str,
) -> AsyncIterator[Typed]:
    """Run `smartmob` until the end of the block, on pipes or on a terminal of so many columns."""
    words = [str(QUICK_PROGRAMS / "smartmob"), *map(str, arguments)]
    if terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm-256color", **env)
        )
        os.close(theirs)
        command = Typed(process)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
        )
        command.read("output", reader)
    else:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=output, stderr=asyncio.subprocess.PIPE, env=environment(**env)
        )
        command, transport = Typed(process), None
        assert process.stderr is not None
        if process.stdout is not None:
            command.read("output", process.stdout)
        command.read("errors", process.stderr)
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await command.wait()
        if transport is not None:
            transport.close()
