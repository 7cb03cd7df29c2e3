"""The service of the feature `commands`: it is put together here, started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from smartmob.commands.builtin import COMMANDS
from smartmob.commands.call import ReplySink
from smartmob.commands.call_numbers import CallNumbers
from smartmob.commands.call_runner import CallRunner
from smartmob.commands.events import CloseRequested
from smartmob.commands.job_maintenance import JobMaintenance
from smartmob.commands.job_queries import JobQueries
from smartmob.commands.job_records import JobRecords
from smartmob.commands.model import Job, Outcome
from smartmob.commands.output_reader import OutputReader
from smartmob.commands.prepared_run import ProgramPreparation
from smartmob.commands.registry import Registry, load
from smartmob.commands.session import ClientSession
from smartmob.commands.spool import Spools
from smartmob.commands.supervisor import JobSupervisor
from smartmob.commands.transfers import TransferLocks
from smartmob.environment import inherited
from smartmob.feature_settings import CommandsSettings
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.disk import LeastFree
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner

log = get_logger()

_END_SECONDS = 5.0
"""Seconds beyond the grace of programs in which jobs must have ended and be recorded when the service stops."""


class _Services(msgspec.Struct, frozen=True):
    """The part of the service that commands may use; implements `call.CommandServices`."""

    settings: CommandsSettings
    environment: Mapping[str, str]
    least_free: int
    spawner: Spawner
    tasks: TaskRegistry
    jobs: JobSupervisor
    transfers: TransferLocks
    output: OutputReader
    bus: EventBus
    programs: ProgramPreparation | None

    async def follow(
        self, job_id: int, offset: int, sink: ReplySink, *, hold: bool = False, apart: bool = False
    ) -> Outcome:
        """Send the output of a job to `sink` from `offset` on until the job ends; return how. Raises NotFound."""
        return await self.output.follow(job_id, offset, sink, hold=hold, apart=apart)

    def request_close(self, client: str) -> None:
        """Publish that a client wants the service to stop."""
        self.bus.publish(CloseRequested(client))


class CommandsService:
    """The feature's parts: `calls` run commands, `jobs` finds jobs, `output` reads what they have written.

    Call `start` once the writer `records` runs, and `close` before the writer is closed. `environment` is inherited by
    programs; by default it is the service's own environment without its settings. `programs` prepares those of
    applications. `keeping` returns the id of the other running service that has the output of jobs in a folder.
    """

    def __init__(
        self,
        store: JobRecords,
        records: RowWriter[Job],
        spawner: Spawner,
        bus: EventBus,
        tasks: TaskRegistry,
        settings: CommandsSettings,
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        least_free: int = 0,
        programs: ProgramPreparation | None = None,
        guard: ReservationGuard | None = None,
        keeping: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        self.settings = settings
        self._keeping = keeping
        self.tasks = tasks
        self.registry = Registry(COMMANDS)
        for module in settings.modules:
            for function in load(module):
                self.registry.add(function)
        if settings.least_free is not None:
            least_free = LeastFree(settings.least_free, "--commands-least-free")
        self._folder = folder
        self._store = store
        self._spools = Spools(folder / "output", settings.job_output, settings.total_output, least_free=least_free)
        self._numbers = CallNumbers(store)
        self.supervisor = JobSupervisor(self._spools, records, tasks, bus, settings.most_jobs)
        self.jobs = JobQueries(store, self.supervisor, self._spools)
        self.output = OutputReader(self.jobs, self.supervisor, self._spools)
        self.maintenance = JobMaintenance(store, records, self._spools, settings.keep_days)
        services = _Services(
            settings=settings,
            environment=inherited() if environment is None else environment,
            least_free=least_free,
            spawner=spawner,
            tasks=tasks,
            jobs=self.supervisor,
            transfers=TransferLocks(),
            output=self.output,
            bus=bus,
            programs=programs,
        )
        self.calls = CallRunner(self.registry, self._numbers, self.supervisor, self.output, services, guard=guard)
        self._stopping: asyncio.Task[None] | None = None
        self._disconnects: set[Callable[[], object]] = set()

    async def start(self) -> None:
        """Find the output that is kept, and record as lost the jobs of a service that was killed."""
        self._spools.open()
        _ = self._store.data_directory_id  # its file is made now: later the disk may be full
        await self._numbers.reserve()
        await self.maintenance.record_lost_jobs()

    @property
    def output_folder(self) -> str:
        """Return the id of the folder that has the output of jobs; it is read at the start."""
        return str(self._store.data_directory_id)

    async def elsewhere(self, job_id: int) -> str | None:
        """Return the id of the other service that has the output of a job, or None if it is here or nowhere."""
        if self._keeping is None or (folder := await self.jobs.output_folder(job_id)) is None:
            return None
        return await self._keeping(folder)

    async def stop(self) -> None:
        """End the jobs while their clients are still connected, and then disconnect the clients."""
        if self._stopping is None:
            self._stopping = self.tasks.start("commands-end", self._stop_jobs())
        await self._stopping

    async def _stop_jobs(self) -> None:
        await self.supervisor.close(self.settings.kill_grace + _END_SECONDS)
        for disconnect in tuple(self._disconnects):
            disconnect()

    async def close(self) -> None:
        """End the jobs, record how they ended, and close the files."""
        await self.stop()
        try:
            await self._numbers.give_back()
        except Exception as error:  # a lost or broken database costs a hundred numbers, and must not keep the rest open
            log.warning("commands.numbers_lost", exc_info=error)
        self._spools.close()

    def session(self, client: str) -> ClientSession:
        """Return the session of a new connection; its working directory is the home of the service's user."""
        return ClientSession(client, Path.home())

    def add_connection(self, disconnect: Callable[[], object]) -> None:
        """Register a connection: `disconnect` is called when the service stops, after the jobs have ended."""
        self._disconnects.add(disconnect)

    def remove_connection(self, disconnect: Callable[[], object]) -> None:
        """Remove a connection that has ended."""
        self._disconnects.discard(disconnect)
