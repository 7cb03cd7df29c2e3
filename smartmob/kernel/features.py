"""The interface between the composition root and a feature: what a feature needs, and how it is started and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.routing import RouteTable
from smartmob.kernel.observability.health import Readiness
from smartmob.kernel.observability.prometheus import MetricsRegistry
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.settings import Settings

if TYPE_CHECKING:  # a node has no database, and does not load its driver
    from smartmob.kernel.db.database import Database
    from smartmob.kernel.db.shards import RowShards
    from smartmob.kernel.db.writer import Commit, GroupCommitWriter
    from smartmob.kernel.services.service_outbox import Encode, ServiceOutbox
    from smartmob.kernel.services.service_registry import ServiceRegistry

R = TypeVar("R")
S_co = TypeVar("S_co", covariant=True)


def _no_event(_: int) -> None:
    """Return no event."""


class KernelParts(msgspec.Struct, frozen=True):
    """The parts of the kernel that a feature may also use on a node, which has no database."""

    settings: Settings
    bus: EventBus
    tasks: TaskRegistry
    spawner: Spawner
    tokens: TokenAuthenticator
    bodies: BodyReader
    metrics_registry: MetricsRegistry
    viewers: ConnectionLimit
    readiness: Readiness
    guard: ReservationGuard


class Dependencies(KernelParts, frozen=True):
    """The parts of the kernel that every feature of a service may use.

    `outbox` is None unless this service joins another one.
    """

    database: Database
    services: ServiceRegistry
    outbox: ServiceOutbox | None = None

    def writer(
        self,
        feature: str,
        commit: Commit[R],
        stored: Callable[[int], object] = _no_event,
        outgoing: Encode[R] | None = None,
        shards: RowShards[R] | None = None,
        delay: float = 0.0,
    ) -> GroupCommitWriter[R]:
        """Return the group-commit writer of a feature; `stored` makes the event for a number of committed rows.

        `outgoing` returns the record of a row for the service that this one has joined. `shards` are those of the rows
        in a distributed database. `delay` are the seconds in which rows are gathered before a commit.
        """
        from smartmob.kernel.db.writer import GroupCommitWriter

        if shards is not None and not self.settings.database.direct_nodes:
            shards.leave_nodes()
        if self.outbox is not None and outgoing is not None:
            commit = self.outbox.forwarding(commit, outgoing)
            if shards is not None:
                # The records of an outbox are in the same transaction, and in a table of the coordinator.
                shards.leave_nodes()
        return GroupCommitWriter(
            feature, self.database, commit,
            committed=lambda count: self.bus.publish(stored(count)), shards=shards, delay=delay,
        )  # fmt: skip


class Lifecycle(msgspec.Struct, frozen=True):
    """A feature as the server sees it: its routes, its writer if it has tables, and how it is started and stopped.

    `start` is called after the writer has started and before the background tasks. `stop` is called when the service
    begins to stop, before connections are closed. `close` is called after the background tasks have ended and before
    the writer is closed, also if `start` has failed.
    """

    table: RouteTable
    writer: RowWriter[Any] | None = None
    background_tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = msgspec.field(default_factory=dict)
    start: Callable[[], Awaitable[object]] | None = None
    stop: Callable[[], Awaitable[object]] | None = None
    close: Callable[[], Awaitable[object]] | None = None

    async def run(self, tasks: TaskRegistry) -> AsyncIterator[None]:
        """Start the feature, yield, and close it."""
        if self.writer is not None:
            await self.writer.start(tasks)
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
            if self.writer is not None:
                await self.writer.close()


class Feature(Lifecycle, Generic[S_co], frozen=True, kw_only=True):
    """A built feature. Its `service` is what other features may call; the composition root passes it on."""

    service: S_co
