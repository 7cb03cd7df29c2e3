"""How the room `commands` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.commands.routes import table as routes
from smartmob.commands.service import CommandsService
from smartmob.commands.stock.door import StockDoor
from smartmob.commands.store import JobStore
from smartmob.kernel.rooms import House, Room


def build(house: House) -> Room:
    """Return the room; the door for stock clients opens when the setting `conplyent_port` says so."""
    store = JobStore(house.database)
    live = house.writer("jobs", store.commit)
    settings, folder = house.settings, house.settings.data_dir / "commands"
    made_of = (store, live, house.nursery, house.bus, house.tasks, settings.commands)
    service = CommandsService(*made_of, folder=folder, least_free=settings.least_free)
    door = StockDoor(service, settings.conplyent, house.tasks)
    works = {"commands-maintenance": service.maintain_for_ever}
    return Room(routes.table(service, house), live, works, door.open, door.close, service.end, service)
