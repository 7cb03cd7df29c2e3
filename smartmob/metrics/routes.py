"""The routes of the room `metrics`: those of pytest-monitor's remote server, those of its Python client, and our own.

They answer at the root and below /api/v1 alike. A listing without rows is 204, as the clients expect; a sub-list of
pipelines, builds or sessions is always 200.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel import ndjson, paging
from smartmob.kernel.answers import JSONResponse
from smartmob.kernel.db import Record
from smartmob.kernel.routing import CSV, JSON, NDJSON, Answer, Body, Handler, Route, RouteTable, answer, body
from smartmob.kernel.web import (
    BodyReader,
    decode,
    dumps,
    json_response,
    parameter,
    query,
    stream,
)
from smartmob.metrics import model, protocol
from smartmob.metrics.model import MetricFilter, SessionFilter
from smartmob.metrics.service import Listing, MetricsService

PREFIXES = ("", "/api/v1")
ODD = "(?:/|api/v1/)+"
"""What two clients put before a path: a second slash, and the prefix once more."""

_ODD_PATH = re.compile(f"^/+(?:{ODD[3:-2]})*")
_EMPTY = Answer("There are none.")
_NO_PAGE = Answer("There is no such page.")
_METRICS = {
    200: Answer(
        "A page of metrics, or all of them, by Accept.",
        {JSON: protocol.MetricsPage, NDJSON: model.Metric, CSV: str},
    ),
    204: _EMPTY,
    404: _NO_PAGE,
}
_FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


def table(service: MetricsService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the room."""
    takes, gives = _Taking(service, bodies), _Giving(service)
    return RouteTable("metrics", (*_taking(takes), *_giving(gives)), PREFIXES, ODD)


def _taking(h: _Taking) -> list[Route]:
    def both(path: str, handler: Handler, name: str, summary: str, status: Answer, kind: Body) -> list[Route]:
        """Return the route with and without a slash at its end; neither redirects to the other."""
        return [
            Route("POST", path + "/", handler, name, summary, {201: status}, kind),
            Route("POST", path, handler, f"{name}_no_slash", summary, {201: status}, kind),
        ]

    metrics = Body({JSON: model.NewMetric | list[model.NewMetric], NDJSON: model.NewMetric})
    imported = Body({JSON: model.ImportedMetric | list[model.ImportedMetric], NDJSON: model.ImportedMetric})
    return [
        *both(
            "/contexts", h.context, "create_context", "Store a context.", answer(model.Context), body(model.NewContext)
        ),
        *both(
            "/sessions", h.session, "create_session", "Store a session.", answer(model.Session), body(model.NewSession)
        ),
        *both(
            *("/metrics", h.metrics, "create_metric", "Store a metric, or many: all or none of them."),
            *(answer(model.Metric | protocol.Count, "The metric, or how many were stored."), metrics),
        ),
        Route(
            *("POST", "/sessions/{h}/metrics", h.append, "append_metrics"),
            "Store metrics from a file behind the `offset` ones that the session has: all or none of them.",
            {201: answer(protocol.Count), 409: Answer("The session has another number of metrics.")},
            imported,
            protocol.AppendQuery,
        ),
        Route(
            *("DELETE", "/sessions/{h}", h.delete, "delete_session", "Remove a session with its metrics."),
            {200: answer(protocol.Deleted), 404: Answer("There is no such session.")},
        ),
    ]


