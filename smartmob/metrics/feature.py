"""How the feature `metrics` is put together of its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as routes
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter


def build(dependencies: Dependencies) -> Feature:
    """Return the feature."""
    writer = MetricsWriter(dependencies.database)
    live = dependencies.writer("metrics", writer.commit, MetricsStored)
    readers = MetricsReader(dependencies.database), HistoryReader(dependencies.database)
    service = MetricsService(*readers, writer, live, dependencies.bus, dependencies.settings.metrics)
    background_tasks = {"metrics-maintenance": service.maintain_for_ever}
    return Feature(routes.table(service, dependencies.bodies), live, background_tasks, service=service)
