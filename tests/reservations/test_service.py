"""The use cases of reservations on a real database: two clients, a restart, and release by force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from smartmob.errors import Conflict, NotFound
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.auth.model import CONTROL, Principal
from smartmob.kernel.auth.reservation_guard import RESERVATION, ReservationGuard
from smartmob.kernel.db.database import Database
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.reservations.model import NewReservation
from smartmob.reservations.service import ReservationsService
from smartmob.reservations.store import ReservationStore
from smartmob.settings import Settings


class _Nodes:
    """A lab with the node rack7."""

    async def node(self, name: str, only: Mapping[str, str | None]) -> None:
        """Raise NotFound for any other name."""
        if name != "rack7":
            raise NotFound(f"there is no node {name}")


@pytest.fixture(autouse=True)
def _ann() -> Iterator[None]:
    principal, shown = PRINCIPAL.set(Principal("ann", CONTROL)), RESERVATION.set("")
    yield
    PRINCIPAL.reset(principal)
    RESERVATION.reset(shown)


def _service(database: Database) -> tuple[ReservationsService, ReservationGuard]:
    guard = ReservationGuard()
    store = ReservationStore(database, ServiceRegistry(database, Settings(service_name="one")))
    return ReservationsService(store, guard, _Nodes()), guard


def _as(name: str) -> None:
    PRINCIPAL.set(Principal(name, CONTROL))


async def test_another_client_is_refused_until_it_is_released(database: Database) -> None:
    """Work, a second reservation and the release by others are refused; --force releases it."""
    service, guard = _service(database)
    new = NewReservation(node="rack7", seconds=60, holder="ann@desk", reason="profiling")
    made = await service.reserve(new)
    guard.check("rack7")
    _as("bob")
    for refused in (
        service.reserve(NewReservation(node="rack7", seconds=1, holder="bob@desk")),
        service.release("rack7", force=False),
    ):
        with pytest.raises(Conflict, match="reserved by ann@desk"):
            await refused
    with pytest.raises(Conflict, match="profiling"):
        guard.check("rack7")
    RESERVATION.set(str(made.id))
    guard.check("rack7")
    RESERVATION.set("")
    await service.release("rack7", force=True)
    guard.check("rack7")
    with pytest.raises(NotFound, match="is not reserved"):
        await service.release("rack7", force=False)


async def test_a_restarted_service_knows_it(database: Database) -> None:
    """It is read at the start."""
    await _service(database)[0].reserve(NewReservation(seconds=60, holder="ann@desk"))
    service, guard = _service(database)
    _as("bob")
    await service.start()
    with pytest.raises(Conflict, match="the machine of this service is reserved"):
        guard.check()


async def test_an_unknown_node_cannot_be_reserved(database: Database) -> None:
    """The name may be mistyped."""
    with pytest.raises(NotFound, match="no node rack8"):
        await _service(database)[0].reserve(NewReservation(node="rack8", seconds=60, holder="ann@desk"))
