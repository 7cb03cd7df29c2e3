"""Finding jobs."""

from __future__ import annotations

import pytest

from smartmob.errors import NotFound
from tests.commands.features import RunningFeature
from tests.waiting import until


async def test_running_and_ended_jobs_are_listed_together(commands: RunningFeature) -> None:
    """The newest job comes first."""
    ended = await commands.call("exec", "exit 1")
    running = commands.begin("exec", ["cat"])
    await until(lambda: running.number)
    await commands.call("is_alive", running.number)
    jobs = await commands.service.jobs.page(2**62, None, 10)

    assert [(job.id, job.state) for job in jobs] == [(running.number, "running"), (ended.number, "exited")]
    assert (await commands.call("jobs")).values == [f"Running {running.number}: cat\n"]


async def test_an_unknown_job_is_not_found(commands: RunningFeature) -> None:
    """A number that no job has raises NotFound."""
    with pytest.raises(NotFound):
        await commands.service.jobs.get(99)
