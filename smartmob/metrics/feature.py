"""How the feature `metrics` is put together of its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as routes
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict.host_load import HostLoadSource


def build(dependencies: Dependencies, host_load: HostLoadSource) -> Feature[MetricsService]:
    """Return the feature; `host_load` tells how busy machines were while tests ran."""
    writer = MetricsWriter(dependencies.database)
    live = dependencies.writer("metrics", writer.commit, MetricsStored)
    reader, histories = MetricsReader(dependencies.database), HistoryReader(dependencies.database)
    settings = dependencies.settings.metrics
    service = MetricsService(reader, histories, writer, live, dependencies.bus, settings, host_load=host_load)
    background_tasks = {"metrics-maintenance": service.maintain_for_ever}
    return Feature(service, routes.table(service, dependencies.bodies), live, background_tasks)
