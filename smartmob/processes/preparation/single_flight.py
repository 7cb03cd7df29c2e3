"""Single flight: concurrent calls for the same key share one execution of the work.

The first call for a key starts the work; later calls join it while it runs. A cancelled call leaves, and when the last
one has left, the work is cancelled. Progress of the work is reported to all callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from smartmob.kernel.runtime.tasks import TaskRegistry

T = TypeVar("T")
P = TypeVar("P")

Listener = Callable[[P], None]
"""Called in the event loop with each progress report; returns at once and raises nothing."""

Work = Callable[[Listener[P]], Awaitable[T]]


class _Flight(msgspec.Struct, Generic[P, T], eq=False):
    """One execution. `progress` and `result` are empty or have one item."""

    listeners: list[Listener[P]] = msgspec.field(default_factory=list)
    progress: list[P] = msgspec.field(default_factory=list)
    task: asyncio.Task[None] | None = None
    result: list[T] = msgspec.field(default_factory=list)
    error: Exception | None = None


class SingleFlight(Generic[P, T]):
    """The executions of one kind of work, by key.

    `merge` combines the progress so far with a new report. A caller that joins late gets the combined progress first.
    """

    def __init__(self, name: str, tasks: TaskRegistry, merge: Callable[[P, P], P]) -> None:
        self._name = name
        self._tasks = tasks
        self._merge = merge
        self._flights: dict[str, _Flight[P, T]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._flights

    async def join(self, key: str, work: Work[P, T], listener: Listener[P]) -> T:
        """Return the result of `work`, or raise its exception; start the work unless work for `key` is already running.

        When the last caller is cancelled, its call ends only after the work has ended.
        """
        while (flight := self._flights.get(key)) is not None and not flight.listeners:
            # All callers have left: wait for its end, so that two executions for a key never overlap.
            await _wait(flight)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.listeners.append(listener)
            flight.task = self._tasks.start(f"{self._name} {key}", _execute(flight, work, self._merge))
            # The callback, not the coroutine, removes the flight: a task that is cancelled immediately never begins.
            flight.task.add_done_callback(lambda _: self._flights.pop(key))
        else:
            flight.listeners.append(listener)
            for progress in flight.progress:
                listener(progress)
        try:
            await _wait(flight)
        except asyncio.CancelledError:
            flight.listeners.remove(listener)
            if not flight.listeners and flight.task is not None:
                flight.task.cancel()
                await _wait(flight)
            raise
        if flight.error is not None:
            raise flight.error
        if not flight.result:
            raise asyncio.CancelledError
        return flight.result[0]


async def _execute(flight: _Flight[P, T], work: Work[P, T], merge: Callable[[P, P], P]) -> None:
    """Run the work and keep its outcome for the callers. The task itself never fails, so no failure is logged twice."""

    def report(progress: P) -> None:
        flight.progress[:] = [merge(flight.progress[0], progress)] if flight.progress else [progress]
        for listener in tuple(flight.listeners):
            listener(progress)

    try:
        flight.result.append(await work(report))
    except Exception as error:
        flight.error = error


async def _wait(flight: _Flight[P, T]) -> None:
    """Wait until the work has ended, with whatever outcome; a cancellation of this call does not cancel the work."""
    assert flight.task is not None
    await asyncio.wait({flight.task})
