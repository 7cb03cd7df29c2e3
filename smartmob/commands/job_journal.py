"""The records of the jobs of a node, in its journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.commands.model import Job
from smartmob.kernel.journal.journal import Entry, Journal
from smartmob.kernel.runtime.datadir import DirectoryId

JOB, REMOVED, FORGOTTEN, NUMBERS = "job", "jobs_removed", "output_forgotten", "job_numbers"
"""The kinds of changes in the journal."""

_NUMBERS_BLOCK_COUNT = 100
"""Numbers that are reserved at a time, as by `JobStore`."""
_KEPT_JOBS = 5_000
"""Jobs that have ended and are kept on the node; the service has all of them."""

_JOB = msgspec.json.Decoder(Job)
_IDS = msgspec.json.Decoder(list[int])


def encode(job: Job) -> Entry:
    """Return a record as an entry of the journal."""
    return JOB, job


class JobJournal:
    """The stored jobs of a node; implements `JobRecords` and `JournalTable`."""

    kinds = (JOB, REMOVED, FORGOTTEN, NUMBERS)

    def __init__(self, journal: Journal, directory: DirectoryId) -> None:
        self._directory = directory
        self._journal = journal
        self._jobs: dict[int, Job] = {}
        self._next = 1

    @property
    def data_directory_id(self) -> UUID:
        """Return the id of the data directory of this node."""
        return self._directory.value

    def apply(self, kind: str, value: msgspec.Raw) -> None:
        """Apply a change."""
        if kind == JOB:
            job = _JOB.decode(value)
            self._jobs[job.id] = job
        elif kind == NUMBERS:
            self._next = msgspec.json.decode(value, type=int)
        elif kind == REMOVED:
            for job_id in _IDS.decode(value):
                self._jobs.pop(job_id, None)
        else:
            for job_id in _IDS.decode(value):
                if (known := self._jobs.get(job_id)) is not None:
                    self._jobs[job_id] = msgspec.structs.replace(known, kept_from=known.output_bytes)

    def entries(self) -> Iterator[Entry]:
        """Yield changes that lead to the present state."""
        yield NUMBERS, self._next
        for job in self._jobs.values():
            yield JOB, job

    async def reserve(self) -> range:
        """Reserve a block of numbers and return it. No number is returned twice, even after a restart."""
        first = self._next
        await self._journal.put([(NUMBERS, first + _NUMBERS_BLOCK_COUNT)])
        return range(first, first + _NUMBERS_BLOCK_COUNT)

    async def give_back(self, unused: range) -> None:
        """Give back reserved numbers that were not used, unless numbers after them were reserved meanwhile."""
        if unused.stop == self._next:
            await self._journal.put([(NUMBERS, unused.start)])

    async def job(self, job_id: int) -> Job | None:
        """Return a job, or None."""
        return self._jobs.get(job_id)

    async def output_folder(self, job_id: int) -> UUID | None:
        """Return the id of this node's data directory, or None if it has no such job."""
        return self.data_directory_id if job_id in self._jobs else None

    async def jobs(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs whose number is below `before`, newest first."""
        found = (job for job in self._newest_first() if job.id < before and state in (None, job.state))
        return [job for job, _ in zip(found, range(limit), strict=False)]

    async def jobs_between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at any time in a time span, newest first."""
        found = (
            job
            for job in self._newest_first()
            if job.started_at < end and (job.ended_at is None or job.ended_at >= start)
        )
        return [job for job, _ in zip(found, range(limit), strict=False)]

    async def left_running(self) -> list[Job]:
        """Return the jobs that a killed node has left in the state `running`."""
        return [job for job in self._jobs.values() if job.running]

    async def expire(self, before: datetime) -> list[int]:
        """Remove the jobs that ended before a moment, and the oldest ones above the limit; return their numbers."""
        ended = [job for job in self._newest_first() if job.ended_at is not None]
        removed = [job.id for job in ended if job.ended_at is not None and job.ended_at < before]
        removed += [job.id for job in ended[_KEPT_JOBS:] if job.id not in set(removed)]
        if removed:
            await self._journal.put([(REMOVED, removed)])
        return removed

    async def expire_abandoned(self, before: datetime) -> None:
        """Do nothing: a journal belongs to one node."""

    async def forget_output(self, job_ids: Sequence[int]) -> None:
        """Record that the output of jobs is no longer kept."""
        await self._journal.put([(FORGOTTEN, list(job_ids))])

    def _newest_first(self) -> list[Job]:
        return sorted(self._jobs.values(), key=lambda job: -job.id)
