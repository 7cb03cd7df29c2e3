"""The jobs of a node in its journal: they are found as they are in the table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from smartmob.commands import job_journal
from smartmob.commands.job_journal import JobJournal, encode
from smartmob.commands.model import EXITED, RUNNING, Job
from smartmob.kernel.journal.journal import Journal, JournalWriter
from smartmob.kernel.runtime.datadir import DirectoryId
from smartmob.kernel.runtime.tasks import TaskRegistry

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def _job(number: int, ended: bool = True) -> Job:
    started = NOW + timedelta(minutes=number)
    return Job(
        id=number, command="exec", argv=["ls", "ß"], cwd="/", env_names=["A"], client="me", started_at=started,
        state=EXITED if ended else RUNNING, ended_at=started + timedelta(seconds=30) if ended else None,
        output_bytes=10,
    )  # fmt: skip


class Jobs:
    """The journal and its writer."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self.store = JobJournal(self.journal, DirectoryId(path.with_suffix(".id")))
        self.journal.add_table(self.store)
        self.writer: JournalWriter[Job] = JournalWriter("jobs", self.journal, encode)
        self._tasks = TaskRegistry()

    async def start(self) -> Jobs:
        """Read the file."""
        await self.journal.start(self._tasks)
        return self

    async def close(self) -> None:
        """Close the file."""
        await self.journal.close()
        await self._tasks.close()


@pytest.fixture(name="jobs")
async def _jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    jobs = await Jobs(tmp_path / "journal").start()
    yield jobs
    await jobs.close()


async def test_jobs_are_found_by_number_page_state_and_span(jobs: Jobs) -> None:
    """Newest first; the last record of a job counts."""
    running, ended = _job(2, ended=False), [_job(n) for n in (1, 3, 4)]
    await jobs.writer.put([_job(1, ended=False), running, *ended])
    assert await jobs.store.job(1) == ended[0]
    assert await jobs.store.job(9) is None
    assert [job.id for job in await jobs.store.jobs(4, None, 2)] == [3, 2]
    assert await jobs.store.jobs(9, RUNNING, 9) == [running]
    span = (NOW + timedelta(minutes=3), NOW + timedelta(minutes=4))
    assert [job.id for job in await jobs.store.jobs_between(*span, 9)] == [3, 2]
    assert await jobs.store.left_running() == [running]


async def test_a_number_is_reserved_once(jobs: Jobs, tmp_path: Path) -> None:
    """Also after a restart, and after the file was written anew."""
    first, second = await jobs.store.reserve(), await jobs.store.reserve()
    assert first.stop <= second.start
    await jobs.journal._compact()
    await jobs.close()
    again = await Jobs(tmp_path / "journal").start()
    assert (await again.store.reserve()).start >= second.stop
    await again.close()


async def test_jobs_expire_and_the_oldest_of_too_many_go(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs stays; each number is told once."""
    monkeypatch.setattr(job_journal, "_KEPT_JOBS", 2)
    await jobs.writer.put([_job(1, ended=False), *(_job(n) for n in range(2, 8))])
    removed = await jobs.store.expire(NOW + timedelta(minutes=3))
    assert sorted(removed) == [2, 3, 4, 5]
    assert [job.id for job in await jobs.store.jobs(99, None, 99)] == [7, 6, 1]
    assert await jobs.store.expire(NOW) == []
    await jobs.store.expire_abandoned(NOW)


async def test_output_that_was_dropped_is_recorded(jobs: Jobs) -> None:
    """A job that is unknown is passed over."""
    await jobs.writer.put([_job(1)])
    await jobs.store.forget_output([1, 99])
    job = await jobs.store.job(1)
    assert job is not None
    assert job == msgspec.structs.replace(_job(1), kept_from=10)
