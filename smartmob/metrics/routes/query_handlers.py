"""Handlers of the routes that list and count: parse, call the service, encode."""

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
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import JSONResponse, dumps, json_response
from smartmob.kernel.http.routing import CSV, JSON, NDJSON, Handler
from smartmob.kernel.http.stream_response import stream
from smartmob.metrics import protocol
from smartmob.metrics.model import MetricFilter, SessionFilter
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.service.query import Listing, QueryService

EXTRA_PREFIX = "(?:/|api/v1/)+"
"""Pattern of the text that two clients put before a path by mistake: a second slash, and the prefix once more."""

_EXTRA_PREFIX = re.compile(f"^/+{EXTRA_PREFIX[:-1]}*")
_FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


class QueryHandlers:
    """Handlers of the routes that list and count.

    `metrics` and `extremes` return handlers: many routes differ only in the part of the path that selects metrics.
    """

    def __init__(self, service: QueryService, runs: RunFinder, bodies: BodyReader) -> None:
        self._service = service
        self._runs = runs
        self._bodies = bodies

    def metrics(self, **names: str) -> tuple[Handler, Handler]:
        """Return the handlers that list and count metrics.

        `names` has the name of a part of the path for each field of MetricFilter, or "" for an empty value.
        """

        def selection(request: web.Request) -> MetricFilter:
            given = {field: parameter(request, part) if part else "" for field, part in names.items()}
            return msgspec.convert(given, MetricFilter)

        async def list_rows(request: web.Request) -> web.StreamResponse:
            return await self._metrics_answer(request, selection(request))

        async def count_rows(request: web.Request) -> web.StreamResponse:
            return json_response(protocol.Count(await self._service.count_metrics(selection(request))))

        return list_rows, count_rows

    def extremes(self, most: bool, **names: str) -> Handler:
        """Return the handler of the metrics with the most or the least of a resource; see `metrics` for `names`."""

        async def handler(request: web.Request) -> web.StreamResponse:
            given = {field: parameter(request, part) for field, part in names.items()}
            selection = msgspec.convert(given, MetricFilter)
            limit = int(request.match_info.get("n", "10"))
            resource = parameter(request, "resource")
            rows = await self._service.extremes(resource, selection, most=most, limit=limit)
            return JSONResponse(dumps({"metrics": rows, "prev_url": None, "next_url": None, "total_page": 1}))

        return handler

    async def contexts(self, request: web.Request) -> web.StreamResponse:
        listing = await self._service.contexts(_optional(request, "h"), await self._page_number(request))
        return _paged(request, "contexts", listing)

    async def count_contexts(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_contexts()))

    async def sessions(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, protocol.SessionsQuery)
        if arguments.method not in ("match_any", "match_all"):
            raise InvalidInput.at("method", f"expected match_any or match_all, got {arguments.method!r}")
        tags = protocol.tag_filter(arguments.with_flags or arguments.with_tags, arguments.restrict_flags)
        match_any = arguments.method == "match_any"
        selection = SessionFilter(prefix=_optional(request, "h"), tags=tags, match_any=match_any)
        return _paged(request, "sessions", await self._service.sessions(selection, await self._page_number(request)))

    async def scm_sessions(self, request: web.Request) -> web.StreamResponse:
        selection = SessionFilter(scm_prefix=parameter(request, "ref"))
        return _paged(request, "sessions", await self._service.sessions(selection, await self._page_number(request)))

    async def count_sessions(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_sessions()))

    async def components(self, request: web.Request) -> web.StreamResponse:
        listing = await self._service.components(_optional(request, "prefix"), await self._page_number(request))
        return _paged(request, "components", listing)

    async def count_components(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.Count(await self._service.count_components()))

    async def all_pipelines(self, _: web.Request) -> web.StreamResponse:
        pipelines = await self._service.all_pipelines()
        return json_response(protocol.Pipelines(pipelines)) if pipelines else web.Response(status=204)

    async def pipelines(self, request: web.Request) -> web.StreamResponse:
        component = parameter(request, "component")
        listing = await self._service.pipelines(component, await self._page_number(request))
        return _sub_list(request, "pipelines", listing, component=component)

    async def builds(self, request: web.Request) -> web.StreamResponse:
        parts = _path_parts(request, "component", "pipeline")
        listing = await self._service.builds(
            parts.get("component"), parts["pipeline"], await self._page_number(request)
        )
        return _sub_list(request, "builds", listing, **parts)

    async def build_sessions(self, request: web.Request) -> web.StreamResponse:
        parts = _path_parts(request, "component", "pipeline", "build")
        page = await self._page_number(request)
        listing = await self._service.build_sessions(parts.get("component"), parts["pipeline"], parts["build"], page)
        return _sub_list(request, "sessions", listing, **parts)

    async def runs(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, protocol.RunsQuery)
        runs = await self._runs.before(_before(arguments.before), arguments.limit)
        if not runs:
            return web.Response(status=204)
        document: dict[str, Any] = {"runs": runs}
        if len(runs) == arguments.limit:
            last = runs[-1]
            cursor = paging.cursor(last.started_at.isoformat(), last.sessions[0].session_h)
            document["next_url"] = f"{_path(request)}?limit={arguments.limit}&before={cursor}"
        return json_response(document)

    async def run(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._runs.run(parameter(request, "id")))

    async def run_metrics(self, request: web.Request) -> web.StreamResponse:
        selection = await self._runs.metrics_of(parameter(request, "id"))
        return await self._metrics_answer(request, selection)

    async def orphans(self, request: web.Request) -> web.StreamResponse:
        rows = await self._service.orphans(query(request, protocol.LimitQuery).limit)
        return JSONResponse(dumps({"orphans": [dict(row) for row in rows]}))

    async def history(self, request: web.Request) -> web.StreamResponse:
        item = parameter(request, "item")
        rows = await self._runs.history(item, query(request, protocol.LimitQuery).limit)
        return JSONResponse(dumps({"item": item, "history": rows}))

    async def _page_number(self, request: web.Request) -> int:
        """Return the page that a client asks for, in the query or in a JSON body, as monitor-server-api sends it."""
        page = request.query.get("page")
        if request.can_read_body and (data := await self._bodies.read(request)).strip():
            try:
                given = decode(protocol.PAGE_BODY, data).page
            except InvalidInput:
                if request.content_type == JSON:
                    raise
                given = None  # some clients send a body with any request
            if page is None and given is not None:
                page = str(given)
        return paging.parse(page)

    async def _metrics_answer(self, request: web.Request, selection: MetricFilter) -> web.StreamResponse:
        """Return metrics in the form that the client accepts: one page as JSON, or all of them as NDJSON or CSV."""
        accept = request.headers.get("Accept", "")
        if NDJSON not in accept and CSV not in accept:
            return _paged(request, "metrics", await self._service.metrics(selection, await self._page_number(request)))
        records = self._service.all_metrics(selection)
        if NDJSON in accept:
            return await stream(request, _chunked(records, _as_ndjson), NDJSON)
        return await stream(
            request, _with_header(_chunked(records, csv_cells.encoded)), f"{CSV}; charset=utf-8", "metrics.csv"
        )


