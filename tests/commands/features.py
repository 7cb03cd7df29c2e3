"""The feature `commands` without the rest of the service, and a client that records all replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmob.commands.call import ClientSession
from smartmob.commands.model import Outcome
from smartmob.commands.service import CommandsService
from smartmob.commands.store import JobStore
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.settings import CommandsSettings, DatabaseSettings


@dataclass(frozen=True, slots=True)
class RunningFeature:
    """A running feature and what it is made of."""

    service: CommandsService
    store: JobStore
    bus: EventBus
    tasks: TaskRegistry
    home: Path

    def session(self) -> ClientSession:
        """Return a session whose working directory is the test's own."""
        session = self.service.session("test")
        session.cwd = self.home
        return session

    async def call(self, name: str, *args: Any, session: ClientSession | None = None, **kwargs: Any) -> Told:
        """Run a command to its end and return what it said."""
        told = Told()
        await self.service.call(session or self.session(), name, (args, kwargs), told, native=True)
        return told

    def begin(self, name: str, *args: Any, **kwargs: Any) -> Told:
        """Start a command and return what it says as it comes."""
        told = Told()
        told.task = self.tasks.start(
            "test-call", self.service.call(self.session(), name, (args, kwargs), told, native=True)
        )
        return told


class Told:
    """Takes what a command says. While `open` is not set it has no room for more."""

    def __init__(self) -> None:
        self.number = 0
        self.job = False
        self.said: list[Any] = []
        self.data = b""
        self.offsets: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.outcome: Outcome | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.ended = asyncio.Event()
        self.inputs: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    def acknowledge(self, number: int, job: bool) -> None:
        self.number, self.job = number, job

    def say(self, value: object) -> None:
        self.said.append(value)

    async def room(self) -> None:
        await self.open.wait()

    async def output(self, offset: int, data: bytes | memoryview) -> None:
        await self.open.wait()
        self.offsets.append(offset)
        self.data += data

    def gap(self, first: int, last: int) -> None:
        self.gaps.append((first, last))

    async def receive(self) -> bytes | None:
        return await self.inputs.get()

    def done(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended.set()

    @property
    def code(self) -> int | None:
        """Return the exit code."""
        assert self.outcome is not None
        return self.outcome.exit_code

    @property
    def error(self) -> BaseException | None:
        """Return the error with which the command ended."""
        assert self.outcome is not None
        return self.outcome.error


@asynccontextmanager
async def feature(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[RunningFeature]:
    """Run a feature until the end of the block; its data directory is kept."""
    tasks, bus = TaskRegistry(), EventBus()
    database = Database(DatabaseSettings(url=database_url, patience=2.0), None)
    await database.open()
    store = JobStore(database)
    records = GroupCommitWriter("jobs", database, store.commit)
    spawner = Spawner(tasks)
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    service = CommandsService(
        *(store, records, spawner, bus, tasks, CommandsSettings(**{"kill_grace": 1.0, **settings})),
        folder=folder / "commands",
    )
    await spawner.start()
    await records.start(tasks)
    await service.start()
    try:
        yield RunningFeature(service, store, bus, tasks, home)
    finally:
        await service.close()
        await records.close()
        await spawner.close()
        await tasks.close()
        await database.close()
