"""Handlers of the routes that store and delete: parse, call the service, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web

from smartmob.kernel.http import ndjson
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.peer_address import peer_address
from smartmob.kernel.http.routing import JSON
from smartmob.metrics import model, protocol
from smartmob.metrics.sender import Sender
from smartmob.metrics.service.ingest import IngestService


class IngestHandlers:
    """Handlers of the routes that store and delete."""

    def __init__(self, service: IngestService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies

    async def create_context(self, request: web.Request) -> web.StreamResponse:
        new = decode(protocol.CONTEXT, await self._bodies.read(request))
        return json_response(await self._service.create_context(new), 201)

    async def create_session(self, request: web.Request) -> web.StreamResponse:
        new = decode(protocol.SESSION, await self._bodies.read(request))
        return json_response(await self._service.create_session(new, _sender(request)), 201)

    async def create_metrics(self, request: web.Request) -> web.StreamResponse:
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

    async def append_metrics(self, request: web.Request) -> web.StreamResponse:
        session_h, offset = parameter(request, "h"), query(request, protocol.AppendQuery).offset
        batches: AsyncIterator[Sequence[model.ImportedMetric]]
        if _is_ndjson(request):
            batches = ndjson.documents(self._bodies.chunks(request), protocol.IMPORTED)
        else:
            batches = _once(_one_or_many(await self._bodies.read(request)))
        return json_response(protocol.Count(await self._service.append_to_session(session_h, offset, batches)), 201)

    async def change_session(self, request: web.Request) -> web.StreamResponse:
        change = decode(protocol.CHANGE, await self._bodies.read(request))
        return json_response(await self._service.change_session(parameter(request, "h"), change))

    async def delete_session(self, request: web.Request) -> web.StreamResponse:
        session_h = parameter(request, "h")
        return json_response(protocol.Deleted(session_h, await self._service.delete_session(session_h)))


def _sender(request: web.Request) -> Sender | None:
    peer = peer_address(request)
    return None if peer is None else Sender(peer.address, peer.is_local)


def _is_ndjson(request: web.Request) -> bool:
    given = request.headers.get("Content-Type")
    return given is not None and given != JSON and given.partition(";")[0].strip().lower() in ndjson.MEDIA_TYPES


def _one_or_many(data: bytes) -> Sequence[model.ImportedMetric]:
    if data.lstrip()[:1] == b"[":
        return decode(protocol.IMPORTED_MANY, data)
    return (decode(protocol.IMPORTED, data),)


async def _once(batch: Sequence[model.ImportedMetric]) -> AsyncIterator[Sequence[model.ImportedMetric]]:
    yield batch
