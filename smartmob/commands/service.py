"""What the feature `commands` does: runs commands for its clients, and finds jobs and their output again."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import structlog

from smartmob.commands import model
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.call import CallContext, ClientSession, ReplySink, Speaker
from smartmob.commands.events import CloseRequested
from smartmob.commands.model import CommandDescription, Job, Outcome
from smartmob.commands.registry import Command, ExecutionMode, Registry, load
from smartmob.commands.spool import Outputs
from smartmob.commands.store import JobStore
from smartmob.commands.supervisor import RunningJob, Supervisor, inputs
from smartmob.commands.transfers import Transfers
from smartmob.errors import NotFound, SmartmobError
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.settings import CommandsSettings, inherited

log = structlog.get_logger()

CHUNK = 256 * 1024
_MAINTENANCE_SECONDS = 3600.0
_ABANDONED_DAYS = 365.0
_MOST_KEYS = 10_000
_END_SECONDS = 5.0


class CommandsService:
    """The use cases of the room. `start` it once `records` is written, and `close` it before that ends.

    `environment` is what programs inherit, by default the service's own without its settings.
    """

    def __init__(
        self,
        store: JobStore,
        records: GroupCommitWriter[Job],
        spawner: Spawner,
        bus: EventBus,
        tasks: TaskRegistry,
        settings: CommandsSettings,
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        least_free: int = 0,
    ) -> None:
        self.settings = settings
        self.spawner = spawner
        self.environment = inherited() if environment is None else environment
        self.tasks = tasks
        self._store = store
        self._records = records
        self._bus = bus
        self._folder = folder
        self.registry = Registry(COMMANDS)
        for module in settings.modules:
            for function in load(module):
                self.registry.add(function)
        limits = (settings.job_output, settings.total_output)
        self.least_free = least_free if settings.least_free is None else settings.least_free
        self._outputs = Outputs(folder / "output", *limits, self._forgotten, least_free=self.least_free)
        self.supervisor = Supervisor(self._outputs, records, tasks, bus, settings.most_jobs)
        self.transfers = Transfers()
        self._numbers = iter(range(0))
        self._numbering = asyncio.Lock()
        self._keys: dict[str, int] = {}
        self._unrecorded: list[int] = []
        self._ended: asyncio.Task[None] | None = None
        self.connections: set[Callable[[], object]] = set()

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find what is kept, and say of the jobs of a service that died that they are lost."""
        self._outputs.open()
        self._store.keeper = _identity(self._folder / "id")
        await self._refill()
        lost = await self._store.left_running()
        if lost:
            log.warning("jobs.lost", jobs=len(lost))
            await self._records.put([self._as_lost(job) for job in lost])

    async def end(self) -> None:
        """End the jobs while their clients are still connected, and then leave the clients."""
        if self._ended is None:
            self._ended = self.tasks.start("commands-end", self._end_jobs())
        await self._ended

    async def _end_jobs(self) -> None:
        await self.supervisor.close(self.settings.kill_grace + _END_SECONDS)
        for leave in tuple(self.connections):
            leave()

    async def close(self) -> None:
        """End the jobs, record how they ended, and close the files."""
        await self.end()
        self._outputs.close()

    def session(self, client: str) -> ClientSession:
        """Return the session of a new connection; its working directory is the home of the service's user."""
        return ClientSession(client, Path.home())

    # -- commands -----------------------------------------------------------------------------------------------

    def describe(self) -> list[CommandDescription]:
        """Return what there is."""
        return [command.description for command in self.registry]

    async def call(
        self,
        session: ClientSession,
        name: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        sink: ReplySink,
        *,
        native: bool = False,
        key: str | None = None,
    ) -> None:
        """Run a command to its end, and tell `sink` everything, refusals included.

        A job goes on when this is cancelled. A background command with a `key` that was called before is not started
        again, but followed from its beginning.
        """
        number = await self.number()
        try:
            command = self.registry.find(name)
            values = command.bind(*arguments, native=native)
        except SmartmobError as error:
            sink.acknowledge(number, job=False)
            sink.done(Outcome(exit_code=model.ERROR, error=error))
            return
        try:
            if command.background:
                outcome = await self._background(number, session, command, values, sink, key)
            else:
                outcome = await self._quick(number, session, command, values, sink)
        except Exception as error:
            outcome = Outcome(exit_code=model.ERROR, error=error)
        sink.done(outcome)

    def check(self, name: str, arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> None:
        """Raise NotFound or InvalidInput if there is no such command or it does not take these arguments."""
        self.registry.find(name).bind(*arguments, native=False)

    def call_inline(
        self, session: ClientSession, name: str, arguments: tuple[Sequence[Any], Mapping[str, Any]], sink: Speaker
    ) -> bool:
        """Run a command that is answered at once; return False, having done nothing, for any other one."""
        try:
            command = self.registry.find(name)
        except NotFound:
            return False
        if command.where is not ExecutionMode.INLINE:
            return False
        try:
            values = command.bind(*arguments, native=False)
            # An inline command waits for nothing, so it needs no more of its client than a Speaker.
            code = command.function(CallContext(0, session, cast(ReplySink, sink), self), **values)
            outcome = Outcome(exit_code=code or model.GOOD)
        except Exception as error:
            outcome = Outcome(exit_code=model.ERROR, error=error)
        sink.done(outcome)
        return True

    async def number(self) -> int:
        """Return a number that no command of this database ever had."""
        while True:
            try:
                return next(self._numbers)
            except StopIteration:
                async with self._numbering:
                    await self._refill()

    async def _quick(
        self, number: int, session: ClientSession, command: Command, values: dict[str, Any], sink: ReplySink
    ) -> Outcome:
        sink.acknowledge(number, job=False)
        call = CallContext(number, session, sink, self)
        result: Any
        if command.where is ExecutionMode.THREAD:
            call.within_thread(asyncio.get_running_loop())
            result = await asyncio.to_thread(command.function, call, **values)
        elif command.where is ExecutionMode.LOOP:
            result = await command.function(call, **values)
        else:
            result = command.function(call, **values)
        return result if isinstance(result, Outcome) else Outcome(exit_code=_code(result))

    async def _background(
        self,
        number: int,
        session: ClientSession,
        command: Command,
        values: dict[str, Any],
        sink: ReplySink,
        key: str | None,
    ) -> Outcome:
        known = self._keys.get(key) if key is not None else None
        if known is not None:
            sink.acknowledge(known, job=True)
            return await self.follow(known, 0, sink, hold=True)
        if key is not None:
            self._remember(key, number)
        record = self._record(number, session, command, values)
        starting = self.supervisor.start(record, lambda job: self._work(job, session, command, values, sink))
        try:
            # A client that leaves at this moment finds its job again by the key or in the list.
            job = await asyncio.shield(self.tasks.start(f"job-{number}-start", starting))
        except Exception:
            self._keys.pop(key or "", None)
            sink.acknowledge(number, job=False)
            raise
        sink.acknowledge(number, job=True)
        return await self.follow_running(job, 0, sink, hold=True)

    async def _work(
        self, job: RunningJob, session: ClientSession, command: Command, values: dict[str, Any], sink: ReplySink
    ) -> Outcome:
        call = CallContext(job.record.id, session, sink, self, job)
        if command.own_outcome:
            outcome: Outcome = await command.function(call, **values)
            return outcome
        orders: Any = asyncio.Queue() if command.where is ExecutionMode.LOOP else queue.SimpleQueue()
        job.control_by(inputs(orders))
        if command.where is ExecutionMode.LOOP:
            return Outcome(exit_code=_code(await command.function(call, orders, **values)))
        call.within_thread(asyncio.get_running_loop())
        return Outcome(exit_code=_code(await _in_own_thread(lambda: command.function(call, orders, **values))))

    def _record(self, number: int, session: ClientSession, command: Command, values: Mapping[str, Any]) -> Job:
        given = values.get("cmd")
        argv = [given] if isinstance(given, str) else given if isinstance(given, list) else _words(command.name, values)
        env = values.get("env")
        cwd = values.get("cwd")
        return Job(
            id=number,
            command=command.name,
            argv=[word.replace("\0", "\ufffd") for word in argv],
            cwd=str(session.path(cwd) if isinstance(cwd, str) else session.cwd).replace("\0", "\ufffd"),
            env_names=sorted(name.replace("\0", "\ufffd") for name in env) if isinstance(env, dict) else [],
            client=session.client,
            state=model.RUNNING,
            started_at=clock.now(),
        )

    def close_server(self, session: ClientSession) -> None:
        """Take note that a client wants the end of the service."""
        self._bus.publish(CloseRequested(session.client))

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def job(self, job_id: int) -> Job:
        """Return a job; raises NotFound."""
        running = self._as_running(job_id)
        if running is not None:
            return running
        job = await self._store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return self._as_kept(job)

    async def jobs(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs, newest first."""
        return self._as_now(await self._store.jobs(before, state, limit))

    async def jobs_between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at some time of a span, newest first."""
        return self._as_now(await self._store.jobs_between(start, end, limit))

    def _as_now(self, jobs: Sequence[Job]) -> list[Job]:
        return [self._as_running(job.id) or self._as_kept(job) for job in jobs]

    def _as_running(self, job_id: int) -> Job | None:
        running = self.supervisor.find(job_id)
        if running is None:
            return None
        spool = running.spool
        return msgspec.structs.replace(running.record, output_bytes=spool.end, kept_from=spool.start)

    async def output(self, job_id: int, offset: int | None, *, follow: bool) -> tuple[int, AsyncIterator[bytes]]:
        """Return where the output of a job begins from `offset` on, and the output; with `follow` until the job ends.

        Raises NotFound.
        """
        running = self.supervisor.find(job_id)
        if running is None and not self._outputs.has(job_id):
            job = await self.job(job_id)
            return job.output_bytes, self._chunks(job_id, None, 0, 0)
        spool = running.spool if running is not None else self._outputs.find(job_id)
        first = min(max(offset or 0, spool.start), spool.end)
        if running is not None and follow:
            return first, self._chunks(job_id, running, first, None)
        return first, self._chunks(job_id, None, first, spool.end)

    async def _chunks(
        self, job_id: int, running: RunningJob | None, offset: int, end: int | None
    ) -> AsyncIterator[bytes]:
        while end is None or offset < end:
            spool = running.spool if running is not None else self._outputs.find(job_id)
            offset = max(offset, spool.start)
            data = spool.read(offset, CHUNK) if offset < spool.end else b""
            if data:
                offset += len(data)
                yield data
            elif running is None or running.outcome is not None:
                return
            else:
                await running.beyond(offset)

    async def follow(self, job_id: int, offset: int, sink: ReplySink, *, hold: bool = False) -> Outcome:
        """Send the output of a job from `offset` on, and return how it ended, once it has; raises NotFound."""
        running = self.supervisor.find(job_id)
        if running is not None:
            return await self.follow_running(running, offset, sink, hold=hold)
        job = await self.job(job_id)
        spool = self._outputs.find(job_id) if self._outputs.has(job_id) else None
        if offset < job.kept_from:
            sink.gap(offset, job.kept_from)
            offset = job.kept_from
        while spool is not None and offset < spool.end:
            data = spool.read(offset, CHUNK)
            await sink.output(offset, data)
            offset += len(data)
        error = None if job.error is None else RuntimeError(job.error)
        return Outcome(exit_code=job.exit_code, state=job.state, end=job.output_bytes, error=error)

    async def follow_running(self, job: RunningJob, offset: int, sink: ReplySink, *, hold: bool) -> Outcome:
        """Send the output of a running job; with `hold` it does not run so far ahead that something is dropped."""
        spool = job.spool
        try:
            while True:
                if offset < spool.start:
                    sink.gap(offset, spool.start)
                    offset = spool.start
                if hold:
                    job.hold(sink, offset)
                if offset < spool.end:
                    data = spool.read(offset, CHUNK)
                    await sink.output(offset, data)
                    offset += len(data)
                elif job.outcome is not None:
                    return job.outcome
                else:
                    await job.beyond(offset)
        finally:
            job.release(sink)

    # -- keeping ------------------------------------------------------------------------------------------------

    def _as_kept(self, job: Job) -> Job:
        """Return a finished job with what is kept of its output now."""
        kept = self._outputs.find(job.id).start if self._outputs.has(job.id) else job.output_bytes
        return msgspec.structs.replace(job, kept_from=kept)

    def _as_lost(self, job: Job) -> Job:
        spool = self._outputs.find(job.id) if self._outputs.has(job.id) else None
        error = "the service ended while the job ran, and the job with it"
        return msgspec.structs.replace(
            job,
            state=model.LOST,
            ended_at=clock.now(),
            error=error,
            output_bytes=0 if spool is None else spool.end,
            kept_from=0 if spool is None else spool.start,
        )

    def _forgotten(self, job_id: int) -> None:
        self._unrecorded.append(job_id)
        log.info("job.output_dropped", job=job_id)

    async def maintain_for_ever(self) -> None:
        """Remove what has been kept long enough, every hour."""
        while True:
            try:
                await self.maintain(clock.now())
            except Exception as error:
                log.warning("commands.maintenance_failed", reason=str(error))
            await asyncio.sleep(_MAINTENANCE_SECONDS)

    async def maintain(self, now: datetime) -> int:
        """Remove the jobs that have been kept long enough; return how many."""
        forgotten, self._unrecorded = self._unrecorded, []
        if forgotten:
            await self._store.forget_output(forgotten)
        expired = await self._store.expire(now - timedelta(days=self.settings.keep_days))
        await self._store.expire_abandoned(now - timedelta(days=max(_ABANDONED_DAYS, 10 * self.settings.keep_days)))
        for job_id in expired:
            self._outputs.remove(job_id)
        if expired:
            log.info("jobs.expired", jobs=len(expired))
        return len(expired)

    async def _refill(self) -> None:
        self._numbers = iter(await self._store.reserve())

    def _remember(self, key: str, number: int) -> None:
        self._keys[key] = number
        if len(self._keys) > _MOST_KEYS:
            del self._keys[next(iter(self._keys))]


def _code(result: object) -> int:
    return result if isinstance(result, int) else model.GOOD


def _words(name: str, values: Mapping[str, Any]) -> list[str]:
    return [name, *(f"{key}={value!r}"[:200] for key, value in values.items())]


async def _in_own_thread(function: Any) -> Any:
    """Return what `function` returns in a thread that may run for hours and does not keep the service from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, daemon=True).start()
    return await done


def _identity(path: Path) -> UUID:
    """Return the id of a data directory, which is made the first time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{uuid4()}\n")
    return UUID(path.read_text().strip())
