"""One running command as its function sees it: who called, where, and the ways to speak to the client."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from smartmob.commands.model import Outcome

if TYPE_CHECKING:
    from smartmob.commands.service import CommandsService
    from smartmob.commands.supervisor import RunningJob


class Speaker(Protocol):
    """The client's end of a command that is answered at once."""

    def say(self, value: object) -> None:
        """One message. Who says many waits for `room` between them."""

    def done(self, outcome: Outcome) -> None:
        """The command has ended; the last thing that is said."""


class ReplySink(Speaker, Protocol):
    """The client's end of one command: what a door must do with what the command says."""

    def acknowledge(self, number: int, job: bool) -> None:
        """The command is taken; its number, and whether that is a job's."""

    async def room(self) -> None:
        """Return when the client has room for more."""

    async def output(self, offset: int, data: bytes | memoryview) -> None:
        """Send bytes that stand at `offset` of a job's output or a file, as the client has room for them."""

    def gap(self, first: int, last: int) -> None:
        """The bytes from `first` to `last` are no longer kept."""

    async def receive(self) -> bytes | None:
        """Return the next bytes that the client sends to the command, or None at their end."""


class ClientSession:
    """One connection of a client: who it is, and its own working directory."""

    def __init__(self, client: str, home: Path) -> None:
        self.client = client
        self.cwd = home

    def path(self, given: str) -> Path:
        """Return a path of the client's, which begins at its working directory."""
        return Path(os.path.normpath(self.cwd / Path(given).expanduser()))


class CallContext:
    """What a command's function gets first."""

    __slots__ = ("_loop", "_sink", "id", "job", "service", "session")

    def __init__(
        self,
        number: int,
        session: ClientSession,
        sink: ReplySink,
        service: CommandsService,
        job: RunningJob | None = None,
    ) -> None:
        self.id = number
        self.session = session
        self.service = service
        self.job = job
        self._sink = sink
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None

    def path(self, given: str) -> Path:
        """Return a path as the client means it."""
        return self.session.path(given)

    def within_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `say` be called from a thread, for which it then waits."""
        self._loop = (loop, threading.get_ident())

    def say(self, value: object) -> None:
        """Tell the client something. In a thread this waits until there is room; in the loop use `tell` for many."""
        if self._loop is None or threading.get_ident() == self._loop[1]:
            self._say(value)
        else:
            asyncio.run_coroutine_threadsafe(self.tell(value), self._loop[0]).result()

    async def tell(self, value: object) -> None:
        """Tell the client something, and wait until it has room for more."""
        self._say(value)
        if self.job is None:
            await self._sink.room()
        else:
            await self.job.room()

    async def send(self, offset: int, data: bytes | memoryview) -> None:
        """Send a part of a file or of an output to the client."""
        await self._sink.output(offset, data)

    async def receive(self) -> bytes | None:
        """Return the next bytes that the client sends, or None at their end."""
        return await self._sink.receive()

    async def follow(self, job_id: int, offset: int, *, hold: bool = False) -> Outcome:
        """Send the output of a job from `offset` on until its end."""
        return await self.service.follow(job_id, offset, self._sink, hold=hold)

    def _say(self, value: object) -> None:
        if self.job is None:
            self._sink.say(value)
        else:
            self.job.say(value)
