"""The public face of the feature `metrics`: its services, one for each kind of use."""

from __future__ import annotations

import msgspec

from smartmob.metrics.runs import RunFinder
from smartmob.metrics.service.ingest import IngestService
from smartmob.metrics.service.maintenance import MaintenanceService
from smartmob.metrics.service.query import QueryService
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.recent_values import RecentValues
from smartmob.metrics.verdict.trend_service import TrendService


class MetricsService(msgspec.Struct, frozen=True):
    """The services of the feature: they store metrics, list them, find runs and trends, compare runs, and clean up."""

    ingest: IngestService
    queries: QueryService
    runs: RunFinder
    comparisons: ComparisonService
    trends: TrendService
    recent: RecentValues
    maintenance: MaintenanceService
