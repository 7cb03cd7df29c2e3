"""The records of jobs in PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smartmob.commands import model
from smartmob.commands.model import Job
from smartmob.commands.store import JobStore
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime.datadir import DirectoryId
from smartmob.settings import DatabaseSettings

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def _job(number: int, **changes: Any) -> Job:
    job = Job(
        id=number, command="exec", argv=["ls", "ü"], cwd="/tmp", env_names=["A"], client="me", state=model.RUNNING,
        started_at=NOW,
    )  # fmt: skip
    return msgspec.structs.replace(job, **changes)


@pytest.fixture(name="store")
async def _store(database_url: str, tmp_path: Path) -> Any:
    """Return a store, the function that commits jobs, and the store of another service."""
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    store, other = (JobStore(database, DirectoryId(tmp_path / name)) for name in ("one", "two"))

    async def put(*jobs: Job, by: JobStore = store) -> None:
        async with database.acquire() as connection:
            done = asyncio.get_running_loop().create_future()
            await by.commit(connection, [Submission([job], done, 0.0) for job in jobs])

    yield store, put, other
    await database.close()


async def test_the_last_record_of_a_job_counts(store: Any) -> None:
    """It replaces an earlier record, also within one commit."""
    jobs, put, _ = store
    ended = _job(
        1, state=model.EXITED, ended_at=NOW, pid=5, exit_code=3, user_seconds=0.5, system_seconds=0.25, max_rss=1,
        output_bytes=9, kept_from=4,
    )  # fmt: skip
    await put(_job(1))
    assert await jobs.job(1) == _job(1)
    await put(_job(1), ended)
    assert await jobs.job(1) == ended
    assert await jobs.job(2) is None


async def test_texts_and_numbers_of_a_job_are_read_as_they_were_written(store: Any) -> None:
    """Also those that need escapes in JSON, the ends of the types, and no value at all."""
    jobs, put, _ = store
    odd = "\"'\\ \n\t\x01\x7f\u2028 ü €😀 null {}"
    largest, smallest = 2**63 - 1, -(2**31)
    job = _job(
        largest, command=odd, argv=[odd, "", "null"], cwd=odd, env_names=[odd], client=odd, state=odd, error=odd,
        started_at=datetime(1, 1, 1, tzinfo=UTC), ended_at=datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        pid=smallest, exit_code=smallest, signal=2**31 - 1, user_seconds=1e300, system_seconds=5e-324, max_rss=largest,
        output_bytes=largest, kept_from=-largest, apart=True,
    )  # fmt: skip
    await put(job, _job(1, argv=[], env_names=[]))
    assert await jobs.job(largest) == job
    assert await jobs.job(1) == _job(1, argv=[], env_names=[])


async def test_jobs_are_listed_by_page_and_state(store: Any) -> None:
    """The newest job comes first."""
    jobs, put, _ = store
    await put(*(_job(number, state=model.EXITED if number % 2 else model.RUNNING) for number in range(1, 8)))

    assert [job.id for job in await jobs.jobs(2**62, None, 3)] == [7, 6, 5]
    assert [job.id for job in await jobs.jobs(5, None, 10)] == [4, 3, 2, 1]
    assert [job.id for job in await jobs.jobs(2**62, model.RUNNING, 10)] == [6, 4, 2]


async def test_jobs_of_other_data_directories_are_left_alone(store: Any) -> None:
    """They are neither lost nor expired."""
    jobs, put, other = store
    await put(_job(1), _job(2, state=model.EXITED, ended_at=NOW))
    old = _job(4, state=model.EXITED, ended_at=NOW - timedelta(days=3))
    await put(_job(3), old, _job(5, ended_at=NOW), by=other)

    assert [job.id for job in await other.left_running()] == [3, 5]
    assert await other.expire(NOW - timedelta(days=1)) == [4]
    assert [job.id for job in await jobs.left_running()] == [1]
    assert await jobs.expire(NOW + timedelta(days=1)) == [2]


async def test_abandoned_jobs_are_removed(store: Any) -> None:
    """Old jobs of other data directories are removed, whatever their state is; the own ones are not."""
    jobs, put, other = store
    await put(_job(1), _job(2, state=model.EXITED, ended_at=NOW))
    await put(_job(3), by=other)

    await other.expire_abandoned(NOW - timedelta(days=365))
    assert await jobs.job(1) is not None
    await other.expire_abandoned(NOW + timedelta(days=1))
    assert [job.id for job in await jobs.jobs(2**62, None, 10)] == [3]


async def test_a_number_is_reserved_once(store: Any) -> None:
    """The first number is 1, because conplyent's client does not work with 0."""
    jobs, _, _ = store
    first, second = await jobs.reserve(), await jobs.reserve()

    assert first[0] == 1
    assert second[0] == first[-1] + 1


async def test_dropped_output_is_recorded(store: Any) -> None:
    """The record says that nothing of the output is kept."""
    jobs, put, _ = store
    await put(_job(1, output_bytes=70))
    await jobs.forget_output([1])

    assert (await jobs.job(1)).kept_from == 70


async def test_jobs_that_ran_in_a_span_are_found(store: Any) -> None:
    """They started before its end and had not ended before its start."""
    jobs, put, _ = store
    minute = timedelta(minutes=1)
    await put(
        _job(1, state=model.EXITED, ended_at=NOW + minute),
        _job(2, started_at=NOW + minute, state=model.EXITED, ended_at=NOW + 2 * minute),
        _job(3, started_at=NOW + minute),
        _job(4, started_at=NOW + 5 * minute),
    )
    found = await jobs.jobs_between(NOW + 1.5 * minute, NOW + 5 * minute, 10)
    assert [job.id for job in found] == [3, 2]
    assert [job.id for job in await jobs.jobs_between(NOW, NOW + 9 * minute, 2)] == [4, 3]
