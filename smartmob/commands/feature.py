"""Puts the feature `commands` together."""

from __future__ import annotations

from smartmob.commands import hashed_file
from smartmob.commands.conplyent.gateway import ConplyentGateway
from smartmob.commands.prepared_run import ProgramPreparation
from smartmob.commands.routes import table as routes
from smartmob.commands.service import CommandsService
from smartmob.commands.store import JobStore
from smartmob.kernel.features import Dependencies, Feature
from smartmob.kernel.subprocesses import umask


def build(dependencies: Dependencies, programs: ProgramPreparation | None = None) -> Feature[CommandsService]:
    """Return the feature; `programs` prepares the programs of applications.

    Its gateway for conplyent's clients listens only if the setting `conplyent_port` is set.
    """
    hashed_file.use_umask(umask.of_programs())
    store = JobStore(dependencies.database)
    live = dependencies.writer("jobs", store.commit)
    settings = dependencies.settings
    service = CommandsService(
        store,
        live,
        dependencies.spawner,
        dependencies.bus,
        dependencies.tasks,
        settings.commands,
        folder=settings.data_dir / "commands",
        least_free=settings.least_free,
        programs=programs,
    )
    gateway = ConplyentGateway(service, settings.conplyent, dependencies.tasks)

    async def start() -> None:
        await service.start()
        await gateway.start()

    async def close() -> None:
        gateway.close()
        await service.close()

    return Feature(
        table=routes.table(service, dependencies),
        writer=live,
        background_tasks={"commands-maintenance": service.maintenance.run},
        start=start,
        close=close,
        stop=service.stop_jobs,
        service=service,
    )
