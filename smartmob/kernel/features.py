"""What the composition root hands to each feature, and what it gets back: how a feature is started and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Commit, GroupCommitWriter
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.requests import BodyReader
from smartmob.kernel.http.routing import RouteTable
from smartmob.kernel.observability.prometheus import MetricsRegistry
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.settings import Settings

R = TypeVar("R")


def _unsaid(_: int) -> object:
    """Tell nothing in particular."""
    return None


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What every feature is given."""

    settings: Settings
    bus: EventBus
    tasks: TaskRegistry
    database: Database
    spawner: Spawner
    tokens: TokenAuthenticator
    bodies: BodyReader
    figures: MetricsRegistry
    viewers: ConnectionLimit

    def writer(
        self, feature: str, commit: Commit[R], stored: Callable[[int], object] = _unsaid
    ) -> GroupCommitWriter[R]:
        """Return the feature's way to commit rows; `stored` makes the event that tells how many were."""
        return GroupCommitWriter(
            feature, self.database, commit, committed=lambda count: self.bus.publish(stored(count))
        )


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature gives: its routes, its writer if it has tables, and the work that goes on as long as the service.

    `start` is called once the writer runs and before the work begins, `close` when the work has ended and before the
    writer does, also when `start` has failed. `end` is called when the service begins to stop, before the connections
    are closed, and the service waits for it. `service` is what other features may call;
    the composition root passes it on.
    """

    table: RouteTable
    live: GroupCommitWriter[Any] | None = None
    background_tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    start: Callable[[], Awaitable[object]] | None = None
    close: Callable[[], Awaitable[object]] | None = None
    end: Callable[[], Awaitable[object]] | None = None
    service: object | None = None

    async def run(self, tasks: TaskRegistry) -> AsyncIterator[None]:
        """Start the feature, and end it when the service stops."""
        if self.live is not None:
            await self.live.start(tasks)
        running = []
        try:
            if self.start is not None:
                await self.start()
            running = [tasks.supervise(name, work) for name, work in self.background_tasks.items()]
            yield
        finally:
            for task in running:
                task.cancel()
            if self.close is not None:
                await self.close()
            if self.live is not None:
                await self.live.close()
