"""The arrival queues of the open model."""

from __future__ import annotations

import asyncio
import threading
import time

from smartmob.turrets.turret.arrival_queue import CoroutineArrivalQueue, ThreadArrivalQueue
from smartmob.turrets.turret.schedule import Arrivals
from tests.waiting import until

AHEAD = 1.0
"""Seconds from now to a start: a queue that a busy machine makes after it skips what was due before."""


async def test_starts_come_in_order_to_the_longest_waiting() -> None:
    """A start goes to the coroutine that waits longest, and not before its time."""
    start = time.monotonic() + AHEAD
    queue = CoroutineArrivalQueue(Arrivals.of(100), start, start + 0.045, (0, 1))
    taken: list[tuple[str, float]] = []

    async def fire(name: str) -> None:
        while (intended := await queue.next()) is not None:
            assert time.monotonic() >= intended
            taken.append((name, round(intended - start, 6)))

    tasks = [asyncio.create_task(fire(name)) for name in "abc"]
    await until(lambda: len(taken) == 5)
    queue.stop()
    await asyncio.gather(*tasks)
    # On a busy machine a start that is due may be taken at once, before the coroutines that were woken earlier run.
    assert sorted(when for _, when in taken) == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert queue.missed(start + 10) == 0


async def test_a_due_start_is_taken_without_waiting() -> None:
    """A late caller gets the start with its intended time."""
    start = time.monotonic() + AHEAD
    queue = CoroutineArrivalQueue(Arrivals.of(1000), start, start + 1.0, (0, 1))
    await until(lambda: time.monotonic() > start + 0.03)
    for index in range(10):
        assert round((await queue.next() or 0) - start, 6) == index / 1000
    queue.stop()
    assert await queue.next() is None
    assert queue.missed(start + 0.0195) == 10


async def test_a_start_that_a_free_cannon_waits_for_is_not_missed() -> None:
    """At a stop, the timer of the newest start may not have fired yet; starts beyond the free cannons are missed."""
    start = time.monotonic() + 60.0
    queue = CoroutineArrivalQueue(Arrivals.of(10), start, start + 60.0, (0, 1))
    free = [asyncio.create_task(queue.next()) for _ in range(2)]
    await asyncio.sleep(0)
    assert [queue.missed(start + after) for after in (-1.0, 0.05, 0.15, 0.45)] == [0, 0, 0, 3]
    queue.stop()
    assert await asyncio.gather(*free) == [None, None]


async def test_a_cancelled_waiter_gets_no_start() -> None:
    """The start goes to the next one."""
    start = time.monotonic() + AHEAD
    queue = CoroutineArrivalQueue(Arrivals.of(10), start, start + 0.05, (0, 1))
    first, second = asyncio.create_task(queue.next()), asyncio.create_task(queue.next())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == start


def test_processes_share_the_starts() -> None:
    """Several processes take different starts, and all of them together; each misses only its own."""
    # One start in ten seconds, so that all parts are made between two of them.
    late = time.monotonic() - 10_001.0
    parts = [ThreadArrivalQueue(Arrivals.of(0.1), late, late + 11_000, (index, 3)) for index in range(3)]
    taken = sorted(part.take() - late for part in parts for _ in range(5))
    first = round(taken[0] / 10)
    assert [round(time_ / 10) for time_ in taken] == list(range(first, first + 15))
    assert all(part.missed(time.monotonic()) == 0 for part in parts)


def test_threads_that_wait_at_the_end_have_taken_nothing() -> None:
    """Each thread takes its start in advance; those that still wait when firing ends give it back."""
    start = time.monotonic() + AHEAD
    queue = ThreadArrivalQueue(Arrivals([(0.03, 100, 100), (1000.0, 0, 0)]), start, start + 1000, (0, 1))
    taken: list[float] = []

    def fire() -> None:
        while (intended := queue.next()) is not None:
            taken.append(round(intended - start, 6))

    threads = [threading.Thread(target=fire) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(taken) < 3:
        time.sleep(0.001)
    queue.stop()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [0.0, 0.01, 0.02]
    assert queue.missed(time.monotonic()) == 0
