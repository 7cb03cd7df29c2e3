"""The composition root: what the service is made of, read from top to bottom, and in which order it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from smartmob.commands import room as commands
from smartmob.console import room as console
from smartmob.console.rooms import Rooms
from smartmob.errors import Unavailable
from smartmob.hosts import room as hosts
from smartmob.kernel import migrations
from smartmob.kernel.access import room as access
from smartmob.kernel.auth import HostRules, Tokens
from smartmob.kernel.children.nursery import Nursery
from smartmob.kernel.datadir import DataDirectory
from smartmob.kernel.db import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.events import EventBus, ServiceStopping
from smartmob.kernel.health import Readiness, database_check, disk_check, tasks_check
from smartmob.kernel.places import Places
from smartmob.kernel.prometheus import Figures, auth_metrics, http_metrics, task_metrics, writer_metrics
from smartmob.kernel.rooms import House, Room
from smartmob.kernel.routes import KernelRoutes
from smartmob.kernel.routing import Route, mount, public_paths
from smartmob.kernel.tasks import LoopLag, TaskRegistry
from smartmob.kernel.tries import Tries
from smartmob.kernel.web import AccessLog, BodyReader, Entrance, Traffic
from smartmob.marks import room as marks
from smartmob.metrics import room as metrics
from smartmob.processes import room as processes
from smartmob.settings import Settings
from smartmob.turrets import room as turrets

ROOMS = (metrics, hosts, processes, commands, turrets, marks)
"""In the order in which they are started."""

MIGRATED_ROOMS = (*sorted(str(room.__package__) for room in (access, *ROOMS)), "smartmob.kernel.upkeep")

PARTITIONS = hosts.PARTITIONS | turrets.PARTITIONS
"""The divided tables, with the form of the times in the names of their partitions."""


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: the application to serve, and what the one who serves it must reach."""

    app: web.Application
    bus: EventBus
    tasks: TaskRegistry
    readiness: Readiness
    entrance: Entrance
    embedded: EmbeddedPostgres | None
    kernel: KernelRoutes
    rooms: tuple[Room, ...]

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
        """Return when the rooms have ended what goes on for ever."""
        self.stopping()
        await asyncio.gather(*(room.end() for room in self.rooms if room.end is not None))

    async def finish(self, seconds: float) -> None:
        """Return when the rooms have ended what they run, and requests are answered or their time is up."""
        await self.end()
        await self.entrance.traffic.finish(seconds)

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
    database, figures, nursery = Database(settings.database, embedded), Figures(), Nursery(tasks)
    tokens = Tokens(settings.token, Tries(settings.auth_tries), str(settings.data_dir.absolute()))
    known = dict[web.AbstractRoute, Route]()
    bodies = BodyReader(settings.max_body, settings.body_timeout, settings.body_least_rate, known)
    viewers = Places("viewers", settings.viewers, settings.viewers_by_address)
    house = House(settings, bus, tasks, database, nursery, tokens, bodies, figures, viewers)
    built = {room: room.build(house) for room in ROOMS}
    faces = _introduced({room: built[room].face for room in ROOMS})
    rooms = (access.build(house), *built.values(), console.build(house, faces))

    figures.add(http_metrics(traffic), auth_metrics(tokens.tries))
    figures.add(writer_metrics(*(room.live for room in rooms if room.live is not None)))
    figures.add(task_metrics(tasks, lag := LoopLag()))
    readiness.add("database", database_check(database))
    readiness.add("disk", disk_check(folder))
    readiness.add("tasks", tasks_check(tasks))

    kernel = KernelRoutes(readiness, figures, tokens, bodies)
    tables = (kernel.table(), *(room.table for room in rooms))
    kernel.describe(tables)
    hosts_answered = HostRules(settings.host, settings.allow_host)
    entrance = Entrance(tokens, hosts_answered, public_paths(tables), traffic, known)
    app = web.Application(middlewares=[entrance.middleware()], client_max_size=settings.max_body)
    known |= mount(app, tables)
    service = Service(app, bus, tasks, readiness, entrance, embedded, kernel, rooms)

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


def _introduced(faces: Mapping[Any, Any]) -> Rooms:
    """Return the services of the rooms, after those that need each other have been told."""
    found = Rooms(
        metrics=faces[metrics],
        hosts=faces[hosts],
        processes=faces[processes],
        commands=faces[commands],
        turrets=faces[turrets],
        marks=faces[marks],
    )
    found.turrets.machines = found.hosts
    found.metrics.introduce(found.hosts)
    return found


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
