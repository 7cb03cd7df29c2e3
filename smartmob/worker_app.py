"""The composition of a service with workers: the owner's side of a built service, and the application of a worker.

The owner has the programs, jobs, load tests, links of nodes and caches. A worker has the routes that need only the
database (`Route.in_workers`), and passes all other requests on to the owner.
"""

from __future__ import annotations

import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from smartmob.app import Service, build
from smartmob.errors import SmartmobError
from smartmob.hosts import feature as hosts
from smartmob.hosts.events import AddressSeen, HostRegistered, HostRemoved, SamplesStored
from smartmob.hosts.service import HostsService
from smartmob.kernel.auth import feature as access
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.auth.events import CredentialRefused, TokensChanged
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.db import connection_limits
from smartmob.kernel.db.database import Database
from smartmob.kernel.features import Dependencies, Lifecycle
from smartmob.kernel.http import problems, server, tls
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.gate import RequestGate, RequestStats, trusted_proxies
from smartmob.kernel.http.response_headers import REQUEST_ID_HEADER
from smartmob.kernel.http.routing import Route, mount, public_paths
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.observability.health import Readiness
from smartmob.kernel.observability.log import AccessLog
from smartmob.kernel.observability.prometheus import MetricsRegistry, auth_metrics, http_metrics, writer_metrics
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.kernel.workers.forker import Forker
from smartmob.kernel.workers.owner_access import WorkerClients
from smartmob.kernel.workers.owner_link import Handle, OwnerLink
from smartmob.kernel.workers.pool import WorkerPool
from smartmob.kernel.workers.worker_messages import WorkerMetrics, WorkerWelcome
from smartmob.metrics import feature as metrics
from smartmob.metrics.events import ContextStored, MetricsStored, SessionDeleted, SessionStored, VerdictsOutdated
from smartmob.settings import Settings

log = get_logger()

FROM_WORKERS = (
    AddressSeen, ContextStored, CredentialRefused, HostRegistered, MetricsStored, SamplesStored, SessionStored,
    VerdictsOutdated,
)  # fmt: skip
"""The events that workers publish at the owner."""
TO_WORKERS = (AddressSeen, HostRegistered, HostRemoved, SessionDeleted, TokensChanged)
"""The events of the owner that workers need, also when they come from another worker."""

_STARTING_SECONDS = 120.0
"""Seconds after which a worker that is not ready counts as hung, beside the wait for the database; it takes 0.2 s."""

SUMMED_GAUGES = frozenset(("smartmob_writer_waiting_rows", "smartmob_hosts_connections", "smartmob_hosts_watchers"))
"""The gauges whose values in all processes are added; of all others the owner's count."""


def owner(
    settings: Settings, access_log: AccessLog, forker: Forker, sockets: Sequence[socket.socket]
) -> tuple[Service, WorkerPool]:
    """Return the service of the owner, and the workers before it, one for each listening socket."""
    secret = secrets.token_urlsafe(32)
    service = build(settings, access_log, WorkerClients(secret, trusted_proxies(settings)))
    attempts = service.gate.tokens.tries
    found = service.services.hosts
    pool = WorkerPool(
        forker, sockets, service.tasks, service.bus, attempts, events=FROM_WORKERS, to_workers=TO_WORKERS,
        welcome=lambda: WorkerWelcome(service.database.url, found.own_name, secret, attempts.key),
        starting_seconds=_STARTING_SECONDS + settings.database.wait,
    )  # fmt: skip
    service.bus.subscribe(HostRegistered, lambda event: found.forget(event.host))
    service.app.middlewares.append(pool.middleware)
    service.metrics.add_workers(pool.metrics)
    service.readiness.add("workers", pool.check, quiet=True)
    return service, pool


class BuiltWorker(msgspec.Struct, frozen=True):
    """A built worker."""

    app: web.Application
    bus: EventBus
    gate: RequestGate
    attempts: AttemptLimit
    metrics: MetricsRegistry
    hosts: HostsService
    tokens: TokenService

    def handlers(self) -> dict[type, Handle]:
        """Return for each event of the owner the work that has to be done before the next message counts."""

        async def nothing(_: AddressSeen | SessionDeleted) -> None:
            """Do nothing: the subscribers of the bus have done it."""

        async def forget(event: HostRegistered | HostRemoved) -> None:
            self.hosts.forget(event.host)

        async def load_tokens(_: TokensChanged) -> None:
            await self.tokens.load()

        handlers: dict[type, Handle] = dict.fromkeys(TO_WORKERS, nothing)
        return handlers | {HostRegistered: forget, HostRemoved: forget, TokensChanged: load_tokens}

    def shared_metrics(self) -> WorkerMetrics:
        """Return the metrics of this process that count for the service."""
        return self.metrics.shared(SUMMED_GAUGES)

    async def drain(self, seconds: float) -> None:
        """Close the WebSockets, and wait until all active requests are answered, at most `seconds`."""
        self.bus.publish(ServiceStopping())
        await self.gate.request_stats.drain(seconds)


