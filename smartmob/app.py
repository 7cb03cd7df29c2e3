"""The composition root: what the service is made of, read from top to bottom, and in which order it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from smartmob.errors import Unavailable
from smartmob.hosts.events import SamplesStored
from smartmob.hosts.routes import table as hosts_routes
from smartmob.hosts.routes.echo import EchoRoute
from smartmob.hosts.sampler.csvfile import LoadFile
from smartmob.hosts.sampler.figures import figures as host_figures
from smartmob.hosts.sampler.ticking import Sampler
from smartmob.hosts.service import HostsService
from smartmob.hosts.session import Watchers
from smartmob.hosts.store.partitions import Partitions
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel import migrations
from smartmob.kernel.auth import HostRules, Tokens
from smartmob.kernel.datadir import DataDirectory
from smartmob.kernel.db import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.events import EventBus, ServiceStopping
from smartmob.kernel.health import Readiness, database_check, disk_check
from smartmob.kernel.prometheus import Figures, gauges, http_metrics, task_metrics, writer_metrics
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
from smartmob.settings import Settings

MIGRATED_ROOMS = ("smartmob.hosts", "smartmob.metrics")


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

    @property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.kernel.document

    def stopping(self) -> None:
        """Tell everybody who asks that the service takes no more work."""
        self.readiness.stopping = True
        self.bus.publish(ServiceStopping())

    async def finish(self, seconds: float) -> None:
        """Return when the requests under way have been answered, or the time is up."""
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


def _hosts(house: House) -> Room:
    settings, database = house.settings.hosts, house.database
    writer = HostsWriter(database)
    live = house.writer("hosts", writer.commit, SamplesStored)
    service = HostsService(HostsReader(database), writer, Partitions(database), live, house.bus, settings)
    sampler = Sampler(str(settings.disk))
    load_file = LoadFile(house.settings.data_dir, settings.csv_bytes, settings.csv_kept)
    sampler.each_second.extend((service.keep_own, load_file.write))
    watchers = Watchers(sampler)
    echo = EchoRoute(service, watchers, house.tokens, settings, house.tasks)
    house.bus.subscribe(ServiceStopping, echo.stopping)
    house.figures.add(gauges(lambda: host_figures(sampler, lambda: echo.connections, lambda: len(watchers))))
    works = {
        "hosts-sampler": sampler.look_for_ever,
        "hosts-watchers": watchers.tell_for_ever,
        "hosts-own-samples": service.store_own_for_ever,
        "hosts-maintenance": lambda: service.maintain_for_ever(database.patience),
    }

    async def start() -> None:
        await service.start()
        await sampler.look()

    table = hosts_routes.table(service, sampler, echo, house.bodies, house.tokens, house.settings)
    return Room(table, live, works, start)


def build(settings: Settings, access_log: AccessLog = _no_access_log) -> Service:
    """Return the service for `settings`; nothing is started until its application is."""
    bus, tasks, readiness, traffic = EventBus(), TaskRegistry(), Readiness(), Traffic(access_log)
    folder = DataDirectory(settings.data_dir)
    embedded = None if settings.database.url else EmbeddedPostgres(settings.data_dir / "postgres", tasks)
    database, figures = Database(settings.database, embedded), Figures()
    tokens, bodies = Tokens(settings.token), BodyReader(settings.max_body, settings.body_timeout)

    house = House(settings, bus, tasks, database, tokens, bodies, figures)
    rooms = (_metrics(house), _hosts(house))

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

    async def say_farewell(_: web.Application) -> None:
        bus.publish(ServiceStopping())

    async def run_folder(_: web.Application) -> AsyncIterator[None]:
        folder.hold()
        yield
        folder.release()

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        yield
        await tasks.close()

    async def run_database(_: web.Application) -> AsyncIterator[None]:
        try:
            await database.open()
            await _migrate(database, readiness)
        except BaseException:
            await database.close()
            raise
        yield
        await database.close()

    app.on_shutdown.append(say_farewell)
    # Started in this order and stopped in the reverse one.
    app.cleanup_ctx.extend((run_folder, run_tasks, run_database))
    app.cleanup_ctx.extend(lambda _, room=room: room.run(tasks) for room in rooms)
    return Service(app, bus, tasks, readiness, traffic, embedded, kernel)


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
