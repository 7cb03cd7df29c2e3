"""Reads and writes the records of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.commands.model import Job
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record
from smartmob.kernel.db.writer import Submission

PACKAGE = "smartmob.commands"
_BLOCK = 1_000_000
_LIST = msgspec.json.Decoder(list[str])


class JobStore:
    """The records of the jobs whose output lies in one data directory, which has the id `keeper`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self.keeper = UUID(int=0)

    async def commit(self, connection: Connection, batch: Sequence[Submission[Job]]) -> None:
        """Store jobs by group commit; of a job that is there several times the last one counts."""
        jobs = {job.id: job for submission in batch for job in submission.rows}
        columns = zip(*(self._row(job) for job in jobs.values()), strict=True)
        await connection.execute(self._sql["put_jobs"], *map(list, columns))

    async def reserve(self) -> range:
        """Return numbers that nobody else gets, now or after a restart."""
        first = await self._database.fetchval(self._sql["reserve"], _BLOCK)
        return range(first, first + _BLOCK)

    async def job(self, job_id: int) -> Job | None:
        """Return a job."""
        row = await self._database.fetchrow(self._sql["select_job"], job_id)
        return None if row is None else _job(row)

    async def jobs(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs whose number is below `before`, newest first."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_jobs"], before, state, limit)]

    async def jobs_between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at some time of a span, newest first."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_jobs_between"], start, end, limit)]

    async def left_running(self) -> list[Job]:
        """Return the jobs that a service on this data directory left running when it died."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_lost"], self.keeper)]

    async def expire(self, before: datetime) -> list[int]:
        """Remove the jobs that ended before a moment; return their numbers."""
        rows = await self._database.fetch(self._sql["expire"], self.keeper, before)
        return [row["job_id"] for row in rows]

    async def expire_abandoned(self, before: datetime) -> None:
        """Remove the jobs of other data directories that began before a moment."""
        await self._database.run(
            lambda connection: connection.execute(self._sql["expire_abandoned"], self.keeper, before)
        )

    async def forget_output(self, job_ids: Sequence[int]) -> None:
        """Record that nothing is kept any more of the output of jobs."""
        await self._database.run(lambda connection: connection.execute(self._sql["set_kept_from"], list(job_ids)))

    def _row(self, job: Job) -> tuple[object, ...]:
        return (
            *(job.id, self.keeper, job.command, _json(job.argv), job.cwd, _json(job.env_names), job.client, job.state),
            *(job.started_at, job.ended_at, job.pid, job.exit_code, job.signal, job.error, job.user_seconds),
            *(job.system_seconds, job.max_rss, job.output_bytes, job.kept_from),
        )


def _json(texts: list[str]) -> str:
    return msgspec.json.encode(texts).decode()


def _job(row: Record) -> Job:
    values = dict(row)
    values["id"] = values.pop("job_id")
    for name in ("argv", "env_names"):
        values[name] = _LIST.decode(values[name])
    return Job(**values)