def build_worker(settings: Settings, welcome: WorkerWelcome, link: OwnerLink, access_log: AccessLog) -> BuiltWorker:
    """Return a worker, whose database is open already; it makes no tables and keeps no data directory."""
    share = connection_limits.share(settings.database.pool_size, settings.workers)
    stored = dataclasses.replace(settings.database, url=welcome.database_url, pool_size=share)
    bus, tasks, request_stats = EventBus(), TaskRegistry(), RequestStats(access_log)
    database, registry = Database(stored, None, settings.workers), MetricsRegistry()
    attempts = AttemptLimit(settings.auth_tries, key=welcome.attempts_key, bus=bus)
    tokens = TokenAuthenticator(settings.token, attempts, instance=str(settings.data_dir.absolute()))
    mounted = dict[web.AbstractRoute, Route]()
    bodies = BodyReader(settings.max_body, settings.body_timeout, settings.body_least_rate, mounted)
    viewers = ConnectionLimit("viewers", settings.viewers, settings.viewers_by_address)
    guard = ReservationGuard()  # no route of a worker starts work on a machine
    kernel_parts = (settings, bus, tasks, Spawner(tasks), tokens, bodies, registry, viewers, Readiness(), guard)
    dependencies = Dependencies(*kernel_parts, database, ServiceRegistry(database, settings))
    known, reporting = access.build(dependencies), hosts.build(dependencies, worker_of=welcome.own_name)
    found = reporting.service
    measures = metrics.build(dependencies, found.queries, host_finder=found.addresses, in_worker=True)
    features: tuple[Lifecycle, ...] = (known, measures, reporting)
    registry.add(http_metrics(request_stats), auth_metrics(attempts))
    registry.add(writer_metrics(*(each.writer for each in features if each.writer is not None)))
    tables = (measures.table, reporting.table)
    rules = HostRules(settings.host, settings.allow_host)
    gate = RequestGate(
        tokens, rules, public_paths(tables), request_stats, mounted,
        proxies=trusted_proxies(settings), replica_reads=database.replica_reads(),
    )  # fmt: skip
    app = web.Application(middlewares=[_divided(gate, mounted, link)], client_max_size=settings.max_body)
    mounted |= mount(app, tables)

    async def run_parts(_: web.Application) -> AsyncIterator[None]:
        await database.open()
        yield
        await tasks.close()
        await database.close()
        await link.close()

    app.cleanup_ctx.append(run_parts)
    app.cleanup_ctx.extend(lambda _, feature=feature: feature.run(tasks) for feature in features)
    return BuiltWorker(app, bus, gate, attempts, registry, found, known.service)


def _divided(gate: RequestGate, routes: dict[web.AbstractRoute, Route], link: OwnerLink) -> Middleware:
    """Return the middleware of a worker: it answers some requests here, and passes the others on to the owner."""
    here, stats = gate.middleware(), gate.request_stats

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = routes.get(request.match_info.route)
        if route is not None and route.in_workers:
            return await here(request, handler)
        stats.active += 1
        response: web.StreamResponse
        try:
            response = await link.pass_on(request)
        except SmartmobError as error:
            response = problems.response(error, request.path, request.headers.get(REQUEST_ID_HEADER, ""))
        finally:
            stats.request_ended()
        if stats.stopping or not request.content.is_eof():
            response.force_close()
        return response

    return handle


async def work(
    settings: Settings, access_log: AccessLog, sockets: tuple[socket.socket, socket.socket, socket.socket]
) -> int:
    """Run a worker until the owner orders its end or has ended; return the exit code.

    `sockets` are those for messages, for streams, and the one to listen on.
    """
    messages, streams, listening = sockets
    link = OwnerLink(messages, streams)
    server.allow_open_files()
    try:
        worker = build_worker(settings, await link.open(), link, access_log)
        certificate = tls.certificate(settings)
        async with server.listening(
            worker.app, worker.gate, settings, certificate=certificate, drain=worker.drain, sock=listening
        ):
            link.share(worker.bus, FROM_WORKERS)
            link.ready()
            ordered = await link.follow(
                worker.bus, worker.attempts, worker.handlers(), worker.shared_metrics,
                lambda: server.reload_certificate(certificate),
            )  # fmt: skip
            if not ordered:
                return 1  # the owner has ended, and its programs with it
    except (SmartmobError, OSError) as error:
        await link.failed(error)
        return 1
    return 0
