"""Handlers of machines and the history of their samples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web

from smartmob import csv_cells
from smartmob.errors import InvalidInput
from smartmob.hosts import model, time_series
from smartmob.hosts.service import HostsService
from smartmob.hosts.time_series import Point, Span
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import CSV, JSON, NDJSON
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment

_HOUR = timedelta(hours=1)
_DEFAULT_POINTS = 1_000  # points of a history unless the query says otherwise


class HostsQuery(msgspec.Struct, frozen=True):
    """The page of a list of machines: `limit` of them, after the cursor `after`."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 500
    after: str | None = None


class SamplesQuery(msgspec.Struct, frozen=True):
    """A span and the largest number of points; times are seconds since 1970 or ISO 8601 with an offset."""

    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    points: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None


class HostList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Machines in the order of their names."""

    hosts: list[model.Host]
    next_url: str | None = None


class HostHistory(msgspec.Struct, frozen=True):
    """The history of a machine: points of `width` seconds, or raw samples with the width 0."""

    host: str
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    width: float
    points: list[Point]


class Removed(msgspec.Struct, frozen=True):
    """The name of a machine that was removed."""

    host: str


class Histories:
    """Handlers of the routes below /hosts."""

    def __init__(self, service: HostsService) -> None:
        self._service = service

    async def hosts(self, request: web.Request) -> web.StreamResponse:
        parameters = query(request, HostsQuery)
        after = paging.parse_cursor(parameters.after, 1)[0] if parameters.after is not None else ""
        if "\0" in after:
            raise InvalidInput.at("after", "this is not a cursor of an earlier answer; take it from next_url")
        hosts = await self._service.queries.hosts(after, parameters.limit)
        following = None
        if len(hosts) == parameters.limit:
            following = f"{request.rel_url.raw_path}?limit={parameters.limit}&after={paging.cursor(hosts[-1].name)}"
        return json_response(HostList(hosts, following))

    async def host(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.queries.host(parameter(request, "name")))

    async def remove(self, request: web.Request) -> web.StreamResponse:
        name = parameter(request, "name")
        await self._service.remove(name)
        return json_response(Removed(name))

    async def samples(self, request: web.Request) -> web.StreamResponse:
        name, parameters = parameter(request, "name"), query(request, SamplesQuery)
        span = _span(parameters)
        accept = request.headers.get("Accept", "")
        width, batches = await self._service.queries.points(name, span, parameters.points or _DEFAULT_POINTS)
        if NDJSON in accept or CSV in accept:
            if parameters.points is None:
                batches = self._service.queries.samples(name, span)
            if NDJSON in accept:
                return await stream(request, _ndjson(batches), NDJSON)
            return await stream(request, _csv(batches), f"{CSV}; charset=utf-8", f"{quote(name, safe='')}.csv")
        head = msgspec.json.encode(HostHistory(name, span.start, span.end, width, []))
        return await stream(request, _document(head, batches), JSON)


def _span(parameters: SamplesQuery) -> Span:
    end = moment("to", parameters.end, clock.now())
    try:
        start = moment("from", parameters.start, end - _HOUR)
    except OverflowError:
        raise InvalidInput.at("to", "this is too long ago") from None
    if start >= end:
        raise InvalidInput.at("from", "the span is empty: `from` must be before `to`")
    return Span(start, end)


async def _document(head: bytes, batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    """Yield the JSON of a History in pieces, as its points are read; `head` is that of one without points."""
    before = head.removesuffix(b"]}")
    async for points in batches:
        yield before + msgspec.json.encode(points)[1:-1]
        before = b","
    yield b"]}" if before == b"," else head


async def _ndjson(batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    async for points in batches:
        yield encoder.encode_lines(points)


async def _csv(batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    yield ",".join(time_series.POINT_COLUMNS).encode() + b"\r\n"
    async for points in batches:
        yield csv_cells.encoded(time_series.flat(point) for point in points)