def _giving(h: _Giving) -> list[Route]:
    return [
        *h.lists("/contexts/", h.contexts, "contexts", "All contexts.", protocol.ContextsPage),
        *h.lists("/contexts/{h}", h.contexts, "contexts_by_prefix", "Contexts by prefix.", protocol.ContextsPage),
        h.one("/contexts/count", h.count_contexts, "count_contexts", "How many contexts.", protocol.Count),
        *h.metrics("/contexts/{context_h}/metrics", "context", "Metrics of a context.", context_h="context_h"),
        *h.lists(
            *("/sessions/", h.sessions, "sessions", "All sessions.", protocol.SessionsPage, protocol.SessionsQuery)
        ),
        *h.lists(
            *("/sessions/{h}", h.sessions, "sessions_by_prefix", "Sessions by prefix."),
            *(protocol.SessionsPage, protocol.SessionsQuery),
        ),
        h.one("/sessions/count", h.count_sessions, "count_sessions", "How many sessions.", protocol.Count),
        *h.metrics("/sessions/{session_h}/metrics", "session", "Metrics of a session.", session_h="session_h"),
        *h.metrics("/metrics/", "all", "All metrics.", count="/metrics/count"),
        *h.metrics("/items/{item}/metrics", "item", "Metrics of a test.", item="item"),
        *h.metrics("/items/like/{item}/metrics", "item_like", "Metrics of tests by part of name.", item_like="item"),
        *h.metrics("/variants/{variant}/metrics", "variant", "Metrics of a variant.", variant="variant"),
        *h.metrics(
            "/variants/like/{variant}/metrics", "variant_like", "Metrics by part of variant.", variant_like="variant"
        ),
        *h.lists("/components/", h.components, "components", "All components.", protocol.ComponentsPage),
        *h.lists(
            "/components/{prefix}",
            h.components,
            "components_by_prefix",
            "Components by prefix.",
            protocol.ComponentsPage,
        ),
        h.one("/components/count", h.count_components, "count_components", "How many components.", protocol.Count),
        *h.metrics("/components/metrics", "no_component", "Metrics without a component.", component=""),
        *h.metrics("/components/{component}/metrics", "component", "Metrics of a component.", component="component"),
        *h.metrics(
            *("/components/{component}/items/{item}/metrics", "component_item", "Metrics of a component's test."),
            component="component",
            item="item",
        ),
        *h.metrics(
            *("/components/items/{item}/metrics", "no_component_item", "Metrics of a test without component."),
            component="",
            item="item",
        ),
        *h.metrics(
            *("/components/{component}/variants/{variant}/metrics", "component_variant", "Metrics of its variant."),
            component="component",
            variant="variant",
        ),
        *h.metrics(
            *(
                "/components/variants/{variant}/metrics",
                "no_component_variant",
                "Metrics of a variant without component.",
            ),
            component="",
            variant="variant",
        ),
        h.sub("/components/{component}/pipelines", h.pipelines, "component_pipelines", protocol.PipelinesPage),
        h.sub("/components/{component}/pipelines/{pipeline}/builds", h.builds, "component_builds", protocol.BuildsPage),
        h.sub(
            *("/components/{component}/pipelines/{pipeline}/builds/{build}/sessions", h.build_sessions),
            *("component_build_sessions", protocol.BuildSessionsPage),
        ),
        *h.lists("/pipelines/", h.every_pipeline, "pipelines", "All pipelines.", protocol.Pipelines),
        h.sub("/pipelines/{pipeline}/builds", h.builds, "pipeline_builds", protocol.BuildsPage),
        h.sub(
            *("/pipelines/{pipeline}/builds/{build}/sessions", h.build_sessions),
            *("pipeline_build_sessions", protocol.BuildSessionsPage),
        ),
        *h.metrics("/filters/scope/{kind}/metrics", "scope", "Metrics of a scope.", kind="kind"),
        *h.metrics("/filters/scm/{ref}/metrics", "scm", "Metrics by prefix of the commit.", scm_prefix="ref"),
        *h.lists(
            "/filters/scm/{ref}/sessions", h.scm_sessions, "scm_sessions", "Sessions by commit.", protocol.SessionsPage
        ),
        *h.extremes(""),
        *h.extremes("/components/{component}", component="component"),
        *h.extremes("/pipelines/{pipeline}", pipeline="pipeline"),
        *h.extremes("/pipelines/{pipeline}/builds/{build}", pipeline="pipeline", build="build"),
        *h.lists("/runs/", h.runs, "runs", "Test runs, newest first.", protocol.Runs, protocol.RunsQuery),
        h.one("/runs/{id}", h.run, "run", "A test run.", model.Run, missing="There is no such run."),
        Route(
            *("GET", "/runs/{id}/metrics", h.run_metrics, "run_metrics", "Metrics of a run.", _METRICS),
            query=protocol.PageQuery,
        ),
        h.one(
            *("/metrics/orphans", h.orphans, "orphans", "Metrics whose session never came.", protocol.Orphans),
            query=protocol.LimitQuery,
        ),
        h.one(
            *("/items/{item}/history", h.history, "item_history", "Executions of a test, newest first."),
            *(protocol.History, protocol.LimitQuery),
        ),
    ]