def _optional(request: web.Request, name: str) -> str | None:
    return parameter(request, name) if name in request.match_info else None


def _path_parts(request: web.Request, *names: str) -> dict[str, str]:
    return {name: parameter(request, name) for name in names if name in request.match_info}


def _before(cursor: str | None) -> tuple[datetime, str]:
    if cursor is None:
        return _FAR_FUTURE, ""
    moment, session_h = paging.parse_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(moment).astimezone(UTC), session_h
    except (ValueError, OverflowError):
        raise InvalidInput.at("before", "this is not a cursor of an earlier answer; take it from next_url") from None


def _path(request: web.Request) -> str:
    """Return the path of the request for links: without the extra prefix that a client put before it by mistake."""
    path = request.rel_url.raw_path
    if "_extra_prefix" in request.match_info:
        path = ("/api/v1/" if "/api/v1/" in path else "/") + _EXTRA_PREFIX.sub("", path)
    return path


def _links(request: web.Request, page: paging.Page, *, always: bool) -> dict[str, Any]:
    arguments = {name: value for name, value in request.query.items() if name != "page"}
    return paging.links(_path(request), arguments, page, always)


def _paged(request: web.Request, name: str, listing: Listing) -> web.StreamResponse:
    if not listing.rows:
        return web.Response(status=204)
    document = protocol.envelope(name, listing.rows, _links(request, listing.page, always=False))
    return JSONResponse(dumps(document)) if name == "metrics" else json_response(document)


def _sub_list(request: web.Request, name: str, listing: Listing, **parts: str) -> web.StreamResponse:
    links = _links(request, listing.page, always=True)
    if not listing.rows:
        links["total_page"] = 0
    return json_response(protocol.envelope(name, listing.rows, links, **parts))


async def _chunked(
    records: AsyncIterator[Record], render: Callable[[list[Record]], bytes], size: int = 1_000
) -> AsyncIterator[bytes]:
    batch: list[Record] = []
    async for record in records:
        batch.append(record)
        if len(batch) == size:
            yield render(batch)
            batch = []
    if batch:
        yield render(batch)


async def _with_header(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield ",".join(protocol.CSV_HEADER).encode() + b"\r\n"
    async for chunk in chunks:
        yield chunk


def _as_ndjson(records: list[Record]) -> bytes:
    return b"".join(orjson.dumps(dict(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)
