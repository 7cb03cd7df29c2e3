"""A running command as its function sees it, and the interfaces on both of its sides.

A function gets a `CallContext`. Replies to the client go through a `ReplySink`; each way to call a command (WebSocket,
HTTP, conplyent's wire) has its own. `CommandServices` is the part of the service that commands may use.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from smartmob.commands.model import STDOUT, Outcome
from smartmob.commands.prepared_run import ProgramPreparation
from smartmob.commands.running_job import RunningJob
from smartmob.commands.session import ClientSession
from smartmob.commands.transfers import TransferLocks
from smartmob.feature_settings import CommandsSettings
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner


class InlineReplySink(Protocol):
    """The receiver of the replies of a command that never waits."""

    def emit(self, value: object) -> None:
        """Send a message; this never blocks. Await `ReplySink.drain` between many messages."""

    def finish(self, outcome: Outcome) -> None:
        """Report how the command has ended. It is the last call."""


class ReplySink(InlineReplySink, Protocol):
    """The receiver of the replies of one command, and the source of the bytes that the client sends to it."""

    def acknowledge(self, number: int, job: bool) -> None:
        """Report that the command has started, with its number, which is the id of a job if `job` is true."""

    async def drain(self) -> None:
        """Wait until the client can receive more."""

    async def send_output(self, offset: int, data: bytes | memoryview, stream: int = STDOUT) -> None:
        """Send the bytes at `offset` of a job's output or of a file, at the pace of the client."""

    def report_gap(self, first: int, last: int) -> None:
        """Report that the bytes from offset `first` up to `last` are no longer kept."""

    async def receive(self) -> bytes | None:
        """Return the next bytes that the client sends to the command, or None after the last ones."""


class RunningJobs(Protocol):
    """The running jobs."""

    def __iter__(self) -> Iterator[RunningJob]:
        """Iterate over all running jobs."""

    def find(self, job_id: int) -> RunningJob | None:
        """Return a running job, or None."""


class CommandServices(Protocol):
    """The part of the service that commands may use."""

    @property
    def settings(self) -> CommandsSettings:
        """Return the settings of the feature."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that programs inherit."""

    @property
    def least_free(self) -> int:
        """Return how many bytes of a disk must stay free."""

    @property
    def spawner(self) -> Spawner:
        """Return the spawner of programs."""

    @property
    def tasks(self) -> TaskRegistry:
        """Return the registry in which tasks are started."""

    @property
    def jobs(self) -> RunningJobs:
        """Return the running jobs."""

    @property
    def transfers(self) -> TransferLocks:
        """Return the files that are being uploaded."""

    @property
    def programs(self) -> ProgramPreparation | None:
        """Return the feature that prepares programs, if there is one."""

    async def follow(
        self, job_id: int, offset: int, sink: ReplySink, *, hold: bool = False, apart: bool = False
    ) -> Outcome:
        """Send the output of a job to `sink` from `offset` on until the job ends; return how. Raises NotFound."""

    def request_close(self, client: str) -> None:
        """Ask the service to stop, on behalf of a client."""


class CallContext:
    """One call of a command: the first argument of its function."""

    __slots__ = ("_left", "_loop", "_sink", "id", "job", "services", "session")

    def __init__(
        self,
        number: int,
        session: ClientSession,
        sink: ReplySink,
        services: CommandServices,
        job: RunningJob | None = None,
    ) -> None:
        self.id = number
        self.session = session
        self.services = services
        self.job = job
        self._sink = sink
        self._left = False
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None

    def path(self, text: str) -> Path:
        """Return an absolute path. A relative path begins at the client's working directory; `~` is the user's home."""
        return self.session.path(text)

    def leave(self) -> None:
        """Record that the client has left, which ends a thread at its next message."""
        self._left = True

    def allow_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `emit` be called from a thread other than the loop's, where it then waits for the client."""
        self._loop = (loop, threading.get_ident())

    def emit(self, value: object) -> None:
        """Send a message to the client. A thread waits until the client can receive more; the loop never waits.

        In a thread it raises ConnectionAbortedError when the client has left, so that the thread ends.
        """
        if self._loop is None or threading.get_ident() == self._loop[1]:
            self._emit(value)
        elif self._left:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the client has left")
        else:
            asyncio.run_coroutine_threadsafe(self.emit_and_drain(value), self._loop[0]).result()

    async def emit_and_drain(self, value: object) -> None:
        """Send a message to the client, and wait until it can receive more."""
        self._emit(value)
        if self.job is None:
            await self._sink.drain()
        else:
            await self.job.wait_for_readers()

    # The names that modules of commands written for earlier releases use.
    say, tell = emit, emit_and_drain

    async def send(self, offset: int, data: bytes | memoryview) -> None:
        """Send the bytes at `offset` of a file to the client."""
        await self._sink.send_output(offset, data)

    async def receive(self) -> bytes | None:
        """Return the next bytes that the client sends, or None after the last ones."""
        return await self._sink.receive()

    async def follow(self, job_id: int, offset: int, *, hold: bool = False, apart: bool = False) -> Outcome:
        """Send the output of a job to the client from `offset` on until the job ends; return how. Raises NotFound."""
        return await self.services.follow(job_id, offset, self._sink, hold=hold, apart=apart)

    def _emit(self, value: object) -> None:
        if self.job is None:
            self._sink.emit(value)
        else:
            self.job.emit(value)
