"""What the composition root hands to each room, and what it gets back: how a room is started and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from smartmob.kernel.auth import Tokens
from smartmob.kernel.db import Database
from smartmob.kernel.events import EventBus
from smartmob.kernel.prometheus import Figures
from smartmob.kernel.routing import RouteTable
from smartmob.kernel.tasks import TaskRegistry
from smartmob.kernel.web import BodyReader
from smartmob.kernel.writer import Commit, GroupCommitWriter
from smartmob.settings import Settings

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class House:
    """What every room is given."""

    settings: Settings
    bus: EventBus
    tasks: TaskRegistry
    database: Database
    tokens: Tokens
    bodies: BodyReader
    figures: Figures

    def writer(self, room: str, commit: Commit[R], stored: Callable[[int], object]) -> GroupCommitWriter[R]:
        """Return the room's way to commit rows; `stored` makes the event that tells how many were."""
        return GroupCommitWriter(room, self.database, commit, committed=lambda count: self.bus.publish(stored(count)))


@dataclass(frozen=True, slots=True)
class Room:
    """What a room gives: its routes, its writer, and the work that goes on as long as the service, by name."""

    table: RouteTable
    live: GroupCommitWriter[Any]
    works: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    start: Callable[[], Awaitable[object]] | None = None

    async def run(self, tasks: TaskRegistry) -> AsyncIterator[None]:
        """Start the room, and end it when the service stops."""
        await self.live.start(tasks)
        if self.start is not None:
            await self.start()
        running = [tasks.start(name, work()) for name, work in self.works.items()]
        yield
        for task in running:
            task.cancel()
        await self.live.close()
