"""Handlers of the machines and their history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web

from smartmob import csv_cells
from smartmob.errors import InvalidInput
from smartmob.hosts import model
from smartmob.hosts.model import Point, Span
from smartmob.hosts.service import HostsService
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import CSV, JSON, NDJSON
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment

_HOUR = timedelta(hours=1)
_POINTS = 1_000


class HostsQuery(msgspec.Struct, frozen=True):
    """How many machines, and after which one."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 500
    after: str | None = None


class SamplesQuery(msgspec.Struct, frozen=True):
    """A span, and into how many points at most; times are seconds since 1970 or ISO 8601 with an offset."""

    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    points: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None


class Hosts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Machines in the order of their names."""

    hosts: list[model.Host]
    next_url: str | None = None


class History(msgspec.Struct, frozen=True):
    """What the samples of a machine come to; `width` is 0 where they are the samples themselves."""

    host: str
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    width: float
    points: list[Point]


class Removed(msgspec.Struct, frozen=True):
    """A machine that is not known any more."""

    host: str


class Histories:
    """Handlers of what is asked about machines."""

    def __init__(self, service: HostsService) -> None:
        self._service = service

    async def hosts(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, HostsQuery)
        after = paging.parse_cursor(asked.after, 1)[0] if asked.after is not None else ""
        if "\0" in after:
            raise InvalidInput.at("after", "this is no cursor of an earlier answer; take it from next_url")
        hosts = await self._service.hosts(after, asked.limit)
        following = None
        if len(hosts) == asked.limit:
            following = f"{request.rel_url.raw_path}?limit={asked.limit}&after={paging.cursor(hosts[-1].name)}"
        return json_response(Hosts(hosts, following))

    async def host(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.host(parameter(request, "name")))

    async def remove(self, request: web.Request) -> web.StreamResponse:
        name = parameter(request, "name")
        await self._service.remove(name)
        return json_response(Removed(name))

    async def samples(self, request: web.Request) -> web.StreamResponse:
        name, asked = parameter(request, "name"), query(request, SamplesQuery)
        span = _span(asked)
        accept = request.headers.get("Accept", "")
        width, batches = await self._service.points(name, span, asked.points or _POINTS)
        if NDJSON in accept or CSV in accept:
            if asked.points is None:
                batches = self._service.samples(name, span)
            if NDJSON in accept:
                return await stream(request, _ndjson(batches), NDJSON)
            return await stream(request, _csv(batches), f"{CSV}; charset=utf-8", f"{quote(name, safe='')}.csv")
        head = msgspec.json.encode(History(name, span.start, span.end, width, []))
        return await stream(request, _document(head, batches), JSON)


def _span(asked: SamplesQuery) -> Span:
    end = moment("to", asked.end, clock.now())
    try:
        start = moment("from", asked.start, end - _HOUR)
    except OverflowError:
        raise InvalidInput.at("to", "this is too long ago") from None
    if start >= end:
        raise InvalidInput.at("from", "the span is empty: `from` must be before `to`")
    return Span(start, end)


async def _document(head: bytes, batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    """Yield a History whose points come as they are read; `head` is one without any."""
    held = head.removesuffix(b"]}")
    async for points in batches:
        yield held + msgspec.json.encode(points)[1:-1]
        held = b","
    yield b"]}" if held == b"," else head


async def _ndjson(batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    async for points in batches:
        yield encoder.encode_lines(points)


async def _csv(batches: AsyncIterator[list[Point]]) -> AsyncIterator[bytes]:
    yield ",".join(model.POINT_COLUMNS).encode() + b"\r\n"
    async for points in batches:
        yield csv_cells.encoded(model.flat(point) for point in points)
