"""The feature `commands` without the rest of the service, and a sink that records all replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmob.commands.feature import output_folder_id
from smartmob.commands.model import Job, Outcome
from smartmob.commands.prepared_run import ProgramPreparation
from smartmob.commands.service import CommandsService
from smartmob.commands.session import ClientSession
from smartmob.commands.store import JobStore
from smartmob.feature_settings import CommandsSettings, DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner

PATIENCE_SECONDS = 120.0
"""The time that records wait for the database, which is always there: on a busy machine an answer may take seconds."""


@dataclass(frozen=True, slots=True)
class RunningFeature:
    """A running feature and its parts."""

    service: CommandsService
    store: JobStore
    records: GroupCommitWriter[Job]
    bus: EventBus
    tasks: TaskRegistry
    home: Path

    def session(self) -> ClientSession:
        """Return a session whose working directory is the test's own."""
        session = self.service.session("test")
        session.cwd = self.home
        return session

    async def call(self, name: str, *args: Any, session: ClientSession | None = None, **kwargs: Any) -> RecordingSink:
        """Run a command to its end and return its replies."""
        reply = RecordingSink()
        await self.service.calls.run(session or self.session(), name, (args, kwargs), reply, native=True)
        return reply

    def begin(self, name: str, *args: Any, **kwargs: Any) -> RecordingSink:
        """Start a command and return its replies as they come."""
        reply = RecordingSink()
        work = self.service.calls.run(self.session(), name, (args, kwargs), reply, native=True)
        reply.task = self.tasks.start("test-call", work)
        return reply


class RecordingSink:
    """Keeps the replies of a command. While `open` is not set, the command must wait."""

    def __init__(self) -> None:
        self.number = 0
        self.job = False
        self.values: list[Any] = []
        # To add to bytes would copy them: an output of 50 MB would take seconds.
        self.data = bytearray()
        self.streams = {1: bytearray(), 2: bytearray()}
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

    def emit(self, value: object) -> None:
        self.values.append(value)

    async def drain(self) -> None:
        await self.open.wait()

    async def send_output(self, offset: int, data: bytes | memoryview, stream: int = 1) -> None:
        await self.open.wait()
        self.offsets.append(offset)
        self.data += data
        self.streams[stream] += data

    def report_gap(self, first: int, last: int) -> None:
        self.gaps.append((first, last))

    async def receive(self) -> bytes | None:
        return await self.inputs.get()

    def finish(self, outcome: Outcome) -> None:
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
async def feature(
    database_url: str, folder: Path, *, programs: ProgramPreparation | None = None, **settings: Any
) -> AsyncIterator[RunningFeature]:
    """Run a feature until the end of the block; its data directory is kept."""
    tasks, bus = TaskRegistry(), EventBus()
    database = Database(DatabaseSettings(url=database_url, patience=PATIENCE_SECONDS), None)
    await database.open()
    store = JobStore(database, output_folder_id(folder))
    records = GroupCommitWriter("jobs", database, store.commit)
    spawner = Spawner(tasks)
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    service = CommandsService(
        store,
        records,
        spawner,
        bus,
        tasks,
        CommandsSettings(**{"kill_grace": 1.0, **settings}),
        folder=folder / "commands",
        programs=programs,
    )
    await spawner.start()
    await records.start(tasks)
    await service.start()
    try:
        yield RunningFeature(service, store, records, bus, tasks, home)
    finally:
        await service.close()
        await records.close()
        await spawner.close()
        await tasks.close()
        await database.close()


async def read_output(commands: RunningFeature, job: int, offset: int | None = None) -> tuple[int, bytes]:
    """Return the offset of the first byte and the output that is kept now."""
    first, chunks = await commands.service.output.read(job, offset, follow=False)
    return first, b"".join([chunk async for chunk in chunks])
