"""Removes jobs after their retention, and corrects the records of jobs after the service was killed."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from smartmob.commands import model
from smartmob.commands.job_records import JobRecords
from smartmob.commands.model import Job
from smartmob.commands.spool import Spools
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically
from smartmob.kernel.runtime.row_writer import RowWriter

log = get_logger()

_INTERVAL_SECONDS = 3600.0
_ABANDONED_DAYS = 365.0
"""Jobs of data directories that no service uses are removed after this many days, or after ten retention periods."""


class JobMaintenance:
    """The retention of jobs: `keep_days` after their end they are removed with their output."""

    def __init__(self, store: JobRecords, records: RowWriter[Job], spools: Spools, keep_days: float) -> None:
        self._store = store
        self._records = records
        self._spools = spools
        self._keep_days = keep_days

    async def record_lost_jobs(self) -> None:
        """Set the jobs that a killed service has left in the state `running` to `lost`."""
        lost = await self._store.left_running()
        if lost:
            log.warning("jobs.lost", jobs=len(lost))
            await self._records.put([self._lost(job) for job in lost])

    async def run(self) -> None:
        """Remove expired jobs after the start and every hour, until cancelled."""
        await run_periodically(
            lambda: self.remove_expired(clock.now()),
            _INTERVAL_SECONDS,
            lambda error: log.warning("commands.maintenance_failed", reason=str(error)),
        )

    async def remove_expired(self, now: datetime) -> int:
        """Remove the jobs whose retention has passed, with their output; return how many."""
        if dropped := self._spools.take_dropped():
            await self._store.forget_output(dropped)
        expired = await self._store.expire(now - timedelta(days=self._keep_days))
        await self._store.expire_abandoned(now - timedelta(days=max(_ABANDONED_DAYS, 10 * self._keep_days)))
        for job_id in expired:
            try:
                self._spools.remove(job_id)
            except OSError as error:
                log.warning("commands.maintenance_failed", reason=str(error))
        if expired:
            log.info("jobs.expired", jobs=len(expired))
        return len(expired)

    def _lost(self, job: Job) -> Job:
        spool = self._spools.find(job.id) if self._spools.has(job.id) else None
        return msgspec.structs.replace(
            job,
            state=model.LOST,
            ended_at=clock.now(),
            error="the service ended while the job ran, and the job with it",
            output_bytes=0 if spool is None else spool.end,
            kept_from=0 if spool is None else spool.start,
        )
