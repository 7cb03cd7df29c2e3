"""The route of the audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web

from smartmob.kernel.audit.model import AuditEvent
from smartmob.kernel.audit.service import AuditService
from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import Route, RouteTable, answer
from smartmob.kernel.runtime.times import moment

_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
"""The first day of the calendar, from which events are listed unless `since` says otherwise."""


class AuditQuery(msgspec.Struct, frozen=True):
    """A selection of events. `since` is in seconds since 1970, or ISO 8601 with an offset."""

    since: str = ""
    who: str | None = None
    node: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    before: str | None = None


class AuditEvents(msgspec.Struct, frozen=True):
    """Events, newest first; `next` is the value of `before` for the next page, null on the last page."""

    events: list[AuditEvent]
    next: str | None


def table(service: AuditService) -> RouteTable:
    """Return the route table."""
    return RouteTable(
        "audit",
        (
            Route(
                "GET",
                "/audit",
                _AuditHandlers(service).events,
                "audit",
                "The changes that clients have requested, newest first.",
                {200: answer(AuditEvents)},
                query=AuditQuery,
                roles=(CONTROL,),
            ),
        ),
        prefixes=("/api/v1",),
    )


class _AuditHandlers:
    """The handler of the audit log."""

    def __init__(self, service: AuditService) -> None:
        self._service = service

    async def events(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, AuditQuery)
        since = moment("since", asked.since, _FIRST_DAY)
        before = None if asked.before is None else paging.parse_row_cursor(asked.before)
        found = await self._service.events(since, asked.who, asked.node, before, asked.limit + 1)
        more = len(found) > asked.limit
        found = found[: asked.limit]
        last = paging.cursor(found[-1].at.isoformat(), str(found[-1].id)) if more else None
        return json_response(AuditEvents(found, last))
