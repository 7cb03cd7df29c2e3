"""How the room `marks` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.kernel.rooms import House, Room
from smartmob.marks import routes
from smartmob.marks.service import MarksService
from smartmob.marks.store import MarkStore


def build(house: House) -> Room:
    """Return the room."""
    store = MarkStore(house.database)
    live = house.writer("marks", store.commit)
    service = MarksService(store, live, house.bus)
    return Room(routes.table(service, house.bodies), live, face=service)
