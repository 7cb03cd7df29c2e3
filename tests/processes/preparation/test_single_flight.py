"""Single flight: the work is done once, whoever comes and leaves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.single_flight import SingleFlight


class Work:
    """Work that a test holds in its hands."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.tell: Callable[[str], None] = print
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.clean = asyncio.Event()
        self.clean.set()
        self.error: Exception | None = None

    async def __call__(self, tell: Callable[[str], None]) -> int:
        self.begun += 1
        self.tell = tell
        self.started.set()
        try:
            await self.go.wait()
        finally:
            await self.clean.wait()
            self.ended += 1
        if self.error is not None:
            raise self.error
        return self.begun


def _ignore(_: str) -> None:
    """Listen to nothing."""


@pytest.fixture(name="tasks")
async def _tasks() -> AsyncIterator[TaskRegistry]:
    tasks = TaskRegistry()
    yield tasks
    await tasks.close()


@pytest.fixture(name="flights")
def _flights(tasks: TaskRegistry) -> SingleFlight[str, int]:
    return SingleFlight("test", tasks, lambda old, new: (old + new)[-4:])


async def test_many_wait_for_one_work(flights: SingleFlight[str, int]) -> None:
    """Ten who ask at once get the same result, made once; who asks later starts anew."""
    work = Work()
    waiters = [asyncio.create_task(flights.join("a", work, _ignore)) for _ in range(10)]
    await work.started.wait()
    assert "a" in flights
    work.go.set()

    assert await asyncio.gather(*waiters) == [1] * 10
    assert "a" not in flights
    assert await flights.join("a", work, _ignore) == 2


async def test_keys_are_apart(flights: SingleFlight[str, int]) -> None:
    """Work for another key is other work."""
    first, second = Work(), Work()
    first.go.set()
    second.go.set()

    assert await asyncio.gather(flights.join("a", first, _ignore), flights.join("b", second, _ignore)) == [1, 1]


async def test_an_error_reaches_everybody(
    flights: SingleFlight[str, int], tasks: TaskRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is raised to each waiter, and is no failure of the service."""
    work = Work()
    work.error = ValueError("no")
    work.go.set()

    results = await asyncio.gather(*(flights.join("a", work, _ignore) for _ in range(3)), return_exceptions=True)

    assert results == [work.error] * 3
    assert "task.failed" not in capsys.readouterr().out


async def test_who_leaves_does_not_stop_the_work(flights: SingleFlight[str, int]) -> None:
    """The others get their result, also when the one who started it left."""
    work = Work()
    waiters = [asyncio.create_task(flights.join("a", work, _ignore)) for _ in range(3)]
    await work.started.wait()
    for waiter in waiters[:2]:
        waiter.cancel()
    await asyncio.wait(waiters[:2])
    work.go.set()

    assert await waiters[2] == 1
    assert all(waiter.cancelled() for waiter in waiters[:2])


async def test_the_last_to_leave_stops_the_work(flights: SingleFlight[str, int]) -> None:
    """It has ended when the last one's cancellation has."""
    work = Work()
    waiters = [asyncio.create_task(flights.join("a", work, _ignore)) for _ in range(3)]
    await work.started.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)

    assert work.ended == 1
    assert "a" not in flights


async def test_work_can_be_stopped_before_it_begins(flights: SingleFlight[str, int]) -> None:
    """The next one who asks gets work of his own."""
    work = Work()
    work.go.set()
    waiter = asyncio.create_task(flights.join("a", work, _ignore))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])

    assert "a" not in flights
    assert await flights.join("a", work, _ignore) == work.begun


async def test_who_comes_while_the_work_is_being_stopped_starts_anew(flights: SingleFlight[str, int]) -> None:
    """The new work begins only after the old one has ended."""
    work = Work()
    work.clean.clear()
    leaving = asyncio.create_task(flights.join("a", work, _ignore))
    await work.started.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    joining = asyncio.create_task(flights.join("a", work, _ignore))
    await asyncio.sleep(0)
    assert work.begun == 1
    work.clean.set()
    work.go.set()

    assert await joining == 2
    assert leaving.cancelled()


async def test_what_the_work_tells_reaches_everybody(flights: SingleFlight[str, int]) -> None:
    """Who comes late is told first what is remembered; who has left is told nothing more."""
    work = Work()
    early: list[str] = []
    late: list[str] = []
    waiters = [asyncio.create_task(flights.join("a", work, early.append))]
    await work.started.wait()
    for word in ("one", "two"):
        work.tell(word)
    waiters.append(asyncio.create_task(flights.join("a", work, late.append)))
    await asyncio.sleep(0)
    work.tell("three")
    waiters[0].cancel()
    await asyncio.wait(waiters[:1])
    work.tell("four")
    work.go.set()
    await waiters[1]

    assert early == ["one", "two", "three"]
    assert late == ["etwo", "three", "four"]


async def test_the_end_of_the_service_ends_the_waiting(flights: SingleFlight[str, int], tasks: TaskRegistry) -> None:
    """Who still waits is cancelled."""
    work = Work()
    waiter = asyncio.create_task(flights.join("a", work, _ignore))
    await work.started.wait()
    await tasks.close()

    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert work.ended == 1
