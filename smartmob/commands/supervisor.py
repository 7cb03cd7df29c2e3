"""Starts jobs, ends them with the service, and records how each has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from smartmob.commands import model
from smartmob.commands.events import JobEnded, JobStarted
from smartmob.commands.model import Job, Outcome
from smartmob.commands.registry import INPUT, KILL
from smartmob.commands.running_job import RunningJob
from smartmob.commands.spool import Spools
from smartmob.counts import counted
from smartmob.errors import Conflict, Unavailable
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

_RETRY_SECONDS = 1.0
"""Seconds between attempts to record how a job has ended, while the database is unavailable."""

JobFunction = Callable[[RunningJob], Awaitable[Outcome]]
"""Runs a job to its end."""


class JobSupervisor:
    """The jobs that run, at most `most` at a time."""

    def __init__(self, spools: Spools, records: RowWriter[Job], tasks: TaskRegistry, bus: EventBus, most: int) -> None:
        self._spools = spools
        self._records = records
        self._tasks = tasks
        self._bus = bus
        self._most = most
        self._running: dict[int, RunningJob] = {}
        self._tasks_of_jobs: set[asyncio.Task[None]] = set()
        self._closing = False

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(tuple(self._running.values()))

    def publish_call(self, called: CommandCalled) -> None:
        """Publish that a command was called."""
        self._bus.publish(called)

    def find(self, job_id: int) -> RunningJob | None:
        """Return a running job, or None."""
        return self._running.get(job_id)

    def _check_free(self) -> None:
        """Raise Conflict when no more jobs can be started."""
        if self._closing:
            raise Conflict("the service is stopping")
        if len(self._running) >= self._most:
            raise Conflict(f"{counted(self._most, 'job')} under way already; end one, or raise --commands-most-jobs")

    async def start(self, record: Job, function: JobFunction) -> RunningJob:
        """Record a job and start it; raises Conflict when too many run, Unavailable when it cannot be recorded."""
        self._check_free()
        job = RunningJob(record, self._spools.create(record.id), self._spools)
        self._running[record.id] = job
        try:
            await self._records.put((record,))
        except BaseException:
            self._forget(job)
            raise
        self._bus.publish(JobStarted(record.id, record.command, record.client))
        log.info("job.started", job=record.id, command=record.command, client=record.client)
        task = self._tasks.start(f"job-{record.id}", self._run(job, function))
        self._tasks_of_jobs.add(task)
        task.add_done_callback(self._tasks_of_jobs.discard)
        return job

    async def close(self, grace: float) -> None:
        """End every job and wait until their records are written; cancel those that run after `grace` seconds."""
        self._closing = True
        jobs = tuple(self._running.values())
        for job in jobs:
            job.stop()
        try:
            async with asyncio.timeout(grace):
                for job in jobs:
                    await job.recorded.wait()
        except TimeoutError:
            # Functions of custom commands that ignore KILL; programs were killed.
            for task in tuple(self._tasks_of_jobs):
                task.cancel()
            await asyncio.gather(*self._tasks_of_jobs, return_exceptions=True)

    async def _run(self, job: RunningJob, function: JobFunction) -> None:
        try:
            outcome = await function(job)
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
            signal=outcome.signal,
            error=None if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}",
            output_bytes=spool.end,
            kept_from=spool.start,
        )
        self._spools.finish(spool)
        log.info("job.ended", job=job.record.id, state=state, exit_code=code)
        # Stored before the readers are notified, so that a client that saw the end of a job finds it recorded later.
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
        self._spools.finish(job.spool)
        self._spools.remove(job.record.id)


class QueueControls:
    """The controls of a job that is a function: each operation becomes a message in the function's queue."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def signal(self, number: int) -> None:
        """Send KILL with the number of the signal."""
        self._queue.put_nowait({"type": KILL, "value": number})

    def kill(self) -> None:
        """Send KILL."""
        self._queue.put_nowait({"type": KILL})

    async def write(self, data: bytes) -> None:
        """Send a text as INPUT."""
        self._queue.put_nowait({"type": INPUT, "value": data.decode(errors="replace")})

    def end_input(self) -> None:
        """Send None as INPUT."""
        self._queue.put_nowait({"type": INPUT, "value": None})

    def resize(self, rows: int, columns: int) -> None:
        """Raise Conflict: a function has no terminal."""
        raise Conflict("this job has no terminal")
