"""Single flight: concurrent calls share one execution, whichever of them are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.single_flight import SingleFlight


class Work:
    """Work that a test completes, fails or observes."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.report: Callable[[str], None] = print
        self.started = asyncio.Event()
        self.may_complete = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def __call__(self, report: Callable[[str], None]) -> int:
        self.begun += 1
        self.report = report
        self.started.set()
        try:
            await self.may_complete.wait()
        finally:
            await self.may_end.wait()
            self.ended += 1
        if self.error is not None:
            raise self.error
        return self.begun


def _ignore(_: str) -> None:
    """Ignore progress."""


@pytest.fixture(name="tasks")
async def _tasks() -> AsyncIterator[TaskRegistry]:
    tasks = TaskRegistry()
    yield tasks
    await tasks.close()


@pytest.fixture(name="single_flight")
def _single_flight(tasks: TaskRegistry) -> SingleFlight[str, int]:
    return SingleFlight("test", tasks, lambda old, new: (old + new)[-4:])


async def test_concurrent_calls_share_one_execution(single_flight: SingleFlight[str, int]) -> None:
    """Ten calls get the same result; a later call starts the work again."""
    work = Work()
    waiters = [asyncio.create_task(single_flight.join("a", work, _ignore)) for _ in range(10)]
    await work.started.wait()
    assert "a" in single_flight
    work.may_complete.set()

    assert await asyncio.gather(*waiters) == [1] * 10
    assert "a" not in single_flight
    assert await single_flight.join("a", work, _ignore) == 2


async def test_different_keys_are_executed_separately(single_flight: SingleFlight[str, int]) -> None:
    """Each key has its own work."""
    first, second = Work(), Work()
    first.may_complete.set()
    second.may_complete.set()

    assert await asyncio.gather(single_flight.join("a", first, _ignore), single_flight.join("b", second, _ignore)) == [
        1,
        1,
    ]


async def test_an_error_is_raised_for_every_caller(
    single_flight: SingleFlight[str, int], tasks: TaskRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not logged as a failure of a task."""
    work = Work()
    work.error = ValueError("no")
    work.may_complete.set()

    results = await asyncio.gather(*(single_flight.join("a", work, _ignore) for _ in range(3)), return_exceptions=True)

    assert results == [work.error] * 3
    assert "task.failed" not in capsys.readouterr().out


async def test_a_cancelled_caller_does_not_stop_the_work(single_flight: SingleFlight[str, int]) -> None:
    """The others get the result, also when the caller that started the work is cancelled."""
    work = Work()
    waiters = [asyncio.create_task(single_flight.join("a", work, _ignore)) for _ in range(3)]
    await work.started.wait()
    for waiter in waiters[:2]:
        waiter.cancel()
    await asyncio.wait(waiters[:2])
    work.may_complete.set()

    assert await waiters[2] == 1
    assert all(waiter.cancelled() for waiter in waiters[:2])


async def test_the_last_cancelled_caller_stops_the_work(single_flight: SingleFlight[str, int]) -> None:
    """Its call ends after the work has ended."""
    work = Work()
    waiters = [asyncio.create_task(single_flight.join("a", work, _ignore)) for _ in range(3)]
    await work.started.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)

    assert work.ended == 1
    assert "a" not in single_flight


async def test_work_can_be_cancelled_before_it_begins(single_flight: SingleFlight[str, int]) -> None:
    """The next call starts new work."""
    work = Work()
    work.may_complete.set()
    waiter = asyncio.create_task(single_flight.join("a", work, _ignore))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])

    assert "a" not in single_flight
    assert await single_flight.join("a", work, _ignore) == work.begun


async def test_a_call_during_the_cancellation_starts_new_work(single_flight: SingleFlight[str, int]) -> None:
    """It begins after the old work has ended."""
    work = Work()
    work.may_end.clear()
    leaving = asyncio.create_task(single_flight.join("a", work, _ignore))
    await work.started.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    joining = asyncio.create_task(single_flight.join("a", work, _ignore))
    await asyncio.sleep(0)
    assert work.begun == 1
    work.may_end.set()
    work.may_complete.set()

    assert await joining == 2
    assert leaving.cancelled()


async def test_progress_is_reported_to_every_caller(single_flight: SingleFlight[str, int]) -> None:
    """A late caller gets the merged progress first; a cancelled one gets nothing more."""
    work = Work()
    early: list[str] = []
    late: list[str] = []
    waiters = [asyncio.create_task(single_flight.join("a", work, early.append))]
    await work.started.wait()
    for word in ("one", "two"):
        work.report(word)
    waiters.append(asyncio.create_task(single_flight.join("a", work, late.append)))
    await asyncio.sleep(0)
    work.report("three")
    waiters[0].cancel()
    await asyncio.wait(waiters[:1])
    work.report("four")
    work.may_complete.set()
    await waiters[1]

    assert early == ["one", "two", "three"]
    assert late == ["etwo", "three", "four"]


async def test_the_end_of_the_service_cancels_the_callers(
    single_flight: SingleFlight[str, int], tasks: TaskRegistry
) -> None:
    """They do not wait for the work any more."""
    work = Work()
    waiter = asyncio.create_task(single_flight.join("a", work, _ignore))
    await work.started.wait()
    await tasks.close()

    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert work.ended == 1
