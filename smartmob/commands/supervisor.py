"""The jobs that run: each goes on whoever watches, its output is kept, and its record tells how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from smartmob.commands import model
from smartmob.commands.events import JobEnded, JobStarted
from smartmob.commands.model import Job, Outcome
from smartmob.commands.spool import Outputs, Spool
from smartmob.errors import Conflict, Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.disk import DiskLow
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry

log = structlog.get_logger()

_NO_SPACE_SECONDS = 1.0
_RETRY_SECONDS = 1.0


class Controls(Protocol):
    """What can be done to a job while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """End it, by force if need be."""

    async def write(self, data: bytes) -> None:
        """Give it input; returns when there is room for more."""

    def end_input(self) -> None:
        """Tell it that no more input comes."""

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal."""


class RunningJob:
    """A job while it runs: its record so far, its output, and who is told of more."""

    def __init__(self, record: Job, spool: Spool, outputs: Outputs) -> None:
        self.record = record
        self.spool = spool
        self._controls: Controls | None = None
        self.outcome: Outcome | None = None
        self.stopping = False
        self.disk_low: DiskLow | None = None
        self._outputs = outputs
        self._waiting: list[asyncio.Future[None]] = []
        self._held_at: dict[object, int] = {}
        self._released = asyncio.Event()
        self._may_run_ahead = outputs.allowance
        self._settled = asyncio.Event()
        self.recorded = asyncio.Event()

    def control_by(self, controls: Controls) -> None:
        """Take note that the work has begun, and how it can be told something."""
        self._controls = controls
        self._settled.set()
        if self.stopping:
            controls.kill()

    async def controls(self) -> Controls | None:
        """Return what can be done to the job, once it has begun; None when it has ended."""
        await self._settled.wait()
        return self._controls if self.outcome is None else None

    def stop(self) -> None:
        """Have the job end because the service does."""
        self.stopping = True
        if self._controls is not None:
            self._controls.kill()

    def append(self, data: bytes) -> None:
        """Keep output and tell those who watch; raises OSError when the disk takes nothing more.

        When too little of the disk is free, the job is told so in its output and stopped, and DiskLow is raised.
        """
        if self.disk_low is not None:
            raise self.disk_low
        try:
            self._outputs.append(self.spool, data)
        except DiskLow as error:
            self._stop_for(error)
            raise
        finally:
            self._tell()

    def _stop_for(self, error: DiskLow) -> None:
        self.disk_low = error
        log.error("job.disk_low", job=self.record.id, reason=error.strerror)
        with suppress(OSError):
            self.spool.append(f"\n[smartmob] the job is stopped, its output ends here: {error.strerror}\n".encode())
        if self._controls is not None:
            self._controls.kill()

    def say(self, value: object) -> None:
        """Keep a message of a command that is a function as a line of output."""
        self.append(as_line(value))

    async def keep(self, data: bytes) -> None:
        """Keep output; while the disk is full, wait, so that nothing of it is lost. Of a stopped job it is dropped."""
        while True:
            try:
                self.append(data)
            except DiskLow:
                return None
            except OSError as error:
                log.error("job.output_stuck", job=self.record.id, reason=error.strerror)
                await asyncio.sleep(_NO_SPACE_SECONDS)
            else:
                return await self.room()

    async def room(self) -> None:
        """Return when nobody who must not miss anything is too far behind."""
        while self._held_at and self.spool.end - min(self._held_at.values()) > self._may_run_ahead:
            self._released.clear()
            await self._released.wait()

    def hold(self, holder: object, offset: int) -> None:
        """Let nothing from `offset` on be dropped while `holder` reads."""
        self._held_at[holder] = offset
        self._released.set()

    def release(self, holder: object) -> None:
        """Let the job go on without regard to `holder`."""
        self._held_at.pop(holder, None)
        self._released.set()

    async def beyond(self, offset: int) -> None:
        """Return when there is output from `offset` on, or the job has ended."""
        while self.spool.end <= offset and self.outcome is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def finish(self, outcome: Outcome) -> None:
        """Tell those who watch that this was all."""
        self.outcome = outcome
        self._settled.set()
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def as_line(value: object) -> bytes:
    """Return a message as output: texts and bytes as they are, other values as JSON, each with a line end."""
    if isinstance(value, bytes | bytearray):
        data = bytes(value)
    elif isinstance(value, str):
        data = value.encode(errors="surrogateescape")
    elif isinstance(value, BaseException):
        data = f"{type(value).__name__}: {value}".encode(errors="replace")
    else:
        data = msgspec.json.encode(value, enc_hook=str)
    return data if data.endswith(b"\n") else data + b"\n"


Work = Callable[[RunningJob], Awaitable[Outcome]]


class Supervisor:
    """Starts jobs and knows those that run."""

    def __init__(
        self, outputs: Outputs, records: GroupCommitWriter[Job], tasks: TaskRegistry, bus: EventBus, most: int
    ) -> None:
        self._outputs = outputs
        self._records = records
        self._tasks = tasks
        self._bus = bus
        self._most = most
        self._running: dict[int, RunningJob] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closing = False

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(tuple(self._running.values()))

    def find(self, job_id: int) -> RunningJob | None:
        """Return a job that runs."""
        return self._running.get(job_id)

    async def start(self, record: Job, work: Work) -> RunningJob:
        """Record a job and start it; raises Conflict when too many run, Unavailable when it cannot be recorded."""
        if self._closing or len(self._running) >= self._most:
            raise Conflict(
                "the service is stopping"
                if self._closing
                else f"{self._most} jobs run already; end one, or raise --commands-most-jobs"
            )
        job = RunningJob(record, self._outputs.begin(record.id), self._outputs)
        self._running[record.id] = job
        try:
            await self._records.put((record,))
        except BaseException:
            self._forget(job)
            raise
        self._bus.publish(JobStarted(record.id, record.command, record.client))
        log.info("job.started", job=record.id, command=record.command, client=record.client)
        task = self._tasks.start(f"job-{record.id}", self._run(job, work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return job

    async def close(self, grace: float) -> None:
        """End every job and return when their records are written; what does not end within `grace` is left behind."""
        self._closing = True
        jobs = tuple(self._running.values())
        for job in jobs:
            job.stop()
        try:
            async with asyncio.timeout(grace):
                for job in jobs:
                    await job.recorded.wait()
        except TimeoutError:
            # Functions of custom commands that do not listen; programs were killed.
            for task in tuple(self._work):
                task.cancel()
            await asyncio.gather(*self._work, return_exceptions=True)

    async def _run(self, job: RunningJob, work: Work) -> None:
        try:
            outcome = await work(job)
        except asyncio.CancelledError:
            outcome = Outcome(exit_code=None, state=model.STOPPED)
            await self._end(job, outcome)
            raise
        except Exception as error:
            outcome = Outcome(exit_code=model.ERROR, error=error, state=model.FAILED)
        await self._end(job, outcome)

    async def _end(self, job: RunningJob, outcome: Outcome) -> None:
        spool = job.spool
        if job.disk_low is not None:
            outcome = Outcome(exit_code=model.ERROR, error=job.disk_low, state=model.FAILED)
        state = model.STOPPED if job.stopping else outcome.state or model.EXITED
        code = outcome.exit_code
        job.record = msgspec.structs.replace(
            job.record,
            state=state,
            ended_at=clock.now(),
            exit_code=code,
            signal=-code if code is not None and code < 0 and state != model.FAILED else None,
            error=None if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}",
            output_bytes=spool.end,
            kept_from=spool.start,
        )
        self._outputs.finish(spool)
        log.info("job.ended", job=job.record.id, state=state, exit_code=code)
        # Who is told that a job has ended finds it so afterwards, whatever happens to the service.
        stored = await self._store(job)
        job.finish(msgspec.structs.replace(outcome, state=state, end=spool.end))
        self._bus.publish(JobEnded(job.record.id, state, code))
        while not stored and not self._closing:
            await asyncio.sleep(_RETRY_SECONDS)
            stored = await self._store(job)
        self._running.pop(job.record.id, None)
        job.recorded.set()

    async def _store(self, job: RunningJob) -> bool:
        try:
            await self._records.put((job.record,))
        except Unavailable as error:
            log.warning("job.not_recorded", job=job.record.id, reason=str(error))
            return False
        return True

    def _forget(self, job: RunningJob) -> None:
        del self._running[job.record.id]
        self._outputs.finish(job.spool)
        self._outputs.remove(job.record.id)


def inputs(queue: Any) -> Controls:
    """Return the controls of a command that is a function, which gets what it is told from a queue."""
    return _QueueControls(queue)


class _QueueControls:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def signal(self, number: int) -> None:
        self._queue.put_nowait({"type": 1, "value": number})

    def kill(self) -> None:
        self._queue.put_nowait({"type": 1})

    async def write(self, data: bytes) -> None:
        self._queue.put_nowait({"type": 0, "value": data.decode(errors="replace")})

    def end_input(self) -> None:
        self._queue.put_nowait({"type": 0, "value": None})

    def resize(self, rows: int, columns: int) -> None:
        raise Conflict("this job has no terminal")
