"""How the room `metrics` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.kernel.rooms import House, Room
from smartmob.metrics.events import MetricsStored
from smartmob.metrics.routes import table as routes
from smartmob.metrics.service import MetricsService
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter


def build(house: House) -> Room:
    """Return the room."""
    writer = MetricsWriter(house.database)
    live = house.writer("metrics", writer.commit, MetricsStored)
    readers = MetricsReader(house.database), HistoryReader(house.database)
    service = MetricsService(*readers, writer, live, house.bus, house.settings.metrics)
    works = {"metrics-maintenance": service.maintain_for_ever}
    return Room(routes.table(service, house.bodies), live, works, face=service)
