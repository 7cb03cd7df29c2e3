"""The table of reservations: one holder for each machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from smartmob.kernel.auth.reservation_guard import Reservation
from smartmob.kernel.db.database import Database
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.reservations.store import ReservationStore
from smartmob.settings import Settings

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _wanted(node: str = "rack7", token: str | None = "ann", at: float = 0, seconds: float = 60) -> Reservation:
    since = NOW + timedelta(seconds=at)
    return Reservation(
        id=uuid4(), node=node, token=token, holder=f"{token}@desk", reason="r", since=since,
        until=since + timedelta(seconds=seconds),
    )  # fmt: skip


def _store(database: Database, service: str = "one") -> ReservationStore:
    return ReservationStore(database, ServiceRegistry(database, Settings(service_name=service)))


async def test_a_machine_has_one_holder(database: Database) -> None:
    """Another client gets nothing until the end, then the machine; a machine without a node is that of one service."""
    store, first = _store(database), _wanted()
    assert await store.put(first, None) == first
    assert await store.put(_wanted(token="bob", at=59.9), None) is None
    assert await store.put(_wanted(token=None, at=1), uuid4()) is None
    assert await store.reservations(NOW) == [first]
    later = _wanted(token="bob", at=60)
    assert await store.put(later, None) == later
    own = _wanted(node="")
    assert await store.put(own, None) == own
    other = _store(database, "two")
    assert await other.reservations(NOW) == [later]
    assert await other.put(_wanted(node="", token="bob"), None) is not None
    assert await store.reservations(NOW) == [own, later]


async def test_the_holder_prolongs_it(database: Database) -> None:
    """By token or by id; the id and the beginning stay, also if it gets shorter."""
    store, first = _store(database), _wanted(token=None)
    await store.put(first, None)
    longer = _wanted(token=None, at=30, seconds=300)
    found = await store.put(longer, first.id)
    assert found is not None
    assert (found.id, found.since, found.until) == (first.id, first.since, longer.until)
    assert await store.delete(found)
    assert not await store.delete(found)
    assert await store.reservations(NOW) == []
