"""Work that several wait for and that is done once: single flight.

The first who asks for a key starts the work, the others join it while it lasts. A waiter that is cancelled leaves, and
the last one to leave takes the work with it. What the work tells on the way goes to every waiter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smartmob.kernel.runtime.tasks import TaskRegistry

T = TypeVar("T")
N = TypeVar("N")

Listener = Callable[[N], None]
"""Is called in the loop with what the work tells; it returns at once and raises nothing."""

Work = Callable[[Listener[N]], Awaitable[T]]


@dataclass(slots=True, eq=False)
class _Flight(Generic[N, T]):
    listeners: list[Listener[N]] = field(default_factory=list)
    told: list[N] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    result: list[T] = field(default_factory=list)
    error: Exception | None = None


class SingleFlight(Generic[N, T]):
    """The works of one kind that are under way, by key.

    `remember` makes one of what was told so far and what comes now: it is what a late joiner is told first.
    """

    def __init__(self, name: str, tasks: TaskRegistry, remember: Callable[[N, N], N]) -> None:
        self._name = name
        self._tasks = tasks
        self._remember = remember
        self._flights: dict[str, _Flight[N, T]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._flights

    async def join(self, key: str, work: Work[N, T], listener: Listener[N]) -> T:
        """Return what `work` returns or raise what it raises; it is started unless work for `key` is under way.

        Cancelled as the only one who waits, this ends only when the work has ended, too.
        """
        while (flight := self._flights.get(key)) is not None and not flight.listeners:
            # Everybody has left it: its end is awaited, so that no two work for the same key.
            await _ended(flight)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.listeners.append(listener)
            flight.task = self._tasks.start(f"{self._name} {key}", _fly(flight, work, self._remember))
            # Not at the end of the work itself: cancelled at once, it does not even begin.
            flight.task.add_done_callback(lambda _: self._flights.pop(key))
        else:
            flight.listeners.append(listener)
            for told in flight.told:
                listener(told)
        try:
            await _ended(flight)
        except asyncio.CancelledError:
            flight.listeners.remove(listener)
            if not flight.listeners and flight.task is not None:
                flight.task.cancel()
                await _ended(flight)
            raise
        if flight.error is not None:
            raise flight.error
        if not flight.result:
            raise asyncio.CancelledError
        return flight.result[0]


async def _fly(flight: _Flight[N, T], work: Work[N, T], remember: Callable[[N, N], N]) -> None:
    """Do the work, and keep its outcome for the waiters: the task has none, so that nobody else reports it."""

    def tell(news: N) -> None:
        flight.told[:] = [remember(flight.told[0], news)] if flight.told else [news]
        for listener in tuple(flight.listeners):
            listener(news)

    try:
        flight.result.append(await work(tell))
    except Exception as error:
        flight.error = error


async def _ended(flight: _Flight[N, T]) -> None:
    """Return when the work has ended in whatever way; to be cancelled does not touch it."""
    assert flight.task is not None
    await asyncio.wait({flight.task})
