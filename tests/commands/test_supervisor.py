"""Jobs that run: many watch, nobody misses anything that he must not miss, and every end is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smartmob.commands.events import JobEnded, JobStarted
from smartmob.commands.supervisor import as_line
from tests.commands.features import RunningFeature, Told, feature
from tests.waiting import until

MIB = 1024 * 1024


async def _follow(commands: RunningFeature, job: int, offset: int = 0, *, hold: bool = False) -> Told:
    told = Told()
    told.outcome = await commands.service.follow(job, offset, told, hold=hold)
    return told


async def test_several_watch(commands: RunningFeature) -> None:
    """Each gets all from where it begins: from the first byte, from the middle, and after the end."""
    first = commands.begin("exec", "echo one; read x; echo two")
    await until(lambda: first.data == b"one\n")
    second = asyncio.create_task(_follow(commands, first.number))
    third = asyncio.create_task(_follow(commands, first.number, 2))
    await commands.call("send_input", first.number, "go")
    found = [await second, await third, await _follow(commands, first.number, 4)]

    assert [told.data for told in found] == [b"one\ntwo\n", b"e\ntwo\n", b"two\n"]
    assert [told.offsets[0] for told in found] == [0, 2, 4]
    assert {told.code for told in found} == {0}


async def test_a_client_that_leaves(commands: RunningFeature) -> None:
    """The job goes on, and its output is there for whoever comes later."""
    told = commands.begin("exec", "echo one; read x; echo two; exit 5")
    await until(lambda: told.data == b"one\n")
    assert told.task is not None
    told.task.cancel()
    await commands.call("send_input", told.number, "go")
    later = await _follow(commands, told.number)

    assert (later.data, later.code) == (b"one\ntwo\n", 5)


async def test_a_slow_client_that_must_not_miss_anything(database_url: str, tmp_path: Any) -> None:
    """The job waits for the one who started it instead of dropping what that one has not got."""
    async with feature(database_url, tmp_path, job_output=2 * MIB) as commands:
        told = commands.begin("exec", ["head", "-c", str(12 * MIB), "/dev/zero"])
        told.open.clear()
        await until(lambda: told.number)
        await until(lambda: (job := commands.service.supervisor.find(told.number)) and job.spool.end >= MIB)
        told.open.set()
        await told.ended.wait()

        assert (len(told.data), told.gaps, told.code) == (12 * MIB, [], 0)
        assert (await commands.service.job(told.number)).kept_from >= 10 * MIB


async def test_a_slow_watcher(database_url: str, tmp_path: Any) -> None:
    """One who only looks on is told what is no longer kept, and holds nobody up."""
    async with feature(database_url, tmp_path, job_output=2 * MIB) as commands:
        told = commands.begin("exec", "read x; head -c 12582912 /dev/zero")
        await until(lambda: told.number)
        watcher = Told()
        watcher.open.clear()
        watching = asyncio.create_task(commands.service.follow(told.number, 0, watcher))
        await commands.call("send_input", told.number, "go")
        await told.ended.wait()
        watcher.open.set()
        await watching

        assert len(told.data) == 12 * MIB
        ((first, last),) = watcher.gaps
        assert last - first + len(watcher.data) == 12 * MIB


async def test_events(commands: RunningFeature) -> None:
    """The bus is told of beginnings and ends."""
    told: list[object] = []
    commands.bus.subscribe(JobStarted, told.append)
    commands.bus.subscribe(JobEnded, told.append)
    done = await commands.call("exec", "exit 3")

    assert told == [JobStarted(done.number, "exec", "test"), JobEnded(done.number, "exited", 3)]


async def test_too_many(database_url: str, tmp_path: Any) -> None:
    """More jobs than the setting allows are refused with what to do about it."""
    async with feature(database_url, tmp_path, most_jobs=1) as commands:
        first = commands.begin("exec", ["cat"])
        await until(lambda: first.number)
        second = await commands.call("exec", ["true"])
        assert "--commands-most-jobs" in str(second.error)


async def test_the_end_of_the_service(database_url: str, tmp_path: Any) -> None:
    """Jobs are ended with it, their clients are told, and the records say who ended them."""
    async with feature(database_url, tmp_path) as commands:
        told = commands.begin("exec", ["sleep", "600"])
        await until(lambda: told.number)
        await commands.call("is_alive", told.number)
        await commands.service.end()
        await told.ended.wait()
        assert told.outcome is not None
        assert (told.outcome.state, told.code) == ("stopped", -15)
        refused = await commands.call("exec", ["true"])
        assert "stopping" in str(refused.error)
    async with feature(database_url, tmp_path) as again:
        job = await again.service.job(told.number)
        assert (job.state, job.signal) == ("stopped", 15)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("text", b"text\n"),
        ("line\n", b"line\n"),
        (b"\xff", b"\xff\n"),
        ({"a": [1]}, b'{"a":[1]}\n'),
        (ValueError("no"), b"ValueError: no\n"),
        (object, b"\"<class 'object'>\"\n"),
    ],
)
def test_messages_as_output(value: Any, line: bytes) -> None:
    """What a function says in the background is kept as lines."""
    assert as_line(value) == line
