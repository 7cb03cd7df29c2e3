"""How the console is put together: it stands above the rooms and asks their services."""

from __future__ import annotations

from smartmob.console.live import Live
from smartmob.console.peers import Peers
from smartmob.console.rooms import Rooms
from smartmob.console.routes import table as routes
from smartmob.console.service import ConsoleService
from smartmob.kernel.rooms import House, Room


def build(house: House, rooms: Rooms) -> Room:
    """Return the console as a room: it has no tables."""
    service = ConsoleService(rooms)
    live = Live(service, house.bus)
    table = routes.table(service, live, Peers(house.settings.console), house)
    return Room(table, works={"console-live": live.show_for_ever}, face=service)
