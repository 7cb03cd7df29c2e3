"""Handlers of the routes that compare: parse, call the service, encode."""

from __future__ import annotations

import uuid

from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.metrics import protocol
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.trend_service import TrendService
from smartmob.metrics.verdict.trends import TrendRequest
from smartmob.metrics.verdict.verdicts import MAX_NAME_CHARACTERS, ComparisonRequest

_MAX_NAMES = 100  # of tests in one request


class ComparisonHandlers:
    """Handlers of comparisons, verdicts, time series and trends."""

    def __init__(self, service: ComparisonService, trends: TrendService) -> None:
        self._service = service
        self._trends = trends

    async def compare(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.compare(query(request, ComparisonRequest)))

    async def run_verdict(self, request: web.Request) -> web.StreamResponse:
        resource = query(request, protocol.VerdictQuery).resource
        return json_response(await self._service.verdict_of_run(parameter(request, "id"), resource))

    async def item_series(self, request: web.Request) -> web.StreamResponse:
        given = parameter(request, "id")
        try:
            item_id = uuid.UUID(given)
        except ValueError:
            raise InvalidInput.at("id", "expected the id of a test, from a comparison") from None
        return json_response(await self._service.series(item_id, query(request, protocol.SeriesQuery).limit))

    async def trends(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, TrendRequest)
        names = request.query.getall("name", [])
        if wanted.since is not None and (wanted.since.tzinfo is None or not 1 < wanted.since.year < 9999):
            raise InvalidInput.at("since", "expected a date and time with a zone, such as 2026-11-01T00:00:00Z")
        if len(names) > _MAX_NAMES or any(len(name) > MAX_NAME_CHARACTERS for name in names):
            raise InvalidInput.at("name", f"expected at most {_MAX_NAMES} names of {MAX_NAME_CHARACTERS} characters")
        return json_response(await self._trends.trends(wanted, names))
