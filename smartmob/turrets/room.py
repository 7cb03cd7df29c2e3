"""How the room `turrets` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.kernel.rooms import House, Room
from smartmob.turrets.hq import Hq
from smartmob.turrets.keeper import Keeper
from smartmob.turrets.routes import table as routes
from smartmob.turrets.service import TurretsService
from smartmob.turrets.store.partitions import FORMS
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

PARTITIONS = FORMS
"""The divided tables, with the form of the times in the names of their partitions."""


def build(house: House) -> Room:
    """Return the room; the headquarters listens when the setting `hq` says so."""
    settings = house.settings
    reader, writer = TurretsReader(house.database), TurretsWriter(house.database)
    live = house.writer("turrets", writer.commit)
    hq = Hq(
        *(str(settings.data_dir), settings.turrets, live, Keeper(reader, writer), house.bus),
        insecure=settings.insecure,
    )
    service = TurretsService(hq, reader, writer, house.bus, settings.turrets)
    table = routes.table(service, house.bodies, house.viewers)
    return Room(table, live, start=lambda: service.open(house.tasks), close=service.close, face=service)
