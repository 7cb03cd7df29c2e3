"""Handlers of the routes that compare: parse, call the service, encode."""

from __future__ import annotations

import uuid

from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel.http.bodies import parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.metrics import protocol
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.verdicts import ComparisonRequest


class ComparisonHandlers:
    """Handlers of comparisons, verdicts and time series."""

    def __init__(self, service: ComparisonService) -> None:
        self._service = service

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
