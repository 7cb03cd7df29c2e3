"""The interface of the storage of job records: tables, or a node's journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from smartmob.commands.model import Job


class JobRecords(Protocol):
    """The stored records of jobs. `JobStore` describes the methods."""

    @property
    def data_directory_id(self) -> UUID:
        """Return the id of the data directory with the output of the jobs; it is read at the first use."""

    async def reserve(self) -> range:
        """Reserve a block of numbers and return it. No number is returned twice, even after a restart."""

    async def give_back(self, unused: range) -> None:
        """Give back reserved numbers that were not used, unless numbers after them were reserved meanwhile."""

    async def job(self, job_id: int) -> Job | None:
        """Return a job, or None."""

    async def output_folder(self, job_id: int) -> UUID | None:
        """Return the id of the data directory that has the output of a job, or None."""

    async def jobs(self, before: int, state: str | None, limit: int) -> list[Job]:
        """Return jobs whose number is below `before`, newest first."""

    async def jobs_between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the jobs that ran at any time in a time span, newest first."""

    async def left_running(self) -> list[Job]:
        """Return the jobs that a killed service has left in the state `running`."""

    async def expire(self, before: datetime) -> list[int]:
        """Remove the jobs that ended before a moment; return their numbers."""

    async def expire_abandoned(self, before: datetime) -> None:
        """Remove the jobs of other data directories that began before a moment."""

    async def forget_output(self, job_ids: Sequence[int]) -> None:
        """Record that the output of jobs is no longer kept."""
