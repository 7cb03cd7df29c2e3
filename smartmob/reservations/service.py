"""The use cases of reservations: reserve, list and release machines, and pass the current ones to the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Protocol
from uuid import UUID, uuid4

from smartmob.errors import Conflict, NotFound, Unavailable
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.auth.reservation_guard import RESERVATION, Reservation, ReservationGuard
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.reservations.model import NewReservation
from smartmob.reservations.store import ReservationStore

log = get_logger()

_REFRESH_SECONDS = 2.0
"""The interval at which reservations of other services on the database are read."""


class Nodes(Protocol):
    """The feature `nodes`, with the method that reservations need."""

    async def node(self, name: str, only: Mapping[str, str | None]) -> object:
        """Return a node; raises NotFound, also for one without the labels `only`."""


class ReservationsService:
    """Keeps the reservations of the nodes and of this service's machine."""

    def __init__(self, store: ReservationStore, guard: ReservationGuard, nodes: Nodes) -> None:
        self._store = store
        self._guard = guard
        self._nodes = nodes

    async def start(self) -> None:
        """Read the reservations that are in force after a restart."""
        self._guard.replace(await self._store.reservations(clock.now()))

    async def reserve(self, new: NewReservation) -> Reservation:
        """Reserve a machine for the client of the request, or prolong its reservation.

        Raises Conflict when another client has it, and NotFound for an unknown node.
        """
        principal = PRINCIPAL.get()
        if new.node:
            await self._nodes.node(new.node, {} if principal is None else dict(principal.only_nodes))
        now = clock.now()
        wanted = Reservation(
            id=uuid4(), node=new.node, token=None if principal is None else principal.token, holder=new.holder,
            reason=new.reason, since=now, until=now + timedelta(seconds=new.seconds),
        )  # fmt: skip
        stored = await self._store.put(wanted, _shown())
        await self.start()
        if stored is None:
            raise Conflict(str(self._guard.find(new.node) or "the machine was just reserved; try again"))
        return stored

    async def reservations(self) -> list[Reservation]:
        """Return the reservations that are in force, ordered by machine."""
        return await self._store.reservations(clock.now())

    async def release(self, node: str, *, force: bool) -> None:
        """Release a machine that the client of the request has reserved, or any reserved machine with `force`.

        Raises NotFound when the machine is not reserved, and Conflict when another client has it.
        """
        found = next((each for each in await self.reservations() if each.node == node), None)
        if found is None:
            raise NotFound(f"the machine {node} is not reserved" if node else "this machine is not reserved")
        if not found.is_mine and not force:
            raise Conflict(f"{found}; --force releases it anyway")
        await self._store.delete(found)
        await self.start()

    async def run_refresh(self) -> None:
        """Background task: read the reservations that other services have stored or released."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.start()
            except Unavailable as error:
                log.warning("reservations.not_read", reason=str(error))


def _shown() -> UUID | None:
    with suppress(ValueError):
        return UUID(RESERVATION.get())
    return None
