"""The composition of the feature `metrics`: its store, services and routes."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, cast

from smartmob.kernel.features import Dependencies, Feature
from smartmob.metrics.events import MetricsStored, SessionDeleted, VerdictsOutdated
from smartmob.metrics.routes import table as routes
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.sender import HostFinder
from smartmob.metrics.sender_clock import SenderClock
from smartmob.metrics.service import MetricsService
from smartmob.metrics.service.ingest import IngestService
from smartmob.metrics.service.maintenance import MaintenanceService
from smartmob.metrics.service.query import QueryService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict import outdated_verdicts
from smartmob.metrics.verdict.baseline_runs import BaselineRuns
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.environment_finder import EnvironmentFinder
from smartmob.metrics.verdict.host_load import HostLoadSource
from smartmob.metrics.verdict.outdated_verdicts import OutdatedVerdicts
from smartmob.metrics.verdict.place import Level, PlaceRules
from smartmob.metrics.verdict.recent_values import RecentValues
from smartmob.metrics.verdict.trend_service import TrendService


def build(
    dependencies: Dependencies, host_load: HostLoadSource, host_finder: HostFinder, *, in_worker: bool = False
) -> Feature[MetricsService]:
    """Return the feature; `host_load` returns the load of machines, `host_finder` finds a machine by its address.

    In a worker it has no background tasks, and notifies the owner of the verdicts that it has made invalid.
    """
    settings = dependencies.settings.metrics
    reader, writer = MetricsReader(dependencies.database.reader), MetricsWriter(dependencies.database)
    live = dependencies.writer("metrics", writer.commit, MetricsStored, shards=writer.shards)
    window = timedelta(seconds=settings.run_window)
    rules = PlaceRules(
        settings.ram_tolerance,
        cast(Level, settings.match_kernel),
        cast(Level, settings.match_python),
        settings.shared_names,
    )
    runs = RunFinder(reader, window, rules, host_load)
    # Verdicts are cached until new data changes them, so they must not be computed from older rows.
    newest = RunFinder(MetricsReader(dependencies.database), window, rules, host_load)
    histories, cache = HistoryReader(dependencies.database), VerdictCache[Any]()
    environments = EnvironmentFinder(histories, rules)
    comparisons = ComparisonService(histories, newest, window, environments, host_load, cache)
    bus = dependencies.bus
    verdicts = OutdatedVerdicts(bus) if in_worker else comparisons
    bus.subscribe(VerdictsOutdated, partial(outdated_verdicts.apply, comparisons))
    bus.subscribe(SessionDeleted, lambda event: writer.forget_session(event.session_h))
    service = MetricsService(
        ingest=IngestService(writer, live, bus, verdicts, SenderClock(settings.max_clock_ahead), host_finder),
        queries=QueryService(reader, settings.page_size),
        runs=runs,
        comparisons=comparisons,
        trends=TrendService(histories, environments, BaselineRuns(histories, window), cache),
        recent=RecentValues(histories, runs),
        maintenance=MaintenanceService(writer, settings),
    )
    work = {} if in_worker else {"metrics-maintenance": service.maintenance.run}
    return Feature(routes.table(service, dependencies.bodies), live, work, service=service)
