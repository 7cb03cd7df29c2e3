"""The handlers of the feature `turrets`: they parse the request, call the service and encode the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web

from smartmob.kernel.http import ndjson, paging, ws_stream
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import CSV, HTML, NDJSON
from smartmob.kernel.http.stream_response import stream
from smartmob.turrets.model import LiveFrame, RunList, Seconds
from smartmob.turrets.project import DECODER, Project, check_conditions, check_warm_up
from smartmob.turrets.project_archive import find_config
from smartmob.turrets.report.run_comparison import LEAST_EFFECT
from smartmob.turrets.result_files.imported_run import LINE, LINES, ImportLine
from smartmob.turrets.routes import csv_tables, single_results
from smartmob.turrets.service.firing import TurretsService

GZIP = "application/gzip"
TAR = "application/x-tar"
_PACKAGES = (GZIP, TAR, "application/x-gzip", "application/octet-stream")
_FAR_FUTURE = (datetime.max.replace(tzinfo=UTC), "ffffffff-ffff-ffff-ffff-ffffffffffff")

# The page is complete: it may neither load nor send anything.
_REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class LoadTestsQuery(msgspec.Struct, frozen=True):
    """The runs to list: at most `limit`, before the cursor `before` of an earlier page."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    before: str | None = None


class StatisticsQuery(msgspec.Struct, frozen=True):
    """`warm_up`: seconds after the start to leave out, instead of those of the configuration of the run."""

    warm_up: Seconds | None = None


class ReportQuery(StatisticsQuery, frozen=True):
    """The id of the run to compare with, and the seconds of warm-up to leave out."""

    against: str | None = None


class FireQuery(msgspec.Struct, frozen=True):
    """`warm_up`: seconds after the start to leave out, instead of those of the configuration that is sent."""

    warm_up: Seconds | None = None


class ComparisonQuery(msgspec.Struct, frozen=True):
    """The id of the run to compare with, the seconds to leave out at the start, and the least effect, as a share."""

    against: str
    skip: Annotated[float, msgspec.Meta(ge=0, le=31 * 86_400)] = 0.0
    min_effect: Annotated[float, msgspec.Meta(ge=0, le=100)] = LEAST_EFFECT


class Handlers:
    """The handlers, with the service that they call."""

    def __init__(self, service: TurretsService, bodies: BodyReader, viewers: ConnectionLimit) -> None:
        self._service = service
        self._viewers = viewers
        self._bodies = bodies

    async def fire(self, request: web.Request) -> web.StreamResponse:
        data = await self._bodies.read(request)
        package = None
        if request.content_type in _PACKAGES:
            package, data = data, await asyncio.to_thread(find_config, data)
        where = "config.json: $" if package is not None else "$"
        config = decode(DECODER, data, where)
        check_conditions(config, where)
        project = Project(config, data, package).with_warm_up(query(request, FireQuery).warm_up)
        check_warm_up(project.config, where)
        run = await self._service.fire(project)
        answer = json_response(run, 201)
        answer.headers["Location"] = f"/turret-runs/{run.id}"
        return answer

    async def import_run(self, request: web.Request) -> web.StreamResponse:
        if request.content_type in ndjson.MEDIA_TYPES:
            lines = ndjson.documents(self._bodies.chunks(request), LINE)
        else:
            lines = _once(decode(LINES, await self._bodies.read(request)))
        stored = await self._service.imports.store(lines)
        return json_response(stored, 200 if stored.known else 201)

    async def runs(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, LoadTestsQuery)
        runs = await self._service.queries.runs(_before(asked.before), asked.limit)
        link = None
        if len(runs) == asked.limit:
            cursor = paging.cursor(runs[-1].created_at.isoformat(), runs[-1].id)
            link = f"{request.rel_url.raw_path}?limit={asked.limit}&before={cursor}"
        return json_response(RunList(runs, link))

    async def run(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.queries.details(parameter(request, "id")))

    async def stop(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.stop(parameter(request, "id"), "stopped by request"))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete(parameter(request, "id"))
        return web.Response(status=204)

    async def rebuild(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.reports.rebuild(parameter(request, "id")))

    async def summary(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, StatisticsQuery)
        return json_response(await self._service.reports.summary(parameter(request, "id"), asked.warm_up))

    async def timers(self, request: web.Request) -> web.StreamResponse:
        ident, asked = parameter(request, "id"), query(request, StatisticsQuery)
        summary = await self._service.reports.summary(ident, asked.warm_up)
        return await stream(request, csv_tables.timers(summary), f"{CSV}; charset=utf-8", f"timers-{ident}.csv")

    async def errors(self, request: web.Request) -> web.StreamResponse:
        ident, asked = parameter(request, "id"), query(request, StatisticsQuery)
        errors = await self._service.reports.errors(ident, asked.warm_up)
        return await stream(request, csv_tables.errors(errors), f"{CSV}; charset=utf-8", f"errors-{ident}.csv")

    async def results(self, request: web.Request) -> web.StreamResponse:
        ident = parameter(request, "id")
        timers = await self._service.queries.timers(ident)
        records = self._service.queries.results(ident)
        if CSV in request.headers.get("Accept", ""):
            rows = single_results.as_csv(records, timers)
            return await stream(request, rows, f"{CSV}; charset=utf-8", f"results-{ident}.csv")
        return await stream(request, single_results.as_ndjson(records), NDJSON)

    async def report(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, ReportQuery)
        page = await self._service.reports.report(parameter(request, "id"), asked.against, asked.warm_up)
        return web.Response(text=page, content_type=HTML, charset="utf-8", headers=_REPORT_HEADERS)

    async def comparison(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, ComparisonQuery)
        first = parameter(request, "id")
        found = await self._service.comparisons.compare(first, asked.against, asked.skip, asked.min_effect)
        return json_response(found)

    async def package(self, request: web.Request) -> web.StreamResponse:
        ident = parameter(request, "id")
        headers = {"Content-Disposition": f'attachment; filename="project-{ident}.tar.gz"'}
        return web.Response(body=await self._service.queries.package(ident), content_type=GZIP, headers=headers)

    async def turrets(self, _: web.Request) -> web.StreamResponse:
        return json_response(self._service.turrets())

    async def time_series(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.reports.time_series(parameter(request, "id")))

    async def live(self, request: web.Request) -> web.StreamResponse:
        ident = parameter(request, "id")
        await self._service.queries.find(ident)  # raises NotFound before the connection is upgraded
        return await ws_stream.serve(request, _texts(self._service.watch(ident)), self._viewers)


async def _once(lines: list[ImportLine]) -> AsyncIterator[list[ImportLine]]:
    yield lines


async def _texts(frames: AsyncIterator[LiveFrame]) -> AsyncIterator[str]:
    async for frame in frames:
        yield msgspec.json.encode(frame).decode()


def _before(cursor: str | None) -> tuple[datetime, str]:
    if cursor is None:
        return _FAR_FUTURE
    at, ident = paging.parse_row_cursor(cursor)
    return at, str(ident)
