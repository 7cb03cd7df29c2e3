"""The routes of the feature `marks`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel.auth.model import CONTROL, INGEST
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import Answer, Route, RouteTable, answer, body
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment
from smartmob.marks.model import Mark, NewMark
from smartmob.marks.service import MarksService

_MAX_MARK_BYTES = 256 * 1024
_DAY = timedelta(days=1)
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
"""The first day of the calendar, before which no span can begin."""


class MarksQuery(msgspec.Struct, frozen=True):
    """A time span, by default the last day. Times are seconds since 1970, or ISO 8601 with an offset."""

    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    after: str | None = None


class Marks(msgspec.Struct, frozen=True):
    """Marks in the order of time; `next` is the value of `after` for the next page, null on the last page."""

    marks: list[Mark]
    next: str | None


def table(service: MarksService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, bodies)
    not_found = Answer("There is no such mark.")
    return RouteTable(
        "marks",
        (
            Route(
                "POST",
                "/marks",
                h.create,
                "add_mark",
                "Put a mark on the timeline.",
                {201: answer(Mark, "The stored mark.")},
                body(NewMark, limit=_MAX_MARK_BYTES),
                roles=(INGEST, CONTROL),
            ),
            Route("GET", "/marks", h.marks, "marks", "The marks in a span.", {200: answer(Marks)}, query=MarksQuery),
            Route("GET", "/marks/{id}", h.mark, "mark", "A mark.", {200: answer(Mark), 404: not_found}),
            Route(
                "DELETE",
                "/marks/{id}",
                h.delete,
                "remove_mark",
                "Delete a mark.",
                {204: Answer("The mark was deleted."), 404: not_found},
            ),
        ),
    )


class _Handlers:
    """Handlers of marks: parse, call the service, encode."""

    def __init__(self, service: MarksService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies
        self._new = msgspec.json.Decoder(NewMark)

    async def create(self, request: web.Request) -> web.StreamResponse:
        mark = await self._service.create(decode(self._new, await self._bodies.read(request)))
        response = json_response(mark, 201)
        response.headers["Location"] = f"/marks/{mark.id}"
        return response

    async def marks(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, MarksQuery)
        end = moment("to", arguments.end, clock.now())
        start = moment("from", arguments.start, max(end, _FIRST_DAY + _DAY) - _DAY)
        if start >= end:
            raise InvalidInput.at("from", "the span is empty: `from` must be before `to`")
        after = None if arguments.after is None else paging.parse_row_cursor(arguments.after, "after")
        marks = await self._service.marks(start, end, arguments.limit, after)
        last = marks[-1] if len(marks) == arguments.limit else None
        return json_response(Marks(marks, None if last is None else paging.cursor(last.at.isoformat(), str(last.id))))

    async def mark(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.mark(_ident(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete(_ident(request))
        return web.Response(status=204)


def _ident(request: web.Request) -> UUID:
    text = parameter(request, "id")
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput.at("id", f"expected the id of a mark, got {text!r}") from None
