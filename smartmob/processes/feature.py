"""The composition of the feature `processes` from its dependencies."""

from __future__ import annotations

from collections.abc import Iterator

from smartmob.kernel.features import Dependencies, Feature, KernelParts
from smartmob.kernel.observability.prometheus import Gauge, gauges
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tcp_ports import is_listened_on
from smartmob.processes import process_journal, routes
from smartmob.processes.ports import Ports
from smartmob.processes.preparation.preparer import Preparer
from smartmob.processes.process_changes import Change, ProcessRecords
from smartmob.processes.service import ProcessesService
from smartmob.settings import Settings


def build(dependencies: Dependencies) -> Feature[ProcessesService]:
    """Return the feature with its tables. All processes are stopped when the service begins to stop."""
    from smartmob.processes.store import ProcessStore  # a node, which has no tables, does not load it

    store = ProcessStore(dependencies.database, dependencies.services)
    return compose(
        dependencies, store, dependencies.writer("processes", store.commit, outgoing=process_journal.outgoing)
    )


def compose(dependencies: KernelParts, store: ProcessRecords, writer: RowWriter[Change]) -> Feature[ProcessesService]:
    """Return the feature with this store and its writer."""
    settings = dependencies.settings.processes
    ports = Ports(settings.base_port, _own_ports(dependencies.settings), is_listened_on)
    folder, least_free = dependencies.settings.data_dir / "processes", dependencies.settings.least_free
    preparer = Preparer(folder, dependencies.spawner, dependencies.tasks, ports, settings, least_free=least_free)
    service = ProcessesService(store, writer, preparer, dependencies, settings)
    dependencies.metrics_registry.add(gauges(lambda: _gauges(service)))
    background_tasks = {
        "process-samples": service.run_sampling,
        "process-maintenance": service.run_maintenance,
        "process-leases": service.run_leases,
    }
    table = routes.table(service, dependencies, settings.viewer_bytes)
    return Feature(
        table,
        writer,
        background_tasks,
        start=service.start,
        stop=service.stop,
        close=service.close,
        service=service,
    )


def _gauges(service: ProcessesService) -> Iterator[Gauge]:
    """Yield the readiness of the processes that have a check for it."""
    checked = {each.definition.slug: float(each.ready) for each in service.processes() if each.readiness is not None}
    yield Gauge("smartmob_process_ready", "1 if the readiness check of a program passes.", checked, "slug")


def _own_ports(settings: Settings) -> set[int]:
    """Return the ports on which the service itself listens."""
    turrets = settings.turrets
    return {settings.port, *((turrets.hq_publish_port, turrets.hq_rc_port, turrets.hq_external_port) * turrets.hq)}
