"""Reads and writes the records of jobs in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.commands.model import Job
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime.datadir import DirectoryId

PACKAGE = "smartmob.commands"
_NUMBERS_BLOCK_COUNT = 100
"""Numbers that are reserved at a time; a restart skips fewer, so the numbers of jobs stay readable."""
_TEXTS = msgspec.json.Decoder(list[str])


class JobStore:
    """The records of jobs.

    Several services may share a database. Each has the output of its own jobs in its data directory, which has the id
    `data_directory_id`; lost and expired jobs are searched only among those.
    """

    def __init__(self, database: Database, directory: DirectoryId) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self._directory = directory

    @property
    def data_directory_id(self) -> UUID:
        """Return the id of the data directory of this service."""
        return self._directory.value

    async def commit(self, connection: Connection, batch: Sequence[Submission[Job]]) -> None:
        """Store jobs by group commit. Of several records of one job the last one counts."""
        jobs = {job.id: job for submission in batch for job in submission.rows}
        # One text: the driver takes twice as long for an array of each column.
        document = msgspec.json.encode(list(jobs.values())).decode()
        await connection.execute(self._sql["put_jobs"], document, self.data_directory_id)

    async def reserve(self) -> range:
        """Reserve a block of numbers and return it. No number is returned twice, also after a restart."""
        first = await self._database.fetchval(self._sql["reserve"], _NUMBERS_BLOCK_COUNT)
        return range(first, first + _NUMBERS_BLOCK_COUNT)

    async def give_back(self, unused: range) -> None:
        """Give back reserved numbers that were not used, unless numbers after them were reserved meanwhile."""
        await self._database.fetchval(self._sql["give_back"], unused.start, unused.stop)

    async def job(self, job_id: int) -> Job | None:
        """Return a job, or None."""
        row = await self._database.fetchrow(self._sql["select_job"], job_id)
        return None if row is None else _job(row)

    async def output_folder(self, job_id: int) -> UUID | None:
        """Return the id of the data directory that has the output of a job, or None."""
        row = await self._database.fetchrow(self._sql["select_output_folder"], job_id)
        return None if row is None else UUID(str(row["keeper"]))

    async def jobs(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs whose number is below `before`, newest first."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_jobs"], before, state, limit)]

    async def jobs_between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at any time in a time span, newest first."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_jobs_between"], start, end, limit)]

    async def left_running(self) -> list[Job]:
        """Return the jobs that a killed service with this data directory has left in the state `running`."""
        return [_job(row) for row in await self._database.fetch(self._sql["select_lost"], self.data_directory_id)]

    async def expire(self, before: datetime) -> list[int]:
        """Remove the jobs that ended before a moment; return their numbers."""
        rows = await self._database.fetch(self._sql["expire"], self.data_directory_id, before)
        return [row["job_id"] for row in rows]

    async def expire_abandoned(self, before: datetime) -> None:
        """Remove the jobs of other data directories that began before a moment."""
        await self._database.run(
            lambda connection: connection.execute(self._sql["expire_abandoned"], self.data_directory_id, before)
        )

    async def forget_output(self, job_ids: Sequence[int]) -> None:
        """Record that the output of jobs is no longer kept."""
        await self._database.run(lambda connection: connection.execute(self._sql["set_kept_from"], list(job_ids)))


def _job(row: Record) -> Job:
    values = dict(row)
    values["id"] = values.pop("job_id")
    for name in ("argv", "env_names"):
        values[name] = _TEXTS.decode(values[name])
    return Job(**values)
