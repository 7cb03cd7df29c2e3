"""The handlers of capacity searches."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import HTML
from smartmob.turrets.capacity.model import SearchRequest
from smartmob.turrets.service.searches import PATH, CapacitySearches

SVG = "image/svg+xml"
_DECODER = msgspec.json.Decoder(SearchRequest)
# Neither the page nor the chart loads anything or has a script.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SearchesQuery(msgspec.Struct, frozen=True):
    """The searches to list: the `limit` newest."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50


class ChartQuery(msgspec.Struct, frozen=True):
    """`at`: when the search was changed, so that a newer chart has another address; it changes nothing else."""

    at: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class SearchHandlers:
    """The handlers, with the service that they call."""

    def __init__(self, service: CapacitySearches, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies

    async def create(self, request: web.Request) -> web.StreamResponse:
        search = await self._service.create(decode(_DECODER, await self._bodies.read(request), "$"))
        answer = json_response(search, 201)
        answer.headers["Location"] = f"{PATH}/{search.id}"
        return answer

    async def replace(self, request: web.Request) -> web.StreamResponse:
        search = decode(_DECODER, await self._bodies.read(request), "$")
        return json_response(await self._service.replace(parameter(request, "id"), search))

    async def searches(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.newest(query(request, SearchesQuery).limit))

    async def search(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.find(parameter(request, "id")))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete(parameter(request, "id"))
        return web.Response(status=204)

    async def report(self, request: web.Request) -> web.StreamResponse:
        page = await self._service.report(parameter(request, "id"))
        return web.Response(text=page, content_type=HTML, charset="utf-8", headers=_HEADERS)

    async def chart(self, request: web.Request) -> web.StreamResponse:
        query(request, ChartQuery)
        chart = await self._service.chart(parameter(request, "id"))
        return web.Response(text=chart, content_type=SVG, charset="utf-8", headers=_HEADERS)
