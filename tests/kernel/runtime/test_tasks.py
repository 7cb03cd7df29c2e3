"""The registry of background tasks."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

import pytest
import structlog

from smartmob.errors import Unavailable
from smartmob.kernel.observability.health import tasks_check
from smartmob.kernel.runtime.tasks import Backoff, LoopLag, TaskRegistry
from tests.waiting import until


async def _fail() -> NoReturn:
    raise ValueError("cannot")


async def test_a_task_is_listed_while_it_runs() -> None:
    """Its name is in the list until it has ended."""
    tasks, go = TaskRegistry(), asyncio.Event()
    task = tasks.start("watch", go.wait())
    tasks.start("another", asyncio.sleep(3600))
    assert tasks.names() == ["another", "watch"]
    assert task.get_name() == "watch"

    go.set()
    await task
    await asyncio.sleep(0)

    assert tasks.names() == ["another"]
    await tasks.close()


async def test_a_task_returns_the_result_of_its_work() -> None:
    """The caller can await it."""
    tasks = TaskRegistry()

    assert await tasks.start("sum", asyncio.sleep(0, 7)) == 7
    await tasks.close()


async def test_a_failure_is_logged() -> None:
    """The line has the name and the exception, even when no caller awaits the task."""
    tasks = TaskRegistry()
    with structlog.testing.capture_logs() as lines:
        task = tasks.start("watch", _fail())
        await asyncio.wait([task])
        await asyncio.sleep(0)

    assert [(line["event"], line["task"], str(line["exc_info"])) for line in lines] == [
        ("task.failed", "watch", "cannot")
    ]
    assert tasks.names() == []


async def test_a_failure_is_raised_to_the_caller_that_awaits() -> None:
    """It is logged, too."""
    tasks = TaskRegistry()

    with structlog.testing.capture_logs() as lines, pytest.raises(ValueError, match="cannot"):
        await tasks.start("watch", _fail())

    await asyncio.sleep(0)
    assert lines[0]["event"] == "task.failed"


async def test_close_cancels_all_tasks_and_waits_for_their_end() -> None:
    """Code in `finally` has run when close returns."""
    tasks = TaskRegistry()
    ended = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    started = [tasks.start(f"work-{number}", work(number)) for number in range(3)]
    await asyncio.sleep(0)

    with structlog.testing.capture_logs() as lines:
        await tasks.close()

    assert sorted(ended) == [0, 1, 2]
    assert all(task.cancelled() for task in started)
    assert tasks.names() == []
    assert lines == []


async def test_a_failure_during_the_cancellation_is_logged() -> None:
    """Other tasks still end."""
    tasks = TaskRegistry()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("cannot end")

    tasks.start("bad", work())
    good = tasks.start("good", asyncio.sleep(3600))
    await asyncio.sleep(0)

    with structlog.testing.capture_logs() as lines:
        await tasks.close()

    assert good.cancelled()
    assert [line["task"] for line in lines] == ["bad"]


async def test_close_without_tasks_returns() -> None:
    """There is nothing to wait for."""
    await TaskRegistry().close()


class Dying:
    """Work that raises an exception at its first `times` starts, and then runs until `returns` is set."""

    def __init__(self, times: int, error: BaseException) -> None:
        self.starts = 0
        self.returns = asyncio.Event()
        self._times = times
        self._error = error

    async def work(self) -> None:
        self.starts += 1
        if self.starts <= self._times:
            raise self._error
        await self.returns.wait()


_QUICK = Backoff(first=0.01, longest=0.02, proven=0.05)


@pytest.mark.parametrize("error", [ValueError("cannot"), asyncio.CancelledError()], ids=["error", "foreign cancel"])
async def test_supervised_work_that_dies_is_started_again(error: BaseException) -> None:
    """Each failure is logged with the pause that follows, and the readiness check fails until the work runs again."""
    tasks, dying = TaskRegistry(_QUICK), Dying(3, error)
    check = tasks_check(tasks)
    with structlog.testing.capture_logs() as lines:
        tasks.supervise("watch", dying.work)
        await check()
        await until(tasks.dead)
        with pytest.raises(Unavailable, match=f"watch \\({type(error).__name__}\\)"):
            await check()
        assert tasks.supervised() == tasks.names() == ["watch"]

        await until(lambda: not tasks.dead())

    await check()
    assert dying.starts == 4
    assert [(line["event"], line["task"], line.get("again_in")) for line in lines] == [
        ("task.died", "watch", 0.01),
        ("task.died", "watch", 0.02),
        ("task.died", "watch", 0.02),
        ("task.restarted", "watch", None),
    ]
    await tasks.close()


async def test_supervised_work_that_returns_is_not_started_again() -> None:
    """Its task does not count as dead."""
    tasks, dying = TaskRegistry(_QUICK), Dying(0, ValueError())
    dying.returns.set()

    await tasks.supervise("watch", dying.work)
    await asyncio.sleep(0)

    assert (dying.starts, tasks.supervised(), tasks.names(), tasks.dead()) == (1, [], [], {})


async def test_close_ends_supervised_work() -> None:
    """Work that runs and work that waits for its next start both end."""
    tasks = TaskRegistry(Backoff(first=3600))
    living, dead = Dying(0, ValueError()), Dying(1, ValueError())
    tasks.supervise("living", living.work)
    tasks.supervise("dead", dead.work)
    with structlog.testing.capture_logs():
        await until(tasks.dead)

    await tasks.close()

    assert (living.starts, dead.starts, tasks.names(), tasks.supervised()) == (1, 1, [], [])


async def test_a_long_step_of_the_loop_is_measured_as_lag() -> None:
    """It counts until it is too old."""
    tasks, lag = TaskRegistry(), LoopLag(every=0.01, kept=0.5)
    assert lag.worst == 0
    tasks.start("loop lag", lag.watch())
    await asyncio.sleep(0)

    began = time.perf_counter()
    while time.perf_counter() - began < 0.5:
        pass
    worst = await until(lambda: lag.worst)
    assert worst > 0.4

    await until(lambda: lag.worst < worst)
    await tasks.close()
