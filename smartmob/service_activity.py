"""The programs and running jobs of this service, which it stores in the database for the pages of other services."""

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
"""The interval at which changes are searched."""


async def publish(services: ServiceRegistry, read: Callable[[], NodeActivity], output_folder: str) -> None:
    """Store the programs and running jobs when they change. `output_folder` is the id of the folder of their output."""
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
    """Publish the activity until the service stops; a service that is alone on its database publishes nothing."""
    if services.alone:
        yield
        return
    read = partial(node_activity.activity, processes, commands)
    task = tasks.supervise("service-activity", lambda: publish(services, read, commands.output_folder))
    yield
    task.cancel()
