"""The composition root: what the service is made of, read from top to bottom, and in which order it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from smartmob.commands.routes import table as command_routes
from smartmob.commands.service import CommandsService
from smartmob.commands.stock.door import StockDoor
from smartmob.commands.store import JobStore
from smartmob.errors import Unavailable
from smartmob.kernel import migrations
from smartmob.kernel.auth import HostRules, Tokens
from smartmob.kernel.datadir import DataDirectory
from smartmob.kernel.db import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.events import EventBus
from smartmob.kernel.health import Readiness, database_check, disk_check
from smartmob.kernel.prometheus import Figures, http_metrics, task_metrics, writer_metrics
from smartmob.kernel.routes import KernelRoutes
from smartmob.kernel.routing import mount, public_paths
from smartmob.kernel.tasks import TaskRegistry
from smartmob.kernel.web import AccessLog, BodyReader, Entrance, Traffic
from smartmob.kernel.writer import GroupCommitWriter
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as metrics_routes
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.settings import Settings

log = structlog.get_logger()

MIGRATED_ROOMS = ("smartmob.metrics", "smartmob.commands")


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: the application to serve, and what the one who serves it must reach."""

    app: web.Application
    bus: EventBus
    tasks: TaskRegistry
    readiness: Readiness
    traffic: Traffic
    embedded: EmbeddedPostgres | None
    kernel: KernelRoutes
    endings: tuple[Callable[[], Awaitable[None]], ...]

    @property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.kernel.document

    def stopping(self) -> None:
        """Tell everybody who asks that the service takes no more work."""
        self.readiness.stopping = True

    async def finish(self, seconds: float) -> None:
        """Return when the rooms have ended what they run, and requests are answered or their time is up."""
        await asyncio.gather(*(end() for end in self.endings))
        await self.traffic.finish(seconds)

    def stop_at_once(self) -> None:
        """End what would outlive this process."""
        if self.embedded is not None:
            self.embedded.stop_at_once()


def _no_access_log(*_: object) -> None:
    """Log no requests."""


def build(settings: Settings, access_log: AccessLog = _no_access_log) -> Service:
    """Return the service for `settings`; nothing is started until its application is."""
    bus, tasks, readiness, traffic = EventBus(), TaskRegistry(), Readiness(), Traffic(access_log)
    folder = DataDirectory(settings.data_dir)
    embedded = None if settings.database.url else EmbeddedPostgres(settings.data_dir / "postgres", tasks)
    database = Database(settings.database, embedded)

    metrics_writer = MetricsWriter(database)
    live_metrics = GroupCommitWriter(
        "metrics", database, metrics_writer.commit, committed=lambda count: bus.publish(MetricsStored(count))
    )
    metrics = MetricsService(MetricsReader(database), metrics_writer, live_metrics, bus, settings.metrics)

    job_store = JobStore(database)
    job_writer = GroupCommitWriter("jobs", database, job_store.commit)
    commands = CommandsService(job_store, job_writer, bus, tasks, settings.commands, folder=folder.path / "commands")
    stock_door = StockDoor(commands, settings.conplyent, tasks)

    figures = Figures()
    figures.add(http_metrics(traffic))
    figures.add(writer_metrics(live_metrics, job_writer))
    figures.add(task_metrics(tasks))
    readiness.add("database", database_check(database))
    readiness.add("disk", disk_check(folder))

    tokens, bodies = Tokens(settings.token), BodyReader(settings.max_body, settings.body_timeout)
    kernel = KernelRoutes(readiness, figures, tokens, bodies)
    tables = (kernel.table(), metrics_routes.table(metrics, bodies), command_routes.table(commands, bodies))
    kernel.describe(tables)

    hosts = HostRules(settings.host, settings.allow_host)
    entrance = Entrance(tokens, hosts, public_paths(tables), traffic)
    app = web.Application(middlewares=[entrance.middleware()], client_max_size=settings.max_body)
    mount(app, tables)

    async def run_metrics(_: web.Application) -> AsyncIterator[None]:
        await live_metrics.start(tasks)
        maintenance = tasks.start("metrics-maintenance", metrics.maintain_for_ever())
        yield
        maintenance.cancel()
        await live_metrics.close()

    async def run_commands(_: web.Application) -> AsyncIterator[None]:
        try:
            await commands.start()
            await stock_door.start()
            yield
        finally:
            await stock_door.close()
            await commands.close()

    # Started in this order and stopped in the reverse one.
    lower = (_hold(folder), _end(tasks), _open(database, readiness))
    app.cleanup_ctx.extend((*lower, run_metrics, run_commands))
    return Service(app, bus, tasks, readiness, traffic, embedded, kernel, (commands.end,))


Life = Callable[[web.Application], AsyncIterator[None]]


def _hold(folder: DataDirectory) -> Life:
    async def run(_: web.Application) -> AsyncIterator[None]:
        folder.hold()
        yield
        folder.release()

    return run


def _end(tasks: TaskRegistry) -> Life:
    async def run(_: web.Application) -> AsyncIterator[None]:
        yield
        await tasks.close()

    return run


def _open(database: Database, readiness: Readiness) -> Life:
    async def run(_: web.Application) -> AsyncIterator[None]:
        try:
            await database.open()
            await _migrate(database, readiness)
        except BaseException:
            await database.close()
            raise
        yield
        await database.close()

    return run


async def _migrate(database: Database, readiness: Readiness) -> None:
    """Bring the tables up to date, and let readiness tell of it."""
    wanted = migrations.collect(MIGRATED_ROOMS)
    connection = await database.connect()
    try:
        await migrations.apply(connection, wanted)
    finally:
        await connection.close()

    async def check() -> None:
        applied = await database.fetchval("SELECT count(*) FROM schema_migrations")
        if applied < len(wanted):
            raise Unavailable(f"{len(wanted) - applied} migrations are missing; restart the service to apply them")

    readiness.add("migrations", check)
