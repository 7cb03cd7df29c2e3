"""Handlers of the documents that pages load, of the live WebSocket, and of commands on other machines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from aiohttp import web

from smartmob.console.finder import MAX_TEXT_CHARACTERS, find
from smartmob.console.live import Live
from smartmob.console.peers import RemoteService, RemoteServices
from smartmob.console.service import MAX_HOSTS, ConsoleService
from smartmob.console.timeline import timeline
from smartmob.console.usage import UsageRecorder
from smartmob.errors import InvalidInput
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http import ws_stream
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import NDJSON
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment
from smartmob.metrics.verdict.verdicts import Resource

_MOST_NODE_JOBS = 100  # jobs in the list of those of nodes
_HOUR = timedelta(hours=1)
_LONGEST_SPAN = timedelta(days=3660)
_FIRST_END = datetime(2, 1, 1, tzinfo=UTC)  # leaves space for a span in the calendar


class TimelineQuery(msgspec.Struct, frozen=True):
    """A time span, by default the last hour, and the largest number of points in a curve.

    Times are seconds since 1970, or ISO 8601 with an offset. `machines` are the names of those whose curves, programs
    and jobs are included, separated by commas; without it, the curves of all machines, and the programs and jobs of the
    service's own machine.
    """

    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    points: Annotated[int, msgspec.Meta(ge=10, le=2_000)] = 400
    machines: str = ""


class RecentQuery(msgspec.Struct, frozen=True):
    """The run up to which the values are listed, and the measured resource."""

    run: str
    resource: Resource = "total_time"


class LoadCharts(msgspec.Struct, frozen=True):
    """The charts of the report of a load test by their names, as objects for plotly."""

    charts: dict[str, Any]


class PeerList(msgspec.Struct, frozen=True):
    """The other machines on which the console runs commands."""

    peers: list[RemoteService]


class DataHandlers:
    """Handlers of documents, of the live WebSocket, and of commands on other machines."""

    def __init__(
        self,
        service: ConsoleService,
        live: Live,
        peers: RemoteServices,
        usage: UsageRecorder,
        dependencies: Dependencies,
    ) -> None:
        self._service = service
        self._usage = usage
        self._live = live
        self._peers = peers
        self._bodies = dependencies.bodies
        self._viewers = dependencies.viewers

    async def overview(self, _: web.Request) -> web.StreamResponse:
        return json_response(await self._service.overview())

    async def node_jobs(self, _: web.Request) -> web.StreamResponse:
        return json_response(await self._service.node_jobs(_MOST_NODE_JOBS))

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, TimelineQuery)
        end = moment("to", arguments.end, clock.now())
        start = moment("from", arguments.start, max(end, _FIRST_END) - _HOUR)
        if not timedelta() < end - start <= _LONGEST_SPAN:
            raise InvalidInput.at("from", "expected a span of at most ten years: `from` must be before `to`")
        machines = {name.strip() for name in arguments.machines.split(",") if name.strip()}
        if len(machines) > MAX_HOSTS:
            raise InvalidInput.at("machines", f"expected at most {MAX_HOSTS} names")
        return json_response(await timeline(self._service, start, end, arguments.points, machines))

    async def search(self, request: web.Request) -> web.StreamResponse:
        return json_response(await find(self._service.services, request.query.get("q", "")[:MAX_TEXT_CHARACTERS]))

    async def recent(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, RecentQuery)
        return json_response(await self._service.services.metrics.recent.of_run(arguments.run, arguments.resource))

    async def load_charts(self, request: web.Request) -> web.StreamResponse:
        ident = parameter(request, "id")
        charts = await self._service.services.turrets.reports.charts(ident)
        return json_response(LoadCharts(charts))

    async def usage(self, _: web.Request) -> web.StreamResponse:
        return json_response(self._usage.curves())

    async def peers(self, _: web.Request) -> web.StreamResponse:
        return json_response(PeerList(self._peers.listed()))

    async def peer_call(self, request: web.Request) -> web.StreamResponse:
        text = parameter(request, "number")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
        arguments = await self._bodies.read(request)
        return await stream(request, self._peers.call(number, parameter(request, "name"), arguments), NDJSON)

    async def live(self, request: web.Request) -> web.StreamResponse:
        return await ws_stream.serve(request, self._live.watch(), self._viewers)
