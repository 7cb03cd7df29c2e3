"""How the feature `commands` is put together of its dependencies."""

from __future__ import annotations

from smartmob.commands.conplyent.gateway import ConplyentGateway
from smartmob.commands.routes import table as routes
from smartmob.commands.service import CommandsService
from smartmob.commands.store import JobStore
from smartmob.kernel.features import Dependencies, Feature


def build(dependencies: Dependencies) -> Feature[CommandsService]:
    """Return the room; the door for stock clients opens when the setting `conplyent_port` says so."""
    store = JobStore(dependencies.database)
    live = dependencies.writer("jobs", store.commit)
    settings, folder = dependencies.settings, dependencies.settings.data_dir / "commands"
    made_of = (store, live, dependencies.spawner, dependencies.bus, dependencies.tasks, settings.commands)
    service = CommandsService(*made_of, folder=folder, least_free=settings.least_free)
    door = ConplyentGateway(service, settings.conplyent, dependencies.tasks)
    background_tasks = {"commands-maintenance": service.maintain_for_ever}
    return Feature(
        service,
        routes.table(service, dependencies),
        live,
        background_tasks,
        start=door.open,
        stop=service.end,
        close=door.close,
    )
