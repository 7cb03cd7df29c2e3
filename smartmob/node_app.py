"""The composition root of a node: programs and commands on a journal, without a database and without a port."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from smartmob import node_activity
from smartmob.commands import feature as commands
from smartmob.commands import job_journal
from smartmob.commands.job_journal import JobJournal
from smartmob.commands.service import CommandsService
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.features import Feature, KernelParts, Lifecycle
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.gate import RequestGate, RequestStats
from smartmob.kernel.http.routes import KernelRoutes
from smartmob.kernel.http.routing import Route, mount, public_paths
from smartmob.kernel.journal.journal import Journal, JournalWriter
from smartmob.kernel.observability.health import Readiness, disk_check, tasks_check
from smartmob.kernel.observability.log import AccessLog
from smartmob.kernel.observability.prometheus import MetricsRegistry, http_metrics, writer_metrics
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.nodes.model import NodeActivity
from smartmob.processes import feature as processes
from smartmob.processes import process_journal
from smartmob.processes.process_journal import ProcessJournal
from smartmob.processes.service import ProcessesService
from smartmob.settings import Settings

OUTGOING = (process_journal.EVENT, job_journal.JOB)
"""The kinds of changes that the service gets."""


class BuiltNode(msgspec.Struct, frozen=True):
    """A built node: the application that its streams reach, and the parts that its link uses."""

    app: web.Application
    bus: EventBus
    tasks: TaskRegistry
    gate: RequestGate
    journal: Journal
    features: tuple[Lifecycle, ...]
    processes: ProcessesService
    commands: CommandsService

    def activity(self) -> NodeActivity:
        """Return the programs and the running jobs."""
        return node_activity.activity(self.processes, self.commands)

    async def drain(self, seconds: float) -> None:
        """Stop all programs and jobs, then wait until all active requests are answered, at most `seconds`."""
        self.bus.publish(ServiceStopping())
        await asyncio.gather(*(feature.stop() for feature in self.features if feature.stop is not None))
        await self.gate.request_stats.drain(seconds)


def build(settings: Settings, access_log: AccessLog = lambda _: None) -> BuiltNode:
    """Return the node for `settings`; nothing is started until its application is."""
    bus, tasks, readiness, request_stats = EventBus(), TaskRegistry(), Readiness(), RequestStats(access_log)
    folder, spawner, metrics_registry = DataDirectory(settings.data_dir), Spawner(tasks), MetricsRegistry()
    # Only requests with the secret of the link are accepted: a token that is never shown refuses all others.
    tokens = TokenAuthenticator(secrets.token_urlsafe(32), AttemptLimit(), instance=str(settings.data_dir))
    mounted = dict[web.AbstractRoute, Route]()
    bodies = BodyReader(settings.max_body, settings.body_timeout, settings.body_least_rate, mounted)
    viewers = ConnectionLimit("viewers", settings.viewers, settings.viewers)
    guard = ReservationGuard()  # the service refuses requests to a reserved machine
    parts = KernelParts(settings, bus, tasks, spawner, tokens, bodies, metrics_registry, viewers, readiness, guard)
    journal = Journal(settings.data_dir / "journal", OUTGOING)
    built_processes, built_commands = _build_features(parts, journal)
    features = (built_processes, built_commands)
    metrics_registry.add(
        http_metrics(request_stats), writer_metrics(*(each.writer for each in features if each.writer))
    )
    readiness.add("disk", disk_check(folder))
    readiness.add("tasks", tasks_check(tasks))

    kernel = KernelRoutes(readiness, metrics_registry, tokens, bodies, *(feature.table for feature in features))
    gate = RequestGate(tokens, HostRules("localhost"), public_paths(kernel.tables), request_stats, mounted)
    app = web.Application(middlewares=[gate.middleware()], client_max_size=settings.max_body)
    mounted |= mount(app, kernel.tables)

    async def run_folder(_: web.Application) -> AsyncIterator[None]:
        folder.hold()
        yield
        folder.release()

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        yield
        await tasks.close()

    async def run_children(_: web.Application) -> AsyncIterator[None]:
        yield
        await spawner.close()

    async def run_journal(_: web.Application) -> AsyncIterator[None]:
        await journal.start(tasks)
        yield
        await journal.close()

    # They are started in this order and stopped in the reverse order.
    app.cleanup_ctx.extend((run_folder, run_tasks, run_children, run_journal))
    app.cleanup_ctx.extend(lambda _, feature=feature: feature.run(tasks) for feature in features)
    return BuiltNode(app, bus, tasks, gate, journal, features, built_processes.service, built_commands.service)


def _build_features(parts: KernelParts, journal: Journal) -> tuple[Feature[ProcessesService], Feature[CommandsService]]:
    stored_processes = ProcessJournal()
    stored_jobs = JobJournal(journal, commands.output_folder_id(parts.settings.data_dir))
    journal.add_table(stored_processes)
    journal.add_table(stored_jobs)
    changes = JournalWriter("processes", journal, process_journal.encode)
    jobs = JournalWriter("jobs", journal, job_journal.encode)
    return processes.compose(parts, stored_processes, changes), commands.compose(parts, stored_jobs, jobs)
