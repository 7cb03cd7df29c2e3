"""The composition of the feature `turrets` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.turrets.host_load import HostLoadSource
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.run_recorder import RunRecorder
from smartmob.turrets.routes import table as routes
from smartmob.turrets.service.firing import TurretsService
from smartmob.turrets.store.partitions import FORMATS
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.search_table import SearchStore
from smartmob.turrets.store.writer import TurretsWriter

PARTITIONS = FORMATS
"""The partitioned tables, with the format of the times in the names of their partitions."""


def build(dependencies: Dependencies, host_load: HostLoadSource) -> Feature[TurretsService]:
    """Return the feature; the headquarters listens if the setting `hq` is on. `host_load` returns the load of hosts."""
    settings = dependencies.settings
    reader, writer = TurretsReader(dependencies.database.reader), TurretsWriter(dependencies.database)
    batches = dependencies.writer("turrets", writer.commit, shards=writer.shards)
    hq = Headquarters(
        str(settings.data_dir),
        dependencies.services,
        settings.turrets,
        batches,
        RunRecorder(reader, writer),
        dependencies.bus,
        insecure=settings.insecure,
    )
    service = TurretsService(
        hq,
        reader,
        writer,
        dependencies.bus,
        settings.turrets,
        dependencies.tasks,
        searches=SearchStore(dependencies.database),
        host_load=host_load,
    )
    work = {"turrets-maintenance": service.maintenance.run}
    table = routes.table(service, dependencies.bodies, dependencies.viewers)
    return Feature(table, batches, work, start=service.start, close=service.close, service=service)
