"""What the feature tells others: its events on the bus, and the care it takes of its tables by itself."""

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
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.settings import Settings
from tests.conftest import running
from tests.metrics.samples import context, metric, session


def _listen(bus: EventBus) -> list[object]:
    heard: list[object] = []
    for kind in (ContextStored, SessionStored, MetricsStored, SessionDeleted):
        bus.subscribe(kind, heard.append)
    return heard


async def test_what_is_stored_is_told(settings: Settings) -> None:
    """Once it has been committed; a session that is known already is told once."""
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
async def _room(settings: Settings) -> AsyncIterator[Callable[[float | None], MetricsService]]:
    """Return the maker of the feature's service by the days that it keeps measures."""
    database = Database(settings.database, None)
    await database.open()

    def make(keep_days: float | None) -> MetricsService:
        writer = MetricsWriter(database)
        live = GroupCommitWriter("metrics", database, writer.commit)
        kept = replace(settings.metrics, keep_days=keep_days)
        return MetricsService(MetricsReader(database), HistoryReader(database), writer, live, EventBus(), kept)

    yield make
    await database.close()


async def _batch() -> AsyncIterator[list[NewMetric]]:
    yield [NewMetric(**metric())]


@pytest.mark.parametrize(("keep_days", "kept"), [(None, 1), (30.0, 1), (7.0, 0)])
async def test_measures_are_kept_as_long_as_the_setting_says(feature: Any, keep_days: float | None, kept: int) -> None:
    """Counted from their arrival, and for ever without the setting."""
    service = feature(keep_days)
    await service.create_session(NewSession(**session()))
    await service.append_to_session("5" * 32, 0, _batch())

    await service.maintain(datetime.now(UTC) + timedelta(days=8))

    assert await service.count_sessions() == kept
    assert await service.count_metrics(MetricFilter()) == kept


async def test_a_service_puts_its_tables_in_order_by_itself(settings: Settings) -> None:
    """The work runs as a task of the service from its start to its end."""
    service = build(settings)
    async with running(service):
        assert "metrics-maintenance" in service.tasks.names()
    assert service.tasks.names() == []
