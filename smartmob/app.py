"""The composition root: what the service is made of, read from top to bottom, and in which order it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from smartmob.commands import feature as commands
from smartmob.console import feature as console
from smartmob.console.services import Services
from smartmob.errors import Unavailable
from smartmob.hosts import feature as hosts
from smartmob.kernel.auth import feature as access
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.db import migrations
from smartmob.kernel.db.database import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.features import Dependencies, Feature
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.requests import AccessLog, BodyReader, RequestGate, RequestStats
from smartmob.kernel.http.routes import KernelRoutes
from smartmob.kernel.http.routing import Route, mount, public_paths
from smartmob.kernel.observability.health import Readiness, database_check, disk_check, tasks_check
from smartmob.kernel.observability.prometheus import (
    MetricsRegistry,
    auth_metrics,
    http_metrics,
    task_metrics,
    writer_metrics,
)
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import LoopLag, TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.marks import feature as marks
from smartmob.metrics import feature as metrics
from smartmob.processes import feature as processes
from smartmob.settings import Settings
from smartmob.turrets import feature as turrets

FEATURES = (metrics, hosts, processes, commands, turrets, marks)
"""In the order in which they are started."""

# The names under which the ledger of the database knows them, with their packages.
MIGRATED_FEATURES = {
    "access": "smartmob.kernel.auth",
    **{str(feature.__package__).rpartition(".")[2]: str(feature.__package__) for feature in FEATURES},
    "upkeep": "smartmob.kernel.maintenance",
}

PARTITIONS = hosts.PARTITIONS | turrets.PARTITIONS
"""The divided tables, with the form of the times in the names of their partitions."""


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: the application to serve, and what the one who serves it must reach."""

    app: web.Application
    bus: EventBus
    tasks: TaskRegistry
    readiness: Readiness
    gate: RequestGate
    embedded: EmbeddedPostgres | None
    kernel: KernelRoutes
    features: tuple[Feature, ...]

    @property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.kernel.document

    def stopping(self) -> None:
        """Tell everybody, once, that the service takes no more work."""
        if not self.readiness.stopping:
            self.readiness.stopping = True
            self.bus.publish(ServiceStopping())

    async def end(self) -> None:
        """Return when the features have ended what goes on for ever."""
        self.stopping()
        await asyncio.gather(*(feature.end() for feature in self.features if feature.end is not None))

    async def finish(self, seconds: float) -> None:
        """Return when the features have ended what they run, and requests are answered or their time is up."""
        await self.end()
        await self.gate.request_stats.finish(seconds)

    def stop_at_once(self) -> None:
        """End what would outlive this process."""
        if self.embedded is not None:
            self.embedded.stop_at_once()


def _no_access_log(*_: object) -> None:
    """Log no requests."""


def build(settings: Settings, access_log: AccessLog = _no_access_log) -> Service:
    """Return the service for `settings`; nothing is started until its application is."""
    bus, tasks, readiness, request_stats = EventBus(), TaskRegistry(), Readiness(), RequestStats(access_log)
    folder = DataDirectory(settings.data_dir)
    embedded = None if settings.database.url else EmbeddedPostgres(settings.data_dir / "postgres", tasks)
    database, figures, spawner = Database(settings.database, embedded), MetricsRegistry(), Spawner(tasks)
    tokens = TokenAuthenticator(settings.token, AttemptLimit(settings.auth_tries), str(settings.data_dir.absolute()))
    known = dict[web.AbstractRoute, Route]()
    bodies = BodyReader(settings.max_body, settings.body_timeout, settings.body_least_rate, known)
    viewers = ConnectionLimit("viewers", settings.viewers, settings.viewers_by_address)
    dependencies = Dependencies(settings, bus, tasks, database, spawner, tokens, bodies, figures, viewers)
    built = {feature: feature.build(dependencies) for feature in FEATURES}
    services = _wired({feature: built[feature].service for feature in FEATURES})
    features = (access.build(dependencies), *built.values(), console.build(dependencies, services))

    figures.add(http_metrics(request_stats), auth_metrics(tokens.tries))
    figures.add(writer_metrics(*(feature.live for feature in features if feature.live is not None)))
    figures.add(task_metrics(tasks, lag := LoopLag()))
    readiness.add("database", database_check(database))
    readiness.add("disk", disk_check(folder))
    readiness.add("tasks", tasks_check(tasks))

    kernel = KernelRoutes(readiness, figures, tokens, bodies)
    tables = (kernel.table(), *(feature.table for feature in features))
    kernel.describe(tables)
    hosts_answered = HostRules(settings.host, settings.allow_host)
    gate = RequestGate(tokens, hosts_answered, public_paths(tables), request_stats, known)
    app = web.Application(middlewares=[gate.middleware()], client_max_size=settings.max_body)
    known |= mount(app, tables)
    service = Service(app, bus, tasks, readiness, gate, embedded, kernel, features)

    async def run_folder(_: web.Application) -> AsyncIterator[None]:
        folder.hold()
        yield
        folder.release()

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        tasks.supervise("loop lag", lag.watch)
        yield
        await tasks.close()

    async def run_children(_: web.Application) -> AsyncIterator[None]:
        yield
        await spawner.close()

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
    app.cleanup_ctx.extend(lambda _, feature=feature: feature.run(tasks) for feature in features)
    app.on_shutdown.append(lambda _: service.end())
    return service


def _wired(services: Mapping[Any, Any]) -> Services:
    """Return the services of the features, after those that need each other have been told."""
    found = Services(
        metrics=services[metrics],
        hosts=services[hosts],
        processes=services[processes],
        commands=services[commands],
        turrets=services[turrets],
        marks=services[marks],
    )
    found.turrets.reports.host_load = found.hosts
    found.metrics.introduce(found.hosts)
    return found


async def _migrate(database: Database, readiness: Readiness) -> None:
    """Bring the tables up to date, and let readiness tell of it."""
    wanted = migrations.collect(MIGRATED_FEATURES)
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