class _Taking:
    """Handlers of what is sent."""

    def __init__(self, service: MetricsService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies

    async def context(self, request: web.Request) -> web.StreamResponse:
        new = decode(protocol.CONTEXT, await self._bodies.read(request))
        return json_response(await self._service.create_context(new), 201)

    async def session(self, request: web.Request) -> web.StreamResponse:
        new = decode(protocol.SESSION, await self._bodies.read(request))
        return json_response(await self._service.create_session(new), 201)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        if _is_ndjson(request):
            batches = ndjson.documents(self._bodies.chunks(request), protocol.METRIC)
            return json_response(protocol.Count(await self._service.load_metrics(batches)), 201)
        data = await self._bodies.read(request)
        if data[:1] == b"[" or data.lstrip()[:1] == b"[":
            many = decode(protocol.METRICS, data)
            await self._service.create_metrics(many)
            return json_response(protocol.Count(len(many)), 201)
        metric = decode(protocol.METRIC, data)
        await self._service.create_metric(metric)
        if metric.component is None:
            metric = msgspec.structs.replace(metric, component="")
        return json_response(metric, 201)

    async def append(self, request: web.Request) -> web.StreamResponse:
        session_h, offset = parameter(request, "h"), query(request, protocol.AppendQuery).offset
        batches: AsyncIterator[Sequence[model.ImportedMetric]]
        if _is_ndjson(request):
            batches = ndjson.documents(self._bodies.chunks(request), protocol.IMPORTED)
        else:
            batches = _once(_one_or_many(await self._bodies.read(request)))
        return json_response(protocol.Count(await self._service.append_to_session(session_h, offset, batches)), 201)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        session_h = parameter(request, "h")
        return json_response(protocol.Deleted(session_h, await self._service.delete_session(session_h)))


def _is_ndjson(request: web.Request) -> bool:
    given = request.headers.get("Content-Type")
    return given is not None and given != JSON and given.partition(";")[0].strip().lower() in ndjson.MEDIA_TYPES


def _one_or_many(data: bytes) -> Sequence[model.ImportedMetric]:
    if data.lstrip()[:1] == b"[":
        return decode(protocol.IMPORTED_MANY, data)
    return (decode(protocol.IMPORTED, data),)


async def _once(batch: Sequence[model.ImportedMetric]) -> AsyncIterator[Sequence[model.ImportedMetric]]:
    yield batch


class _Giving:
    """Handlers of what is asked, and the makers of their routes."""

    def __init__(self, service: MetricsService) -> None:
        self._service = service

    # -- makers of routes ---------------------------------------------------------------------------------------

    def one(
        self, path: str, handler: Handler, name: str, summary: str, kind: type, query: type | None = None,
        missing: str | None = None,
    ) -> Route:  # fmt: skip
        """Return a route whose answer always has a body."""
        answers = {200: answer(kind), **({404: Answer(missing)} if missing else {})}
        return Route("GET", path, handler, name, summary, answers, query=query)

    def lists(
        self, path: str, handler: Handler, name: str, summary: str, kind: Any, query: type = protocol.PageQuery
    ) -> list[Route]:
        """Return the routes of a paged listing; a collection also answers without the slash at its end."""
        answers = {200: answer(kind), 204: _EMPTY, 404: _NO_PAGE}
        routes = [Route("GET", path, handler, name, summary, answers, query=query)]
        # At the root, GET /metrics is what Prometheus asks for.
        if path.endswith("/") and path != "/metrics/":
            routes.append(Route("GET", path[:-1], handler, f"{name}_no_slash", summary, answers, query=query))
        return routes

    def sub(self, path: str, handler: Handler, name: str, kind: type) -> Route:
        """Return the route of a sub-list."""
        answers = {200: answer(kind), 404: _NO_PAGE}
        return Route("GET", path, handler, name, "Part of the pipelines, builds and sessions.", answers,
                     query=protocol.PageQuery)  # fmt: skip

    def metrics(self, path: str, name: str, summary: str, count: str | None = None, **names: str) -> list[Route]:
        """Return the routes that list and count metrics.

        `names` tells for each field of MetricFilter which part of the path it is, or "" for an empty value.
        """

        def which(request: web.Request) -> MetricFilter:
            given = {field: parameter(request, part) if part else "" for field, part in names.items()}
            return msgspec.convert(given, MetricFilter)

        async def rows(request: web.Request) -> web.StreamResponse:
            return await self._listed(request, which(request))

        async def number(request: web.Request) -> web.StreamResponse:
            return json_response(protocol.Count(await self._service.count_metrics(which(request))))

        return [
            Route("GET", path, rows, f"metrics_{name}", summary, _METRICS, query=protocol.PageQuery),
            self.one(count or f"{path}/count", number, f"count_metrics_{name}", f"How many: {summary}", protocol.Count),
        ]

    def extremes(self, scope: str, **names: str) -> list[Route]:
        """Return the routes of the metrics with the most and the least of a resource, within a scope."""

        def maker(most: bool) -> Handler:
            async def handler(request: web.Request) -> web.StreamResponse:
                given = {field: parameter(request, part) for field, part in names.items()}
                which = msgspec.convert(given, MetricFilter)
                limit = int(request.match_info.get("n", "10"))
                resource = parameter(request, "resource")
                rows = await self._service.extremes(resource, which, most=most, limit=limit)
                return JSONResponse(dumps({"metrics": rows, "prev_url": None, "next_url": None, "total_page": 1}))

            return handler

        label = "_".join(("extremes", *names))
        found = []
        for end, most in (("head", True), ("tail", False)):
            for part, suffix in (("", ""), ("/{n:[0-9]{1,9}}", "_n")):
                found.append(
                    Route(
                        *("GET", f"/resources/{{resource}}{scope}/{end}{part}/metrics", maker(most)),
                        *(f"{label}_{end}{suffix}", "Metrics with the most (head) or least (tail) of a resource."),
                        {200: answer(protocol.ExtremesPage), 404: Answer("There is no such resource.")},
                    )
                )
        return found

    # -- handlers -----------------------------------------------------------------------------------------------

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
        return await stream(request, _with_header(_chunked(records, _as_csv)), f"{CSV}; charset=utf-8", "metrics.csv")


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
    if "_odd" in request.match_info:
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


def _as_csv(records: list[Record]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(records)
    return text.getvalue().encode()
