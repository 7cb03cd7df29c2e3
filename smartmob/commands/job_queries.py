"""Finds jobs: running ones, and those with stored records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from smartmob.commands.job_records import JobRecords
from smartmob.commands.model import Job
from smartmob.commands.spool import Spools
from smartmob.commands.supervisor import JobSupervisor
from smartmob.errors import NotFound


class JobQueries:
    """The jobs of the database, with the current state of those that run."""

    def __init__(self, store: JobRecords, supervisor: JobSupervisor, spools: Spools) -> None:
        self._store = store
        self._supervisor = supervisor
        self._spools = spools

    async def get(self, job_id: int) -> Job:
        """Return a job; raises NotFound."""
        running = self._running(job_id)
        if running is not None:
            return running
        job = await self._store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}; `smartmob jobs` lists them")
        return self._finished(job)

    async def output_folder(self, job_id: int) -> str | None:
        """Return the id of the folder that has the output of a job, or None if it is that of this service."""
        if self._running(job_id) is not None or self._spools.has(job_id):
            return None
        found = await self._store.output_folder(job_id)
        return None if found is None or found == self._store.data_directory_id else str(found)

    async def page(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs whose number is below `before`, newest first."""
        return self._current(await self._store.jobs(before, state, limit))

    async def between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at any time in a time span, newest first."""
        return self._current(await self._store.jobs_between(start, end, limit))

    def _current(self, jobs: Sequence[Job]) -> list[Job]:
        return [self._running(job.id) or self._finished(job) for job in jobs]

    def _running(self, job_id: int) -> Job | None:
        job = self._supervisor.find(job_id)
        if job is None:
            return None
        return msgspec.structs.replace(job.record, output_bytes=job.spool.end, kept_from=job.spool.start)

    def _finished(self, job: Job) -> Job:
        """Return a finished job with the part of its output that is kept now."""
        kept_from = self._spools.find(job.id).start if self._spools.has(job.id) else job.output_bytes
        return msgspec.structs.replace(job, kept_from=kept_from)
