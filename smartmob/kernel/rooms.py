"""What the composition root hands to each room, and what it gets back: how a room is started and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from smartmob.kernel.auth import Tokens
from smartmob.kernel.children.nursery import Nursery
from smartmob.kernel.db import Database
from smartmob.kernel.events import EventBus
from smartmob.kernel.places import Places
from smartmob.kernel.prometheus import Figures
from smartmob.kernel.routing import RouteTable
from smartmob.kernel.tasks import TaskRegistry
from smartmob.kernel.web import BodyReader
from smartmob.kernel.writer import Commit, GroupCommitWriter
from smartmob.settings import Settings

R = TypeVar("R")


def _unsaid(_: int) -> object:
    """Tell nothing in particular."""
    return None


@dataclass(frozen=True, slots=True)
class House:
    """What every room is given."""

    settings: Settings
    bus: EventBus
    tasks: TaskRegistry
    database: Database
    nursery: Nursery
    tokens: Tokens
    bodies: BodyReader
    figures: Figures
    viewers: Places

    def writer(self, room: str, commit: Commit[R], stored: Callable[[int], object] = _unsaid) -> GroupCommitWriter[R]:
        """Return the room's way to commit rows; `stored` makes the event that tells how many were."""
        return GroupCommitWriter(room, self.database, commit, committed=lambda count: self.bus.publish(stored(count)))


@dataclass(frozen=True, slots=True)
class Room:
    """What a room gives: its routes, its writer if it has tables, and the work that goes on as long as the service.

    `start` is called once the writer runs and before the work begins, `close` when the work has ended and before the
    writer does, also when `start` has failed. `end` is called when the service begins to stop, before the connections
    are closed, and the service waits for it. `face` is what other rooms may ask, for the composition root to hand on.
    """

    table: RouteTable
    live: GroupCommitWriter[Any] | None = None
    works: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    start: Callable[[], Awaitable[object]] | None = None
    close: Callable[[], Awaitable[object]] | None = None
    end: Callable[[], Awaitable[object]] | None = None
    face: object | None = None

    async def run(self, tasks: TaskRegistry) -> AsyncIterator[None]:
        """Start the room, and end it when the service stops."""
        if self.live is not None:
            await self.live.start(tasks)
        running = []
        try:
            if self.start is not None:
                await self.start()
            running = [tasks.supervise(name, work) for name, work in self.works.items()]
            yield
        finally:
            for task in running:
                task.cancel()
            if self.close is not None:
                await self.close()
            if self.live is not None:
                await self.live.close()
