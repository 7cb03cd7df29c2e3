"""The composition of the feature `commands` from its dependencies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from smartmob.commands import hashed_file, job_journal
from smartmob.commands.job_records import JobRecords
from smartmob.commands.model import Job
from smartmob.commands.prepared_run import ProgramPreparation
from smartmob.commands.routes import table as routes
from smartmob.commands.service import CommandsService
from smartmob.kernel.features import Dependencies, Feature, KernelParts
from smartmob.kernel.runtime.datadir import DirectoryId
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.subprocesses import umask


def build(dependencies: Dependencies, programs: ProgramPreparation | None = None) -> Feature[CommandsService]:
    """Return the feature with its tables and its gateway for conplyent's clients.

    The gateway listens only if the setting `conplyent_port` is set. `programs` prepares the programs of applications.
    """
    from smartmob.commands.store import JobStore  # a node does not load it

    store = JobStore(dependencies.database, output_folder_id(dependencies.settings.data_dir))
    feature = compose(
        dependencies, store, dependencies.writer("jobs", store.commit, outgoing=job_journal.encode), programs,
        dependencies.services.keeping,
    )  # fmt: skip
    service = feature.service
    settings = dependencies.settings.conplyent
    if settings.port is None:
        return feature
    from smartmob.commands.conplyent.gateway import ConplyentGateway

    gateway = ConplyentGateway(service, settings, dependencies.tasks)

    async def start() -> None:
        await service.start()
        await gateway.start()

    async def close() -> None:
        gateway.close()
        await service.close()

    return replace(feature, start=start, close=close)


def output_folder_id(data_dir: Path) -> DirectoryId:
    """Return the id of the folder of a data directory that has the output of jobs."""
    return DirectoryId(data_dir / "commands" / "id")


def compose(
    dependencies: KernelParts,
    store: JobRecords,
    records: RowWriter[Job],
    programs: ProgramPreparation | None = None,
    keeping: Callable[[str], Awaitable[str | None]] | None = None,
) -> Feature[CommandsService]:
    """Return the feature with this store and its writer; `programs` prepares the programs of applications.

    `keeping` returns the other running service whose jobs have their output in the folder of an id.
    """
    hashed_file.use_umask(umask.of_programs())
    settings = dependencies.settings
    service = CommandsService(
        store,
        records,
        dependencies.spawner,
        dependencies.bus,
        dependencies.tasks,
        settings.commands,
        folder=settings.data_dir / "commands",
        least_free=settings.least_free,
        programs=programs,
        guard=dependencies.guard,
        keeping=keeping,
    )
    return Feature(
        table=routes.table(service, dependencies),
        writer=records,
        background_tasks={"commands-maintenance": service.maintenance.run},
        start=service.start,
        close=service.close,
        stop=service.stop,
        service=service,
    )
