"""The composition of the feature `metrics`: its store, services and routes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from smartmob.kernel.features import Dependencies, Feature
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as routes
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.service import MetricsService
from smartmob.metrics.service.ingest import IngestService
from smartmob.metrics.service.maintenance import MaintenanceService
from smartmob.metrics.service.query import QueryService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict.baseline_runs import BaselineRuns
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.host_load import HostLoadSource
from smartmob.metrics.verdict.trend_service import TrendService


def build(dependencies: Dependencies, host_load: HostLoadSource) -> Feature[MetricsService]:
    """Return the feature; `host_load` tells how busy machines were while tests ran."""
    settings = dependencies.settings.metrics
    reader, writer = MetricsReader(dependencies.database), MetricsWriter(dependencies.database)
    live = dependencies.writer("metrics", writer.commit, MetricsStored)
    window = timedelta(seconds=settings.run_window)
    runs = RunFinder(reader, window)
    histories, cache = HistoryReader(dependencies.database), VerdictCache[Any]()
    comparisons = ComparisonService(histories, runs, window, host_load, cache)
    service = MetricsService(
        ingest=IngestService(writer, live, dependencies.bus, comparisons),
        queries=QueryService(reader, settings.page_size),
        runs=runs,
        comparisons=comparisons,
        trends=TrendService(histories, BaselineRuns(histories, window), cache),
        maintenance=MaintenanceService(writer, settings),
    )
    work = {"metrics-maintenance": service.maintenance.run}
    return Feature(service, routes.table(service, dependencies.bodies), live, work)
