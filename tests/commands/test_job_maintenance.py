"""The retention of jobs, and the records of jobs after the service was killed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from smartmob.errors import NotFound
from smartmob.kernel.runtime import clock
from tests.commands.features import RecordingSink, RunningFeature, feature, read_output


async def test_jobs_of_a_killed_service_are_lost(database_url: str, tmp_path: Path) -> None:
    """The record says so, and the output that the job had written is kept."""
    async with feature(database_url, tmp_path) as commands:
        reply = await commands.call("exec", "echo one")
        # The record as a service leaves it that is killed at this moment.
        record = await commands.service.jobs.get(reply.number)
        running = msgspec.structs.replace(record, state="running", ended_at=None, exit_code=None, output_bytes=0)
        await commands.records.put((running,))
    async with feature(database_url, tmp_path) as again:
        job = await again.service.jobs.get(reply.number)
        assert (job.state, job.exit_code, job.output_bytes) == ("lost", None, 4)
        assert await read_output(again, reply.number) == (0, b"one\n")
        later = RecordingSink()
        outcome = await again.service.output.follow(reply.number, 0, later)
        assert (later.data, outcome.exit_code, outcome.state) == (b"one\n", None, "lost")


async def test_a_job_is_removed_after_its_retention_and_not_before(commands: RunningFeature) -> None:
    """Its output is removed with it."""
    reply = await commands.call("exec", "echo old")
    ended = (await commands.service.jobs.get(reply.number)).ended_at
    assert ended is not None
    days = timedelta(days=commands.service.settings.keep_days)

    assert await commands.service.maintenance.remove_expired(ended + days - timedelta(seconds=1)) == 0
    assert await read_output(commands, reply.number) == (0, b"old\n")
    assert await commands.service.maintenance.remove_expired(ended + days + timedelta(seconds=1)) == 1
    with pytest.raises(NotFound):
        await commands.service.jobs.get(reply.number)


async def test_the_record_of_dropped_output_says_that_nothing_is_kept(database_url: str, tmp_path: Path) -> None:
    """A job whose output was removed to make space stays, and a reader of its output gets a gap."""
    async with feature(database_url, tmp_path, total_output=100_000, job_output=80_000) as commands:
        first = await commands.call("exec", "head -c 60000 /dev/zero")
        await commands.call("exec", "head -c 60000 /dev/zero")
        await commands.service.maintenance.remove_expired(clock.now())

        job = await commands.service.jobs.get(first.number)
        assert (job.output_bytes, job.kept_from) == (60_000, 60_000)
        assert await read_output(commands, first.number) == (60_000, b"")
        later = RecordingSink()
        await commands.service.output.follow(first.number, 0, later)
        assert later.gaps == [(0, 60_000)]
