"""Handlers of what clients ask for: parse, call the service, encode."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from aiohttp import web

from smartmob import csv_cells
from smartmob.errors import InvalidInput
from smartmob.kernel.db.database import Record
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import JSONResponse, dumps, json_response
from smartmob.kernel.http.routing import CSV, NDJSON, Handler
from smartmob.kernel.http.stream_response import stream
from smartmob.metrics import protocol
from smartmob.metrics.model import MetricFilter, SessionFilter
from smartmob.metrics.service import Listing, MetricsService

ODD = "(?:/|api/v1/)+"
"""What two clients put before a path: a second slash, and the prefix once more."""

_ODD_PATH = re.compile(f"^/+{ODD[:-1]}*")
_FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


class QueryHandlers:
    """Handlers of what is asked, and the makers of their routes."""

    def __init__(self, service: MetricsService) -> None:
        self._service = service

    def metrics(self, **names: str) -> tuple[Handler, Handler]:
        """Return the handlers that list and count metrics.

        `names` tells for each field of MetricFilter which part of the path it is, or "" for an empty value.
        """

        def which(request: web.Request) -> MetricFilter:
            given = {field: parameter(request, part) if part else "" for field, part in names.items()}
            return msgspec.convert(given, MetricFilter)

        async def rows(request: web.Request) -> web.StreamResponse:
            return await self._listed(request, which(request))

        async def number(request: web.Request) -> web.StreamResponse:
            return json_response(protocol.Count(await self._service.count_metrics(which(request))))

        return rows, number

    def extremes(self, most: bool, **names: str) -> Handler:
        """Return the handler of the metrics with the most or the least of a resource, with `names` as above."""

        async def handler(request: web.Request) -> web.StreamResponse:
            given = {field: parameter(request, part) for field, part in names.items()}
            which = msgspec.convert(given, MetricFilter)
            limit = int(request.match_info.get("n", "10"))
            resource = parameter(request, "resource")
            rows = await self._service.extremes(resource, which, most=most, limit=limit)
            return JSONResponse(dumps({"metrics": rows, "prev_url": None, "next_url": None, "total_page": 1}))

        return handler

    async def contexts(self, request: web.Request) -> web.StreamResponse:
        return _paged(request, "contexts", await self._service.contexts(_optional(request, "h"), _wanted(request)))

    async def count_contexts(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_contexts()))

    async def sessions(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, protocol.SessionsQuery)
        if asked.method not in ("match_any", "match_all"):
            raise InvalidInput.at("method", f"expected match_any or match_all, got {asked.method!r}")
        tags = protocol.tag_filter(asked.with_flags or asked.with_tags, asked.restrict_flags)
        match_any = asked.method == "match_any"
        which = SessionFilter(prefix=_optional(request, "h"), tags=tags, match_any=match_any)
        return _paged(request, "sessions", await self._service.sessions(which, _wanted(request)))

    async def scm_sessions(self, request: web.Request) -> web.StreamResponse:
        which = SessionFilter(scm_prefix=parameter(request, "ref"))
        return _paged(request, "sessions", await self._service.sessions(which, _wanted(request)))

    async def count_sessions(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_sessions()))

    async def components(self, request: web.Request) -> web.StreamResponse:
        listing = await self._service.components(_optional(request, "prefix"), _wanted(request))
        return _paged(request, "components", listing)

    async def count_components(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_components()))

    async def every_pipeline(self, _: web.Request) -> web.StreamResponse:
        pipelines = await self._service.every_pipeline()
        return json_response(protocol.Pipelines(pipelines)) if pipelines else web.Response(status=204)

    async def pipelines(self, request: web.Request) -> web.StreamResponse:
        component = parameter(request, "component")
        listing = await self._service.pipelines(component, _wanted(request))
        return _sub_list(request, "pipelines", listing, component=component)

    async def builds(self, request: web.Request) -> web.StreamResponse:
        head = _head(request, "component", "pipeline")
        listing = await self._service.builds(head.get("component"), head["pipeline"], _wanted(request))
        return _sub_list(request, "builds", listing, **head)

    async def build_sessions(self, request: web.Request) -> web.StreamResponse:
        head = _head(request, "component", "pipeline", "build")
        listing = await self._service.build_sessions(
            head.get("component"), head["pipeline"], head["build"], _wanted(request)
        )
        return _sub_list(request, "sessions", listing, **head)

    async def runs(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, protocol.RunsQuery)
        runs = await self._service.runs(_before(asked.before), asked.limit)
        if not runs:
            return web.Response(status=204)
        document: dict[str, Any] = {"runs": runs}
        if len(runs) == asked.limit:
            last = runs[-1]
            place = paging.cursor(last.started_at.isoformat(), last.sessions[0].session_h)
            document["next_url"] = f"{_path(request)}?limit={asked.limit}&before={place}"
        return json_response(document)

    async def run(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.run(parameter(request, "id")))

    async def run_metrics(self, request: web.Request) -> web.StreamResponse:
        which = await self._service.of_run(parameter(request, "id"))
        return await self._listed(request, which)

    async def orphans(self, request: web.Request) -> web.StreamResponse:
        rows = await self._service.orphans(query(request, protocol.LimitQuery).limit)
        return JSONResponse(dumps({"orphans": [dict(row) for row in rows]}))

    async def history(self, request: web.Request) -> web.StreamResponse:
        item = parameter(request, "item")
        rows = await self._service.history(item, query(request, protocol.LimitQuery).limit)
        return JSONResponse(dumps({"item": item, "history": [dict(row) for row in rows]}))

    async def _listed(self, request: web.Request, which: MetricFilter) -> web.StreamResponse:
        """Return metrics in the form that the client accepts: a page of JSON, or all of them."""
        accept = request.headers.get("Accept", "")
        if NDJSON not in accept and CSV not in accept:
            return _paged(request, "metrics", await self._service.metrics(which, _wanted(request)))
        records = self._service.every_metric(which)
        if NDJSON in accept:
            return await stream(request, _chunked(records, _as_ndjson), NDJSON)
        return await stream(
            request, _with_header(_chunked(records, csv_cells.encoded)), f"{CSV}; charset=utf-8", "metrics.csv"
        )


def _wanted(request: web.Request) -> int:
    return paging.parse(request.query.get("page"))


def _optional(request: web.Request, name: str) -> str | None:
    return parameter(request, name) if name in request.match_info else None


def _head(request: web.Request, *names: str) -> dict[str, str]:
    return {name: parameter(request, name) for name in names if name in request.match_info}


def _before(cursor: str | None) -> tuple[datetime, str]:
    if cursor is None:
        return _FAR_FUTURE, ""
    moment, session_h = paging.parse_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(moment).astimezone(UTC), session_h
    except ValueError:
        raise InvalidInput.at("before", "this is no cursor of an earlier answer; take it from next_url") from None


def _path(request: web.Request) -> str:
    """Return the path of the request as links continue it: without what a client put before it by mistake."""
    path = request.rel_url.raw_path
    if "_extra_prefix" in request.match_info:
        path = ("/api/v1/" if "/api/v1/" in path else "/") + _ODD_PATH.sub("", path)
    return path


def _links(request: web.Request, page: paging.Page, *, always: bool) -> dict[str, Any]:
    kept = {name: value for name, value in request.query.items() if name != "page"}
    return paging.links(_path(request), kept, page, always)


def _paged(request: web.Request, name: str, listing: Listing) -> web.StreamResponse:
    if not listing.rows:
        return web.Response(status=204)
    document = protocol.envelope(name, listing.rows, _links(request, listing.page, always=False))
    return JSONResponse(dumps(document)) if name == "metrics" else json_response(document)


def _sub_list(request: web.Request, name: str, listing: Listing, **head: str) -> web.StreamResponse:
    links = _links(request, listing.page, always=True)
    if not listing.rows:
        links["total_page"] = 0
    return json_response(protocol.envelope(name, listing.rows, links, **head))


async def _chunked(
    records: AsyncIterator[Record], render: Callable[[list[Record]], bytes], size: int = 1_000
) -> AsyncIterator[bytes]:
    held: list[Record] = []
    async for record in records:
        held.append(record)
        if len(held) == size:
            yield render(held)
            held = []
    if held:
        yield render(held)


async def _with_header(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield ",".join(protocol.CSV_HEADER).encode() + b"\r\n"
    async for chunk in chunks:
        yield chunk


def _as_ndjson(records: list[Record]) -> bytes:
    return b"".join(orjson.dumps(dict(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)
