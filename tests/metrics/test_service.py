"""The services of metrics: the events that they publish, and the maintenance of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartmob.app import build
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics.events import ContextStored, MetricsStored, SessionDeleted, SessionStored
from smartmob.metrics.model import MetricFilter, NewMetric, NewSession
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.sender_clock import SenderClock
from smartmob.metrics.service.ingest import IngestService
from smartmob.metrics.service.maintenance import MaintenanceService
from smartmob.metrics.service.query import QueryService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.environment_finder import EnvironmentFinder
from smartmob.metrics.verdict.place import PlaceRules
from smartmob.settings import Settings
from tests.conftest import running
from tests.metrics.samples import context, metric, session

Services = tuple[IngestService, QueryService, MaintenanceService]


def _listen(bus: EventBus) -> list[object]:
    heard: list[object] = []
    for kind in (ContextStored, SessionStored, MetricsStored, SessionDeleted):
        bus.subscribe(kind, heard.append)
    return heard


async def test_an_event_is_published_for_all_that_is_stored(settings: Settings) -> None:
    """Events follow the commit; a session that is sent twice is published once."""
    service = build(settings)
    heard = _listen(service.bus)
    async with running(service) as client:
        await client.post("/contexts/", json=context())
        await client.post("/sessions/", json=session())
        await client.post("/sessions/", json=session())
        await client.post("/metrics/", json=[metric(), metric()])
        await client.post("/metrics/", json={})
        await client.delete(f"/sessions/{'5' * 32}")

    assert heard == [
        ContextStored("c" * 32),
        SessionStored("5" * 32, "0123abc"),
        MetricsStored(2),
        SessionDeleted("5" * 32, 2),
    ]


@pytest.fixture(name="feature")
async def _feature(settings: Settings) -> AsyncIterator[Callable[[float | None], Services]]:
    """Return a function that builds the services for a number of days that measures are kept."""
    database = Database(settings.database, None)
    await database.open()

    def make(keep_days: float | None) -> Services:
        reader, writer = MetricsReader(database), MetricsWriter(database)
        live = GroupCommitWriter("metrics", database, writer.commit)
        window = timedelta(seconds=5)
        histories, rules = HistoryReader(database), PlaceRules()
        environments = EnvironmentFinder(histories, rules)
        comparisons = ComparisonService(histories, RunFinder(reader, window, rules), window, environments)
        return (
            IngestService(writer, live, EventBus(), comparisons, SenderClock(3600.0)),
            QueryService(reader, page_size=50),
            MaintenanceService(writer, replace(settings.metrics, keep_days=keep_days)),
        )

    yield make
    await database.close()


async def _batch() -> AsyncIterator[list[NewMetric]]:
    yield [NewMetric(**metric())]


@pytest.mark.parametrize(("keep_days", "kept"), [(None, 1), (30.0, 1), (7.0, 0)])
async def test_measures_are_kept_as_long_as_the_setting_says(feature: Any, keep_days: float | None, kept: int) -> None:
    """The time counts from their arrival; without the setting they are never removed."""
    ingest, queries, maintenance = feature(keep_days)
    await ingest.create_session(NewSession(**session()))
    await ingest.append_to_session("5" * 32, 0, _batch())

    await maintenance.maintain(datetime.now(UTC) + timedelta(days=8))

    assert await queries.count_sessions() == kept
    assert await queries.count_metrics(MetricFilter()) == kept


async def test_maintenance_runs_as_long_as_the_service(settings: Settings) -> None:
    """Maintenance is a background task from the start of the service to its end."""
    service = build(settings)
    async with running(service):
        assert "metrics-maintenance" in service.tasks.names()
    assert service.tasks.names() == []
