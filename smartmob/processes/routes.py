"""The routes of the feature `processes`: those of seed 002 by name and shape, and ours beside them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http import paging, ws_upgrade
from smartmob.kernel.http.bodies import decode, parameter, query, wants_html
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import Answer, Body, Route, RouteTable, answer, body
from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.runtime.times import moment
from smartmob.processes import model, protocol
from smartmob.processes.service import ProcessesService
from smartmob.processes.viewer import ViewerSession

OCTETS = "application/octet-stream"
_CREATE_BYTES = 1024 * 1024
_SMALL_BYTES = 64 * 1024


_STATUS, _NONE = answer(protocol.Status), Answer("There is no such process.")
_CONFLICT = Answer("The process is not in a state for this.")
_ANYTHING = Body({"application/json": protocol.Empty}, required=False, limit=_SMALL_BYTES)


def table(service: ProcessesService, dependencies: Dependencies, viewer_bytes: int) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, dependencies, viewer_bytes)
    return RouteTable("processes", (*_of_the_seed(h), *_beside_it(h)))


def _of_the_seed(h: _Handlers) -> list[Route]:
    return [
        Route(
            *("GET", "/", h.index, "index", "Where to go; a browser is sent to a page."),
            {200: answer(protocol.Index), 303: Answer("Go on at Location.")},
        ),
        Route("GET", "/list-processes", h.list, "list_processes", "All processes.", {200: answer(protocol.Listing)}),
        Route(
            *("POST", "/create-process", h.create, "create_process", "Create a process and start it."),
            {201: _STATUS, 409: Answer("There is a process of that name.")},
            body(protocol.CreateRequest, limit=_CREATE_BYTES),
        ),
        Route(
            *("GET", "/process-status/{slug}", h.status, "process_status", "A process as it is now."),
            {200: _STATUS, 404: _NONE},
        ),
        Route(
            *("POST", "/delete-process/{slug}", h.delete, "delete_process"),
            "End a process with all its descendants and forget it; answers when nothing is left.",
            {200: answer(protocol.Empty), 404: _NONE},
            _ANYTHING,
        ),
        Route(
            *("GET", "/attach-console/{slug}", h.attach, "attach_console"),
            "A WebSocket with each line of output as a text frame.",
            {101: Answer("The WebSocket is open."), 404: _NONE, 426: Answer("This is no WebSocket.")},
            query=protocol.AttachQuery,
        ),
    ]


def _beside_it(h: _Handlers) -> list[Route]:
    done = {200: _STATUS, 404: _NONE, 409: _CONFLICT}
    return [
        Route(
            *("POST", "/stop-process/{slug}", h.stop, "stop_process"),
            *("Stop a process and keep it; answers when nothing of it is left.", done, _ANYTHING),
        ),
        Route(
            *("POST", "/restart-process/{slug}", h.restart, "restart_process"),
            *("Stop a process if it runs, and start it at once.", done, _ANYTHING),
        ),
        Route(
            *("POST", "/signal-process/{slug}", h.signal, "signal_process"),
            *(
                "Send a signal to the process group of a process.",
                done,
                body(protocol.SignalRequest, limit=_SMALL_BYTES),
            ),
        ),
        Route(
            *("GET", "/process-events", h.events, "process_events", "What happened to processes, oldest first."),
            {200: answer(protocol.Events)},
            query=protocol.EventsQuery,
        ),
        Route(
            *("POST", "/upload-archive", h.upload, "upload_archive", "Store a source archive to create processes of."),
            *({201: answer(protocol.Uploaded)}, Body({OCTETS: bytes})),
        ),
        Route(
            *("GET", "/archives/{digest}", h.archive, "archive", "A stored source archive."),
            {200: answer(bytes, "The archive.", OCTETS), 404: Answer("There is no such archive.")},
            roles=(CONTROL,),  # a source has what its programs are told in secret, such as a .env file
        ),
    ]


class _Handlers:
    def __init__(self, service: ProcessesService, dependencies: Dependencies, viewer_bytes: int) -> None:
        self._service = service
        self._bodies = dependencies.bodies
        self._tasks = dependencies.tasks
        self._viewers = dependencies.viewers
        self._viewer_bytes = viewer_bytes

    async def index(self, request: web.Request) -> web.StreamResponse:
        if wants_html(request):
            raise web.HTTPSeeOther("/console/")
        base = _base(request)
        return _addressed(protocol.Index(create=f"{base}/create-process", list=f"{base}/list-processes"))

    async def list(self, request: web.Request) -> web.StreamResponse:
        base = _base(request)
        return _addressed(protocol.Listing([protocol.status(p, base) for p in self._service.processes()]))

    async def create(self, request: web.Request) -> web.StreamResponse:
        wanted = decode(protocol.CREATE, await self._bodies.read(request))
        snapshot = await self._service.create(wanted, REQUEST_ID.get() or "")
        status = protocol.status(snapshot, _base(request))
        response = _addressed(status, 201)
        response.headers["Location"] = status.details
        return response

    async def status(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, self._service.process(parameter(request, "slug")))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        await self._service.delete(parameter(request, "slug"))
        return json_response(protocol.Empty())

    async def stop(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        return self._answer(request, await self._service.halt(parameter(request, "slug")))

    async def restart(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        return self._answer(request, await self._service.restart(parameter(request, "slug")))

    async def signal(self, request: web.Request) -> web.StreamResponse:
        wanted = decode(protocol.SIGNAL, await self._bodies.read(request))
        return self._answer(request, self._service.signal(parameter(request, "slug"), wanted.signal))

    async def attach(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, protocol.AttachQuery)
        channel = self._service.channel(parameter(request, "slug"))
        ws_upgrade.require(request)
        session = ViewerSession(request, channel, self._tasks, self._viewer_bytes)
        with self._viewers.slot(request.remote):
            return await session.run(wanted)

    async def events(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, protocol.EventsQuery)
        found = await self._service.events(
            wanted.slug,
            moment("since", wanted.since, None),
            moment("until", wanted.until, None),
            None if wanted.after is None else paging.parse_row_cursor(wanted.after, "after"),
            wanted.limit,
        )
        events = [protocol.event(kept.happening) for kept in found]
        last = found[-1] if len(found) == wanted.limit else None
        after = None if last is None else paging.cursor(last.happening.at.isoformat(), str(last.id))
        return json_response(protocol.Events(events=events, next=after))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if not request.can_read_body:
            raise InvalidInput("the request has no body; send the archive as it is")
        stored = await self._service.preparer.upload(self._bodies.chunks(request))
        url = f"{_base(request)}/archives/{stored.digest}"
        return _addressed(protocol.Uploaded(source_url=url, digest=stored.digest, size=stored.size), 201)

    async def archive(self, request: web.Request) -> web.StreamResponse:
        path = self._service.preparer.archive(parameter(request, "digest"))
        return web.FileResponse(path, headers={"Content-Type": OCTETS})

    def _answer(self, request: web.Request, snapshot: model.Snapshot) -> web.StreamResponse:
        return _addressed(protocol.status(snapshot, _base(request)))


def _addressed(document: Any, status: int = 200) -> web.StreamResponse:
    """Return an answer with addresses that were made of the Host header: they are for who asked, and for no cache."""
    response = json_response(document, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _base(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
