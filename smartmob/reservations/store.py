"""The table of the feature `reservations`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from smartmob.kernel.auth.reservation_guard import Reservation
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database
from smartmob.kernel.services.service_registry import ServiceRegistry

PACKAGE = "smartmob.reservations"


class ReservationStore:
    """Reads and writes reservations of nodes, and of the machine of this service."""

    def __init__(self, database: Database, services: ServiceRegistry) -> None:
        self._database = database
        self._services = services
        self._sql = queries.load(PACKAGE)

    async def reservations(self, now: datetime) -> list[Reservation]:
        """Return the reservations that are in force, ordered by machine."""
        rows = await self._database.fetch(self._sql["select_reservations"], now, self._services.id)
        return [Reservation(**dict(row)) for row in rows]

    async def put(self, wanted: Reservation, shown: UUID | None) -> Reservation | None:
        """Store a reservation, or prolong that of the same holder; return None if another one is in force.

        `shown` is the id that the client shows.
        """
        values = (wanted.node, self._service(wanted.node), wanted.id, wanted.token, wanted.holder, wanted.reason)
        times = (wanted.until, wanted.since)
        rows = await self._database.fetch(self._sql["put_reservation"], *values, *times, shown)
        return Reservation(**dict(rows[0])) if rows else None

    async def delete(self, found: Reservation) -> bool:
        """Delete a reservation; return whether it still existed."""
        values = (found.node, self._service(found.node), found.id)
        return bool(await self._database.fetch(self._sql["delete_reservation"], *values))

    def _service(self, node: str) -> str:
        return "" if node else self._services.id
