"""The programs and running jobs of this service, which it writes into the database for the pages of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from smartmob import node_activity
from smartmob.commands.service import CommandsService
from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.nodes.model import NodeActivity
from smartmob.processes.service import ProcessesService

log = get_logger()

_SECONDS = 1.0
"""The interval at which changes are looked for."""


async def publish(services: ServiceRegistry, read: Callable[[], NodeActivity], output_folder: str) -> None:
    """Background task: write what runs, and again when it has changed. `output_folder` is the id of that of jobs."""
    written = None
    while True:
        activity = read()
        if activity != written:
            try:
                await services.set_activity(msgspec.json.encode(activity).decode(), output_folder)
                written = activity
            except Unavailable as error:
                log.warning("service.activity_not_stored", reason=str(error))
        await asyncio.sleep(_SECONDS)


async def publishing(
    tasks: TaskRegistry, services: ServiceRegistry, processes: ProcessesService, commands: CommandsService
) -> AsyncIterator[None]:
    """Run the task until the service stops; one that is alone on its database has no other one to tell."""
    if services.alone:
        yield
        return
    read = partial(node_activity.activity, processes, commands)
    task = tasks.supervise("service-activity", lambda: publish(services, read, commands.output_folder))
    yield
    task.cancel()
