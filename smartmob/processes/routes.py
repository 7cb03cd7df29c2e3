"""The routes of the feature `processes`: those of smartmob-agent (seed 002), and our own."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from smartmob.errors import InvalidInput
from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.features import KernelParts
from smartmob.kernel.http import paging, ws_upgrade
from smartmob.kernel.http.bodies import decode, parameter, query, wants_html
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import Answer, Body, Route, RouteTable, answer, body
from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment
from smartmob.processes import model, protocol
from smartmob.processes.service import ProcessesService
from smartmob.processes.viewer import ViewerSession

OCTETS = "application/octet-stream"
_CREATE_BYTES = 1024 * 1024
_SMALL_BYTES = 64 * 1024

_STATUS = answer(protocol.ProcessStatus)
_NOT_FOUND = Answer("There is no such program.")
_CONFLICT = Answer("The state of the program does not allow this.")
_IGNORED_BODY = Body({"application/json": protocol.Empty}, required=False, limit=_SMALL_BYTES)


def table(service: ProcessesService, dependencies: KernelParts, viewer_bytes: int) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, dependencies, viewer_bytes)
    return RouteTable("processes", (*_seed_routes(h), *_control_routes(h), *_event_and_archive_routes(h)))


def _seed_routes(h: _Handlers) -> list[Route]:
    """Return the routes of smartmob-agent (seed 002)."""
    return [
        Route(
            "GET",
            "/",
            h.index,
            "index",
            summary="The addresses to begin with; a browser is redirected to the console.",
            answers={200: answer(protocol.Index), 303: Answer("A redirect to Location.")},
        ),
        Route(
            "GET",
            "/list-processes",
            h.list,
            "list_processes",
            summary="List all programs, as smartmob-agent does.",
            answers={200: answer(protocol.ProcessListing)},
        ),
        Route(
            "POST",
            "/create-process",
            h.create,
            "create_process",
            summary="Create a program and start it.",
            answers={201: answer(protocol.Process), 409: Answer("A program of that name exists.")},
            body=body(protocol.CreateRequest, limit=_CREATE_BYTES),
            starts_work=True,
        ),
        Route(
            "GET",
            "/process-status/{slug}",
            h.status,
            "process_status",
            summary="Show the status of a program.",
            answers={200: _STATUS, 404: _NOT_FOUND},
        ),
        Route(
            "POST",
            "/delete-process/{slug}",
            h.delete,
            "delete_process",
            summary="Delete a program; answers when it and all its descendants have ended.",
            answers={200: answer(protocol.Empty), 404: _NOT_FOUND},
            body=_IGNORED_BODY,
        ),
        Route(
            "GET",
            "/attach-console/{slug}",
            h.attach,
            "attach_console",
            summary="Open a WebSocket with each line of output as a text frame.",
            answers={
                101: Answer("The WebSocket is open."),
                404: _NOT_FOUND,
                426: Answer("The request is not a WebSocket handshake."),
            },
            query=protocol.AttachQuery,
        ),
    ]


def _control_routes(h: _Handlers) -> list[Route]:
    """Return the routes that list and control processes, in addition to those of smartmob-agent."""
    answers = {200: _STATUS, 404: _NOT_FOUND, 409: _CONFLICT}
    return [
        Route(
            "GET",
            "/api/v1/processes",
            h.statuses,
            "process_statuses",
            summary="Show the status of all programs.",
            answers={200: answer(protocol.Statuses)},
        ),
        Route(
            "POST",
            "/stop-process/{slug}",
            h.stop,
            "stop_process",
            summary="Stop a program and keep its definition; answers when it and all its descendants have ended.",
            answers=answers,
            body=_IGNORED_BODY,
        ),
        Route(
            "POST",
            "/restart-process/{slug}",
            h.restart,
            "restart_process",
            summary="Start a program; stop it first if it runs.",
            answers=answers,
            body=_IGNORED_BODY,
            starts_work=True,
        ),
        Route(
            "POST",
            "/signal-process/{slug}",
            h.signal,
            "signal_process",
            summary="Send a signal to the process group of a program.",
            answers=answers,
            body=body(protocol.SignalRequest, limit=_SMALL_BYTES),
        ),
        Route(
            "POST",
            "/renew-process/{slug}",
            h.renew,
            "renew_process",
            summary="Renew the lease of a program; without a lease nothing changes.",
            answers=answers,
            body=_IGNORED_BODY,
        ),
    ]


def _event_and_archive_routes(h: _Handlers) -> list[Route]:
    """Return the routes of process events and of source archives."""
    return [
        Route(
            "GET",
            "/process-events",
            h.events,
            "process_events",
            summary="List the events of programs, oldest first.",
            answers={200: answer(protocol.Events)},
            query=protocol.EventsQuery,
        ),
        Route(
            "POST",
            "/upload-archive",
            h.upload,
            "upload_archive",
            summary="Store a source archive, to create programs from it.",
            answers={201: answer(protocol.Uploaded)},
            body=Body({OCTETS: bytes}),
        ),
        Route(
            "GET",
            "/archives/{digest}",
            h.archive,
            "archive",
            summary="Download a stored source archive.",
            answers={200: answer(bytes, "The archive.", OCTETS), 404: Answer("There is no such archive.")},
            roles=(CONTROL,),  # an archive may contain secrets, such as a .env file
        ),
    ]


class _Handlers:
    """The handlers: parse the request, call the service, encode the answer."""

    def __init__(self, service: ProcessesService, dependencies: KernelParts, viewer_bytes: int) -> None:
        self._service = service
        self._bodies = dependencies.bodies
        self._tasks = dependencies.tasks
        self._viewers = dependencies.viewers
        self._viewer_bytes = viewer_bytes

    async def index(self, request: web.Request) -> web.StreamResponse:
        if wants_html(request):
            raise web.HTTPSeeOther("/console/")
        base = _base(request)
        return _uncached(protocol.Index(create=f"{base}/create-process", list=f"{base}/list-processes"))

    async def list(self, request: web.Request) -> web.StreamResponse:
        base, now = _base(request), clock.now()
        return _uncached(protocol.ProcessListing([protocol.listed(p, base, now) for p in self._service.processes()]))

    async def statuses(self, request: web.Request) -> web.StreamResponse:
        base = _base(request)
        return _uncached(protocol.Statuses([protocol.status(p, base) for p in self._service.processes()]))

    async def create(self, request: web.Request) -> web.StreamResponse:
        definition = decode(protocol.CREATE, await self._bodies.read(request))
        snapshot = await self._service.create(definition, REQUEST_ID.get() or "")
        process = protocol.created(snapshot, _base(request))
        response = _uncached(process, 201)
        response.headers["Location"] = process.details
        return response

    async def status(self, request: web.Request) -> web.StreamResponse:
        return self._status(request, self._service.process(parameter(request, "slug")))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        await self._service.delete(parameter(request, "slug"))
        return json_response(protocol.Empty())

    async def stop(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        return self._status(request, await self._service.stop_process(parameter(request, "slug")))

    async def restart(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        return self._status(request, await self._service.restart(parameter(request, "slug")))

    async def signal(self, request: web.Request) -> web.StreamResponse:
        document = decode(protocol.SIGNAL, await self._bodies.read(request))
        return self._status(request, self._service.signal(parameter(request, "slug"), document.signal))

    async def renew(self, request: web.Request) -> web.StreamResponse:
        await self._bodies.read(request)
        return self._status(request, self._service.renew(parameter(request, "slug")))

    async def attach(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, protocol.AttachQuery)
        output = self._service.output(parameter(request, "slug"))
        ws_upgrade.require(request)
        session = ViewerSession(request, output, self._tasks, self._viewer_bytes)
        with self._viewers.slot(request.remote):
            return await session.run(arguments)

    async def events(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, protocol.EventsQuery)
        page = await self._service.events(
            arguments.slug,
            moment("since", arguments.since, None),
            moment("until", arguments.until, None),
            None if arguments.after is None else paging.parse_row_cursor(arguments.after, "after"),
            arguments.limit,
        )
        events = [protocol.event(stored.event) for stored in page]
        last = page[-1] if len(page) == arguments.limit else None
        after = None if last is None else paging.cursor(last.event.at.isoformat(), str(last.id))
        return json_response(protocol.Events(events=events, next=after))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if not request.can_read_body:
            raise InvalidInput("the request has no body; send the archive as it is")
        stored = await self._service.preparer.upload(self._bodies.chunks(request))
        url = f"{_base(request)}/archives/{stored.digest}"
        return _uncached(protocol.Uploaded(source_url=url, digest=stored.digest, size=stored.size), 201)

    async def archive(self, request: web.Request) -> web.StreamResponse:
        path = self._service.preparer.archive(parameter(request, "digest"))
        return web.FileResponse(path, headers={"Content-Type": OCTETS})

    def _status(self, request: web.Request, snapshot: model.ProcessSnapshot) -> web.StreamResponse:
        return _uncached(protocol.status(snapshot, _base(request)))


def _uncached(document: Any, status: int = 200) -> web.StreamResponse:
    """Return an uncacheable response: `document` has addresses made from the Host header of the request."""
    response = json_response(document, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _base(request: web.Request) -> str:
    """Return the address under which the client knows the service, without a slash at the end."""
    return f"{request.scheme}://{request.host}"
