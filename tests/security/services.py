"""Services to attack: the installed command with and without a token, its log, its cost and its memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests import loop_stalls
from tests.acceptance.commands import PROGRAMS, SECONDS, environment, kill_postgres, lay_database
from tests.kernel.raw import Reply, wire
from tests.loop_stalls import Stalls
from tests.shared import folder_of_files

TOKEN = "a-token-that-nobody-guesses"
STALL = 0.1
"""The longest stall of the event loop that an attack may cause, in seconds."""
REPEATS = 5
"""The measurements of an attack of which the best counts."""


class Target:
    """A running service. `events` is its log so far."""

    def __init__(self, folder: Path, token: str | None, *arguments: str) -> None:
        self.token = token
        self.log = folder / "service.log"
        self.data = folder / "data"
        measured = folder / "stalls"
        self.stalls = Stalls(measured)
        given = {"SMARTMOB_TOKEN": token} if token else {}
        lay_database(self.data)
        self.process = subprocess.Popen(
            [
                *(PROGRAMS / "python", loop_stalls.__file__, measured),
                *("serve", "--port", "0", "--data-dir", self.data, "--log-format", "json"),
                *("--logging-endpoint", self.log.as_uri(), *arguments),
            ],
            env=environment(**given),
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        self.port = self._bound()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the text of its log so far."""
        written = self.log.read_bytes() if self.log.exists() else b""
        # The last line may be half written.
        return [orjson.loads(line) for line in written.split(b"\n")[:-1]]

    @property
    def memory(self) -> int:
        """Return the peak of its memory in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    @property
    def seconds(self) -> float:
        """Return its CPU time in seconds."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def forget_peak(self) -> None:
        """Reset the peak that `memory` returns to the present use."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def authorization(self) -> str:
        """Return the header with the token."""
        return f"Authorization: Bearer {self.token}\r\n" if self.token else ""

    async def send(self, data: bytes, head_only: bool = False) -> Reply | None:
        """Return the answer to the bytes, or None if the connection was closed without one."""
        async with wire(self.port, 2**20) as line:
            try:
                line.send(data)
                return await line.reply(head_only)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def lives(self) -> bool:
        """Return whether it answers a good request."""
        reply = await self.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return reply is not None and reply.status == 200

    def stop(self) -> int:
        """Stop it in order; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            kill_postgres(self.data)

    def _bound(self) -> int:
        return asyncio.run(_until_bound(psutil.Process(self.process.pid), self))


async def _until_bound(process: psutil.Process, target: Target) -> int:
    async with asyncio.timeout(SECONDS):
        while True:
            assert process.is_running(), "the service ended"
            for event in target.events:
                if event["event"] == "bind" and event["transport"] == "tcp":
                    return int(event["port"])
            await asyncio.sleep(0.02)


@contextmanager
def attacked(token: str | None, *arguments: str) -> Iterator[Target]:
    """Run a service until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="smartmob-test-", dir=folder_of_files()))
    os.chmod(folder, 0o711)
    target = Target(folder, token, *arguments)
    try:
        yield target
    finally:
        target.stop()
        shutil.rmtree(folder, ignore_errors=True)
