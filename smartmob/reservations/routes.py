"""The routes of the feature `reservations`."""

from __future__ import annotations

import msgspec
from aiohttp import hdrs, web

from smartmob.errors import NotAllowed
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.auth.reservation_guard import Reservation
from smartmob.kernel.http.bodies import BodyReader, decode, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import AUDITED, Answer, Route, RouteTable, answer, body
from smartmob.reservations.model import NewReservation, ReservationEntry
from smartmob.reservations.service import ReservationsService

_MAX_BYTES = 16 * 1024


class ReleaseQuery(msgspec.Struct, frozen=True):
    """The machine to release: a node, or the machine of the service. With `force`, even if another client has it."""

    node: str = ""
    force: bool = False


class Reservations(msgspec.Struct, frozen=True):
    """The reservations that are in force, ordered by machine."""

    reservations: list[ReservationEntry]


def table(service: ReservationsService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, bodies)
    taken = Answer("Another client has reserved the machine.")
    return RouteTable(
        "reservations",
        (
            Route("GET", "/reservations", h.reservations, "reservations", "The reserved machines.",
                  {200: answer(Reservations)}),
            Route("POST", "/reservations", h.reserve, "reserve",
                  "Reserve a machine, or prolong the reservation that the client has.",
                  {201: answer(Reservation), 404: Answer("There is no such node."), 409: taken},
                  body(NewReservation, limit=_MAX_BYTES), of_nodes=True),
            Route("DELETE", "/reservations", h.release, "release", "Release a machine.",
                  {204: Answer("The machine was released."), 404: Answer("It is not reserved."), 409: taken},
                  query=ReleaseQuery, of_nodes=True),
        ),
        prefixes=("/api/v1",),
    )  # fmt: skip


class _Handlers:
    """Handlers of reservations: parse, call the service, encode."""

    def __init__(self, service: ReservationsService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies
        self._new = msgspec.json.Decoder(NewReservation)

    async def reservations(self, _: web.Request) -> web.StreamResponse:
        return json_response(Reservations([_entry(each) for each in await self._service.reservations()]))

    async def reserve(self, request: web.Request) -> web.StreamResponse:
        new = decode(self._new, await self._bodies.read(request))
        request[AUDITED] = f"{new.node or 'this machine'} {new.seconds:g} s {new.reason}".strip()
        _check_limits(new.node)
        response = json_response(await self._service.reserve(new), 201)
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response

    async def release(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, ReleaseQuery)
        request[AUDITED] = f"{asked.node or 'this machine'}{' by force' if asked.force else ''}"
        _check_limits(asked.node)
        principal = PRINCIPAL.get()
        if asked.force and principal is not None and principal.only_nodes:
            raise NotAllowed("a token that is limited to some nodes releases only machines that it has reserved")
        await self._service.release(asked.node, force=asked.force)
        return web.Response(status=204)


def _check_limits(node: str) -> None:
    """Raise NotAllowed when a token that is limited to some nodes asks for the machine of the service."""
    principal = PRINCIPAL.get()
    if not node and principal is not None and principal.only_nodes:
        raise NotAllowed(f"the token {principal.token} may use some nodes only")


def _entry(found: Reservation) -> ReservationEntry:
    return ReservationEntry(
        node=found.node, token=found.token, holder=found.holder, reason=found.reason, since=found.since,
        until=found.until, mine=found.is_mine,
    )  # fmt: skip
