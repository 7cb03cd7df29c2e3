"""Reservations in force: requests of the holder are answered, those of others refused, until the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from aiohttp import web

from smartmob.errors import Conflict
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.auth.model import CONTROL, Principal
from smartmob.kernel.auth.reservation_guard import OWN, RESERVATION, Reservation, ReservationGuard
from smartmob.kernel.http.routing import Route, RouteTable, mount
from smartmob.kernel.runtime import clock

IDENT = UUID("00000000-0000-4000-8000-000000000001")


def _reservation(node: str = "rack7", token: str | None = "ann", seconds: float = 600) -> Reservation:
    now = clock.now()
    return Reservation(
        id=IDENT, node=node, token=token, holder="ann@desk", reason="profiling", since=now,
        until=now + timedelta(seconds=seconds),
    )  # fmt: skip


def _guard(*reservations: Reservation) -> ReservationGuard:
    guard = ReservationGuard()
    guard.replace(reservations)
    return guard


@pytest.fixture(autouse=True)
def _anonymous() -> Iterator[None]:
    principal, shown = PRINCIPAL.set(None), RESERVATION.set("")
    yield
    PRINCIPAL.reset(principal)
    RESERVATION.reset(shown)


def test_others_are_told_who_has_it_until_when_and_why() -> None:
    """Only the reserved machine is refused."""
    guard = _guard(_reservation())
    with pytest.raises(Conflict, match=r"the machine rack7 is reserved by ann@desk until .* UTC \(profiling\)"):
        guard.check("rack7")
    guard.check("rack8")
    guard.check(OWN)


@pytest.mark.parametrize(
    ("principal", "shown", "goes_on"),
    [
        (Principal("ann", CONTROL), "", True),
        (Principal("bob", CONTROL), "", False),
        (Principal("bob", CONTROL), str(IDENT), True),
        (Principal(None, CONTROL), "", False),  # the service's own token stands for several people
        (None, str(IDENT), True),
        (None, str(UUID(int=2)), False),
        (None, "nonsense", False),
    ],
)
def test_the_holder_goes_on(principal: Principal | None, shown: str, goes_on: bool) -> None:
    """By the name of the token, or by the id of the reservation."""
    PRINCIPAL.set(principal)
    RESERVATION.set(shown)
    assert _reservation().is_mine is goes_on


def test_a_reservation_without_a_token_is_held_by_its_id_alone() -> None:
    """Two clients without names are not one."""
    PRINCIPAL.set(Principal(None, CONTROL))
    assert not _reservation(token=None).is_mine


def test_it_ends_by_itself() -> None:
    """Nothing has to be told to the guard."""
    guard = _guard(_reservation(seconds=-0.001))
    assert guard.find("rack7") is None
    guard.check("rack7")


def test_commands_that_read_are_allowed() -> None:
    """Others may look, and end what they have running there."""
    guard = _guard(_reservation(OWN))
    for name in ("jobs", "attach", "kill", "signal", "rdfile"):
        guard.check_call(name)
    for name in ("exec", "put", "rm", "reboot", "close_server", "my_own_command"):
        with pytest.raises(Conflict):
            guard.check_call(name)


def test_requests_that_start_work_are_known_by_method_and_path() -> None:
    """A parameter is one part of the path; routes that start nothing do not count."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response()

    routes: dict[web.AbstractRoute, Route] = {}
    guard, app = ReservationGuard(routes), web.Application()
    starting = [Route("POST", path, handler, "x", "", {}, starts_work=True) for path in ("/create", "/restart/{slug}")]
    routes |= mount(app, [RouteTable("f", (*starting, Route("POST", "/stop", handler, "y", "", {})), ("/v1",))])
    assert guard.starts_work("POST", "/v1/create")
    assert guard.starts_work("POST", "/v1/restart/web.1")
    assert not guard.starts_work("GET", "/v1/restart/web.1")
    for path in ("/v1/restart/web.1/more", "/v1/createx", "/create", "/v1/stop"):
        assert not guard.starts_work("POST", path)
