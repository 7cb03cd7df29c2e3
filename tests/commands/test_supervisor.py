"""Starting and ending jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smartmob.commands.events import JobEnded, JobStarted
from smartmob.commands.model import BAD_PARAMETER
from smartmob.commands.registry import background_command
from tests.commands.features import RunningFeature, feature
from tests.waiting import until


async def test_starts_and_ends_are_published(commands: RunningFeature) -> None:
    """The bus gets an event for the start of a job and one for its end."""
    events: list[object] = []
    commands.bus.subscribe(JobStarted, events.append)
    commands.bus.subscribe(JobEnded, events.append)
    done = await commands.call("exec", "exit 3")

    assert events == [JobStarted(done.number, "exec", "test"), JobEnded(done.number, "exited", 3)]


async def test_jobs_beyond_the_limit_are_refused(database_url: str, tmp_path: Path) -> None:
    """The error names the setting to change."""
    async with feature(database_url, tmp_path, most_jobs=1) as commands:
        first = commands.begin("exec", ["cat"])
        await until(lambda: first.number)
        second = await commands.call("exec", ["true"])
        assert "--commands-most-jobs" in str(second.error)


async def test_jobs_end_with_the_service(database_url: str, tmp_path: Path) -> None:
    """Their clients get the outcome, new jobs are refused, and the records say that the service has ended them."""
    async with feature(database_url, tmp_path) as commands:
        reply = commands.begin("exec", ["sleep", "600"])
        await until(lambda: reply.number)
        await commands.call("is_alive", reply.number)
        await commands.service.stop()
        await reply.ended.wait()
        assert reply.outcome is not None
        assert (reply.outcome.state, reply.code) == ("stopped", -15)
        refused = await commands.call("exec", ["true"])
        assert "stopping" in str(refused.error)
    async with feature(database_url, tmp_path) as again:
        job = await again.service.jobs.get(reply.number)
        assert (job.state, job.signal) == ("stopped", 15)


async def test_minus_one_of_a_function_is_no_signal(commands: RunningFeature) -> None:
    """A command of a user that refuses a parameter is recorded without a signal; one that SIGHUP ended with it."""

    def refuses(call: Any, messages: Any) -> int:
        return BAD_PARAMETER

    commands.service.registry.add(background_command(refuses))
    for name, args, signal in (("refuses", (), None), ("exec", ("kill -HUP $$",), 1)):
        reply = await commands.call(name, *args)
        assert reply.outcome is not None
        assert (reply.code, reply.outcome.signal, reply.outcome.bad_parameter) == (-1, signal, signal is None)
        job = await commands.service.jobs.get(reply.number)
        assert (job.exit_code, job.signal) == (-1, signal)
        later = await commands.call("attach", reply.number)
        assert later.outcome is not None
        assert (later.code, later.outcome.signal) == (-1, signal)
