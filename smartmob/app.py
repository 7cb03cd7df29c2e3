"""The composition root: it builds all parts of the service and sets the order in which they start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from smartmob import node_activity, service_activity
from smartmob.alerts import feature as alerts
from smartmob.commands import feature as commands
from smartmob.console import feature as console
from smartmob.console.services import Services
from smartmob.distribution import DISTRIBUTOR
from smartmob.experiments import feature as experiments
from smartmob.hosts import feature as hosts
from smartmob.kernel.audit import feature as audit
from smartmob.kernel.auth import feature as access
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.db import migrations
from smartmob.kernel.db.database import Database
from smartmob.kernel.embedded import early_start
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.features import Dependencies, Lifecycle
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.gate import Proxies, RequestGate, RequestStats, trusted_proxies
from smartmob.kernel.http.routes import KernelRoutes
from smartmob.kernel.http.routing import Route, mount, public_paths
from smartmob.kernel.observability.health import Readiness, database_check, disk_check, tasks_check
from smartmob.kernel.observability.log import AccessLog
from smartmob.kernel.observability.prometheus import (
    MetricsRegistry,
    auth_metrics,
    http_metrics,
    task_metrics,
    writer_metrics,
)
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import LoopLag, TaskRegistry
from smartmob.kernel.services import service_outbox
from smartmob.kernel.services.service_outbox import ServiceOutbox
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.marks import feature as marks
from smartmob.metrics import feature as metrics
from smartmob.nodes import feature as nodes
from smartmob.nodes.model import NodeActivity
from smartmob.processes import feature as processes
from smartmob.reservations import feature as reservations
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES
from smartmob.turrets import feature as turrets


class Service(msgspec.Struct, frozen=True):
    """A built service: the application to serve, and the parts that the server and the tests use."""

    app: web.Application
    bus: EventBus
    tasks: TaskRegistry
    readiness: Readiness
    gate: RequestGate
    embedded: EmbeddedPostgres | None
    kernel: KernelRoutes
    features: tuple[Lifecycle, ...]
    services: Services
    database: Database
    metrics: MetricsRegistry
    outbox: ServiceOutbox | None = None

    @property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.kernel.document

    def activity(self) -> NodeActivity:
        """Return the programs and the running jobs."""
        return node_activity.activity(self.services.processes, self.services.commands)

    def announce_stop(self) -> None:
        """Fail the readiness check and publish ServiceStopping, once."""
        if not self.readiness.stopping:
            self.readiness.stopping = True
            self.bus.publish(ServiceStopping())

    async def stop(self) -> None:
        """Stop the processes, jobs and runs of all features; wait until they have stopped."""
        self.announce_stop()
        await asyncio.gather(*(feature.stop() for feature in self.features if feature.stop is not None))

    async def drain(self, seconds: float) -> None:
        """Stop the features, then wait until all active requests are answered, at most `seconds`."""
        await self.stop()
        await self.gate.request_stats.drain(seconds)

    def force_stop(self) -> None:
        """Stop the embedded database, which would outlive this process."""
        if self.embedded is not None:
            self.embedded.stop_at_once()


def build(
    settings: Settings,
    access_log: AccessLog = lambda _: None,
    proxies: Proxies | None = None,
    early: early_start.EarlyStart | None = None,
) -> Service:
    """Return the service for `settings`, of which nothing runs yet except `early`. `proxies` are before the gate."""
    early = early or early_start.made(settings.data_dir, embedded=not settings.database.url)
    bus, readiness, request_stats, registry = EventBus(), Readiness(), RequestStats(access_log), MetricsRegistry()
    tasks, embedded = early.tasks, early.embedded
    database, spawner = Database(settings.database, embedded, settings.workers), Spawner(tasks)
    attempts = AttemptLimit(settings.auth_tries, bus=bus)
    tokens = TokenAuthenticator(settings.token, attempts, instance=str(settings.data_dir.absolute()))
    mounted = dict[web.AbstractRoute, Route]()
    bodies = BodyReader(settings.max_body, settings.body_timeout, settings.body_least_rate, mounted)
    viewers = ConnectionLimit("viewers", settings.viewers, settings.viewers_by_address)
    services, guard = ServiceRegistry(database, settings, alone=embedded is not None), ReservationGuard(mounted)
    kernel_parts = (settings, bus, tasks, spawner, tokens, bodies, registry, viewers, readiness, guard)
    outbox = service_outbox.made(database, services, settings)
    dependencies = Dependencies(*kernel_parts, database, services, outbox)
    built, found = _build_features(dependencies)
    features = (audited := audit.build(dependencies), *built)

    registry.add(http_metrics(request_stats), auth_metrics(attempts), task_metrics(tasks, lag := LoopLag()))
    registry.add(writer_metrics(*(feature.writer for feature in features if feature.writer is not None)))
    readiness.add("database", database_check(database))
    readiness.add("replica", database.note, quiet=True)
    readiness.add("disk", disk_check(early.folder))
    readiness.add("tasks", tasks_check(tasks))
    kernel = KernelRoutes(readiness, registry, tokens, bodies, *(feature.table for feature in features))
    proxies, record = proxies or trusted_proxies(settings), audited.service.record_request
    public, rules = public_paths(kernel.tables), HostRules(settings.host, settings.allow_host)
    gate = RequestGate(
        tokens, rules, public, request_stats, mounted,
        proxies=proxies, audit=record, guard=guard, replica_reads=database.replica_reads(),
    )  # fmt: skip
    app = web.Application(middlewares=[gate.middleware()], client_max_size=settings.max_body)
    mounted |= mount(app, kernel.tables)
    service = Service(app, bus, tasks, readiness, gate, embedded, kernel, features, found, database, registry, outbox)

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        tasks.supervise("loop-lag", lag.watch)
        yield
        await spawner.close()
        await tasks.close()

    async def run_database(_: web.Application) -> AsyncIterator[None]:
        try:
            await database.open()
            readiness.add("migrations", await migrations.bring_up_to_date(database, MIGRATED_FEATURES, DISTRIBUTOR))
            yield
        finally:
            await database.close()

    # They are started in this order and stopped in the reverse order.
    app.cleanup_ctx.extend((early.run_folder, run_tasks, run_database, lambda _: services.run(tasks)))
    app.cleanup_ctx.extend(lambda _, feature=feature: feature.run(tasks) for feature in features)
    app.cleanup_ctx.append(lambda _: service_activity.publishing(tasks, services, found.processes, found.commands))
    app.on_shutdown.append(lambda _: service.stop())
    return service


def _build_features(dependencies: Dependencies) -> tuple[tuple[Lifecycle, ...], Services]:
    """Return the tokens, all features in the order in which they are started, the console, and their services."""
    built_hosts = hosts.build(dependencies)
    hosts_service = built_hosts.service
    built_metrics = metrics.build(dependencies, host_load=hosts_service.queries, host_finder=hosts_service.addresses)
    built_processes = processes.build(dependencies)
    built_commands = commands.build(dependencies, programs=built_processes.service.one_off)
    built_turrets = turrets.build(dependencies, host_load=hosts_service.queries)
    built_marks, built_nodes = marks.build(dependencies), nodes.build(dependencies, hosts_service)
    built_experiments = experiments.build(dependencies)
    services = Services(
        metrics=built_metrics.service,
        hosts=hosts_service,
        processes=built_processes.service,
        commands=built_commands.service,
        turrets=built_turrets.service,
        marks=built_marks.service,
        nodes=built_nodes.service,
        experiments=built_experiments.service,
    )
    built_alerts = alerts.build(dependencies, services)
    built = (built_metrics, built_hosts, built_processes, built_commands, built_turrets, built_marks, built_alerts)
    last = (built_nodes, reservations.build(dependencies, built_nodes.service), built_experiments)
    shown = console.build(dependencies, services, built_alerts.service)
    return (access.build(dependencies), *built, *last, shown), services
