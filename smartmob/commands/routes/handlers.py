"""The handlers of the routes of the feature `commands`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from aiohttp import WSMsgType, web

from smartmob.commands import protocol
from smartmob.commands.connection import Connection
from smartmob.commands.model import STDERR, STDOUT, Job, Offset
from smartmob.commands.routes.line_sink import LineSink
from smartmob.commands.service import CommandsService
from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.auth.unauthenticated import UnauthenticatedConnections
from smartmob.kernel.features import KernelParts
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.bodies import decode, parameter, query
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import NDJSON, TEXT
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.http.ws_stream import while_connected

_ARGUMENTS = msgspec.json.Decoder(dict[str, Any] | list[Any])
_HEARTBEAT_SECONDS = 30.0
"""Seconds between pings of the WebSocket protocol (RFC 6455, section 5.5.2)."""
_MOST_SILENT_CONNECTIONS = 500
"""The most connections that have not sent their first message yet, overall and by address."""
_ITERATION_MESSAGES = 64
"""Messages of a WebSocket that are handled before other tasks get a chance to run."""
_HEAD_BYTES = 1024
"""Bytes beyond the longest text frame that a frame may have, for the head of binary frames."""
_STREAMS = {"all": None, "stdout": STDOUT, "stderr": STDERR}
_LARGEST_ID = 2**62
"""Larger than the number of any job."""


class JobsQuery(msgspec.Struct, frozen=True):
    """The query of a list of jobs: older than (before) a number, in a state."""

    before: Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_ID)] = _LARGEST_ID
    state: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class JobsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Jobs, newest first; `next_url` leads to older ones."""

    jobs: list[Job]
    next_url: str | None = None


class OutputQuery(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The query of a job's output: the first byte, whether to follow it until the job ends, and the only stream."""

    from_: Offset | None = None
    follow: bool = False
    stream: Literal["all", "stdout", "stderr"] = "all"


class CommandHandlers:
    """Handlers parse requests, call the service and encode its answers."""

    def __init__(self, service: CommandsService, dependencies: KernelParts) -> None:
        settings = dependencies.settings.commands
        self._service = service
        self._bodies = dependencies.bodies
        self._viewers = dependencies.viewers
        self._connection_limit = ConnectionLimit(
            "clients of commands", settings.connections, settings.connections_by_address
        )
        self._silent = UnauthenticatedConnections(
            settings.first_timeout, _MOST_SILENT_CONNECTIONS, _MOST_SILENT_CONNECTIONS
        )

    async def commands(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return json_response(self._service.registry.descriptions())

    async def call(self, request: web.Request) -> web.StreamResponse:
        name, data = parameter(request, "name"), await self._bodies.read(request)
        decoded = decode(_ARGUMENTS, data) if data else {}
        arguments = (decoded, {}) if isinstance(decoded, list) else ((), decoded)
        self._service.calls.check(name, arguments)
        with self._viewers.slot(request.remote):
            sink = LineSink()
            session = self._service.session(f"http {request.remote}")
            work = self._service.calls.run(session, name, arguments, sink)
            task = self._service.tasks.start("command-call", work)
            try:
                async with while_connected(request, self._service.tasks):
                    return await stream(request, sink.lines(), NDJSON)
            finally:
                task.cancel()

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, JobsQuery)
        jobs = await self._service.jobs.page(wanted.before, wanted.state, wanted.limit)
        next_url = None
        if len(jobs) == wanted.limit:
            state = f"&state={wanted.state}" if wanted.state else ""
            next_url = f"/jobs?limit={wanted.limit}&before={jobs[-1].id}{state}"
        return json_response(JobsPage(jobs, next_url))

    async def job(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.jobs.get(_job_id(request)))

    async def output(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, OutputQuery)
        if (other := await self._service.elsewhere(_job_id(request))) is not None:
            path = f"/api/v1/nodes/{quote(f'@{other}', safe='')}/service{request.raw_path}"
            return web.Response(status=307, headers={"Location": path})
        if not wanted.follow:
            return await self._output(request, wanted)
        with self._viewers.slot(request.remote):
            async with while_connected(request, self._service.tasks):
                return await self._output(request, wanted)

    async def _output(self, request: web.Request, wanted: OutputQuery) -> web.StreamResponse:
        stream_ = _STREAMS[wanted.stream]
        first, chunks = await self._service.output.read(
            _job_id(request), wanted.from_, follow=wanted.follow, stream=stream_
        )
        headers = {"X-Output-From": str(first), "X-Content-Type-Options": "nosniff"}
        return await stream(request, chunks, f"{TEXT}; charset=utf-8", extra_headers=headers)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            max_msg_size=protocol.LONGEST_TEXT_BYTES + _HEAD_BYTES, compress=False, heartbeat=_HEARTBEAT_SECONDS
        )
        if not ws_upgrade.is_handshake(request):
            raise InvalidInput("this is not a valid WebSocket handshake (RFC 6455, section 4.2.1)")
        with self._connection_limit.slot(request.remote):
            await self._serve(request, socket)
        return socket

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        await ws_upgrade.accept(request, socket)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        # Behind a trusted proxy the port is that of the proxy's connection, and does not belong to the client.
        client = f"{peer[0]}:{peer[1]}" if peer and peer[0] == request.remote else str(request.remote)
        connection = Connection(self._service, _SocketWriter(socket), client)

        def disconnect() -> None:
            self._service.tasks.start("commands-leave", _disconnect(socket, connection))

        self._service.add_connection(disconnect)
        silent = self._silent.add(request.remote, lambda: _abort(request))
        try:
            handled = 0
            async for message in socket:
                handled += 1
                if not handled % _ITERATION_MESSAGES:
                    await asyncio.sleep(0)
                self._silent.remove(silent)
                if message.type is WSMsgType.TEXT:
                    await connection.handle_text(message.data)
                elif message.type is WSMsgType.BINARY:
                    await connection.handle_binary(message.data)
        finally:
            self._silent.remove(silent)
            self._service.remove_connection(disconnect)
            connection.close()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _disconnect(socket: web.WebSocketResponse, connection: Connection) -> None:
    await connection.flush()
    await socket.close(code=1001, message=b"the service stops")


class _SocketWriter:
    """Writes frames to a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def write_text(self, content: bytes) -> None:
        await self._socket.send_frame(content, WSMsgType.TEXT)

    async def write_binary(self, content: bytes) -> None:
        await self._socket.send_frame(content, WSMsgType.BINARY)


def _job_id(request: web.Request) -> int:
    text = parameter(request, "id")
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise NotFound(f"there is no job {text[:40]!r}; a job's id is a number")
    return int(text)
