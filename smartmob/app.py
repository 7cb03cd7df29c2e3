"""The composition root: what the service is made of, read from top to bottom, and in which order it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from smartmob.commands.routes import table as command_routes
from smartmob.commands.service import CommandsService
from smartmob.commands.stock.door import StockDoor
from smartmob.commands.store import JobStore
from smartmob.errors import Unavailable
from smartmob.kernel import migrations
from smartmob.kernel.auth import HostRules, Tokens
from smartmob.kernel.children.nursery import Nursery
from smartmob.kernel.datadir import DataDirectory
from smartmob.kernel.db import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.events import EventBus, ServiceStopping
from smartmob.kernel.health import Readiness, database_check, disk_check
from smartmob.kernel.prometheus import Figures, http_metrics, task_metrics, writer_metrics
from smartmob.kernel.rooms import House, Room
from smartmob.kernel.routes import KernelRoutes
from smartmob.kernel.routing import mount, public_paths
from smartmob.kernel.tasks import TaskRegistry
from smartmob.kernel.web import AccessLog, BodyReader, Entrance, Traffic
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as metrics_routes
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.processes import routes as processes_routes
from smartmob.processes.preparer import Preparer
from smartmob.processes.service import ProcessesService
from smartmob.processes.store import ProcessStore
from smartmob.settings import Settings

MIGRATED_ROOMS = ("smartmob.metrics", "smartmob.processes", "smartmob.commands")


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
    rooms: tuple[Room, ...]

    @property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.kernel.document

    def stopping(self) -> None:
        """Tell everybody that the service takes no more work."""
        self.readiness.stopping = True
        self.bus.publish(ServiceStopping())

    async def end(self) -> None:
        """Return when the rooms have ended what goes on for ever."""
        self.stopping()
        await asyncio.gather(*(room.end() for room in self.rooms if room.end is not None))

    async def finish(self, seconds: float) -> None:
        """Return when the rooms have ended what they run, and requests are answered or their time is up."""
        await self.end()
        await self.traffic.finish(seconds)

    def stop_at_once(self) -> None:
        """End what would outlive this process."""
        if self.embedded is not None:
            self.embedded.stop_at_once()


def _no_access_log(*_: object) -> None:
    """Log no requests."""


def _metrics(house: House) -> Room:
    writer = MetricsWriter(house.database)
    live = house.writer("metrics", writer.commit, MetricsStored)
    service = MetricsService(MetricsReader(house.database), writer, live, house.bus, house.settings.metrics)
    return Room(metrics_routes.table(service, house.bodies), live, {"metrics-maintenance": service.maintain_for_ever})


def _processes(house: House) -> Room:
    settings, store = house.settings.processes, ProcessStore(house.database)
    live = house.writer("processes", store.commit)
    preparer = Preparer(house.settings.data_dir / "processes", house.nursery, house.tasks, settings)
    service = ProcessesService(store, live, preparer, house, settings)
    works = {"process-samples": service.sample_for_ever, "process-maintenance": service.maintain_for_ever}
    table = processes_routes.table(service, house.bodies, house.tasks, settings.viewer_bytes)
    return Room(table, live, works, service.start, service.close, service.stop)


def _commands(house: House) -> Room:
    store = JobStore(house.database)
    live = house.writer("jobs", store.commit)
    settings, folder = house.settings, house.settings.data_dir / "commands"
    made_of = (store, live, house.nursery, house.bus, house.tasks, settings.commands)
    service = CommandsService(*made_of, folder=folder)
    door = StockDoor(service, settings.conplyent, house.tasks)
    works = {"commands-maintenance": service.maintain_for_ever}
    return Room(command_routes.table(service, house.bodies), live, works, door.open, door.close, service.end)


def build(settings: Settings, access_log: AccessLog = _no_access_log) -> Service:
    """Return the service for `settings`; nothing is started until its application is."""
    bus, tasks, readiness, traffic = EventBus(), TaskRegistry(), Readiness(), Traffic(access_log)
    folder = DataDirectory(settings.data_dir)
    embedded = None if settings.database.url else EmbeddedPostgres(settings.data_dir / "postgres", tasks)
    database, figures, nursery = Database(settings.database, embedded), Figures(), Nursery(tasks)
    tokens, bodies = Tokens(settings.token), BodyReader(settings.max_body, settings.body_timeout)

    house = House(settings, bus, tasks, database, nursery, tokens, bodies, figures)
    rooms = (_metrics(house), _processes(house), _commands(house))

    figures.add(http_metrics(traffic))
    figures.add(writer_metrics(*(room.live for room in rooms)))
    figures.add(task_metrics(tasks))
    readiness.add("database", database_check(database))
    readiness.add("disk", disk_check(folder))

    kernel = KernelRoutes(readiness, figures, tokens, bodies)
    tables = (kernel.table(), *(room.table for room in rooms))
    kernel.describe(tables)
    entrance = Entrance(tokens, HostRules(settings.host, settings.allow_host), public_paths(tables), traffic)
    app = web.Application(middlewares=[entrance.middleware()], client_max_size=settings.max_body)
    mount(app, tables)
    service = Service(app, bus, tasks, readiness, traffic, embedded, kernel, rooms)

    async def run_folder(_: web.Application) -> AsyncIterator[None]:
        folder.hold()
        yield
        folder.release()

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        yield
        await tasks.close()

    async def run_children(_: web.Application) -> AsyncIterator[None]:
        await nursery.start()
        yield
        await nursery.close()

    async def run_database(_: web.Application) -> AsyncIterator[None]:
        try:
            await database.open()
            await _migrate(database, readiness)
        except BaseException:
            await database.close()
            raise
        yield
        await database.close()

    # Started in this order and stopped in the reverse one.
    app.cleanup_ctx.extend((run_folder, run_tasks, run_children, run_database))
    app.cleanup_ctx.extend(lambda _, room=room: room.run(tasks) for room in rooms)
    app.on_shutdown.append(lambda _: service.end())
    return service


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
