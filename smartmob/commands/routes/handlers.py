"""Handlers of the feature `commands`: parse, call the service, encode."""

from __future__ import annotations

import asyncio
import base64
import codecs
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import orjson
from aiohttp import WSMsgType, web

from smartmob.commands import protocol
from smartmob.commands.connection import Connection
from smartmob.commands.error_serialisation import travelling
from smartmob.commands.model import Failure, Job, Offset, Outcome
from smartmob.commands.service import CommandsService
from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.auth.unproved import UnprovedConnections
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.requests import decode, json_response, parameter, query, stream
from smartmob.kernel.http.routing import NDJSON, TEXT
from smartmob.kernel.http.ws_stream import while_connected

_ARGUMENTS = msgspec.json.Decoder(dict[str, Any] | list[Any])
_LINES_HELD = 64
_HEARTBEAT_SECONDS = 30.0
_MOST_SILENT = 500
_NEVER = 2**62


class JobsQuery(msgspec.Struct, frozen=True):
    """Which jobs to list: those before (older than) a number, those in a state."""

    before: Annotated[int, msgspec.Meta(ge=1, le=_NEVER)] = _NEVER
    state: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class JobsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Jobs, newest first; `next_url` leads to older ones."""

    jobs: list[Job]
    next_url: str | None = None


class OutputQuery(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """From which byte on, and whether to go on until the job ends."""

    from_: Offset | None = None
    follow: bool = False


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of an answer: the number first, then what the command says, and how it ended at last.

    Output comes as `text` where it is UTF-8 and as `base64` where it is not; `offset` is its place.
    """

    number: int | None = None
    job: bool | None = None
    value: Any = None
    offset: int | None = None
    text: str | None = None
    base64: str | None = None
    gap: list[int] | None = None
    ended: bool = False
    exit_code: int | None = None
    state: str | None = None
    end: int | None = None
    error: Failure | None = None


class CommandHandlers:
    """The handlers."""

    def __init__(self, service: CommandsService, dependencies: Dependencies) -> None:
        settings = dependencies.settings.commands
        self._service = service
        self._bodies = dependencies.bodies
        self._viewers = dependencies.viewers
        self._places = ConnectionLimit("clients of commands", settings.connections, settings.connections_by_address)
        self._arrivals = UnprovedConnections(settings.first_timeout, _MOST_SILENT, _MOST_SILENT)

    async def commands(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return json_response(self._service.describe())

    async def call(self, request: web.Request) -> web.StreamResponse:
        name, data = parameter(request, "name"), await self._bodies.read(request)
        given = decode(_ARGUMENTS, data) if data else {}
        arguments = (given, {}) if isinstance(given, list) else ((), given)
        self._service.check(name, arguments)
        sink = _LineSink()
        session = self._service.session(f"http {request.remote}")
        work = self._service.call(session, name, arguments, sink)
        task = self._service.tasks.start("command-call", work)
        try:
            return await stream(request, sink.lines(), NDJSON)
        finally:
            task.cancel()

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, JobsQuery)
        found = await self._service.jobs(asked.before, asked.state, asked.limit)
        further = None
        if len(found) == asked.limit:
            state = f"&state={asked.state}" if asked.state else ""
            further = f"/jobs?limit={asked.limit}&before={found[-1].id}{state}"
        return json_response(JobsPage(found, further))

    async def job(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.job(_job_id(request)))

    async def output(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, OutputQuery)
        if not asked.follow:
            return await self._output(request, asked)
        with self._viewers.place(request.remote):
            async with while_connected(request, self._service.tasks):
                return await self._output(request, asked)

    async def _output(self, request: web.Request, asked: OutputQuery) -> web.StreamResponse:
        first, chunks = await self._service.output(_job_id(request), asked.from_, follow=asked.follow)
        further = {"X-Output-From": str(first), "X-Content-Type-Options": "nosniff"}
        return await stream(request, chunks, f"{TEXT}; charset=utf-8", further=further)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            max_msg_size=protocol.LONGEST_TEXT_BYTES + 1024, compress=False, heartbeat=_HEARTBEAT_SECONDS
        )
        if not socket.can_prepare(request):
            raise InvalidInput("this is no proper WebSocket handshake")
        with self._places.place(request.remote):
            await self._talk(request, socket)
        return socket

    async def _talk(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.prepare(request)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        client = f"{peer[0]}:{peer[1]}" if peer else str(request.remote)
        connection = Connection(self._service, _Frames(socket), client)

        def leave() -> None:
            self._service.tasks.start("commands-leave", _leave(socket, connection))

        self._service.connections.add(leave)
        arrival = self._arrivals.enter(request.remote, lambda: _abort(request))
        try:
            async for message in socket:
                self._arrivals.leave(arrival)
                if message.type is WSMsgType.TEXT:
                    await connection.text(message.data)
                elif message.type is WSMsgType.BINARY:
                    await connection.binary(message.data)
        finally:
            self._arrivals.leave(arrival)
            self._service.connections.discard(leave)
            connection.close()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _leave(socket: web.WebSocketResponse, connection: Connection) -> None:
    await connection.flush()
    await socket.close(code=1001, message=b"the service stops")


class _Frames:
    """The frames of a WebSocket, out."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send_text(self, content: bytes) -> None:
        await self._socket.send_frame(content, WSMsgType.TEXT)

    async def send_binary(self, content: bytes) -> None:
        await self._socket.send_frame(content, WSMsgType.BINARY)


def _job_id(request: web.Request) -> int:
    text = parameter(request, "id")
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise NotFound(f"there is no job {text[:40]!r}; a job's id is a number")
    return int(text)


class _LineSink:
    """Makes lines of JSON of what a command says, as fast as the client takes them."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._done = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def acknowledge(self, number: int, job: bool) -> None:
        self._add(Line(number=number, job=job))

    def say(self, value: object) -> None:
        data = bytes(value) if isinstance(value, bytes | bytearray) else None
        self._add(Line(value=protocol.encode_value(value)) if data is None else _bytes_line(data, None))

    async def room(self) -> None:
        while len(self._lines) > _LINES_HELD:
            self._room.clear()
            await self._room.wait()

    async def output(self, offset: int, data: bytes | memoryview) -> None:
        held, _ = self._decoder.getstate()
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError:
            self._decoder.reset()
            self._add(_bytes_line(held + data, offset - len(held)))
        else:
            if text:
                self._add(Line(offset=offset - len(held), text=text))
        await self.room()

    def gap(self, first: int, last: int) -> None:
        self._decoder.reset()
        self._add(Line(gap=[first, last]))

    async def receive(self) -> bytes | None:
        return None

    def done(self, outcome: Outcome) -> None:
        held, _ = self._decoder.getstate()
        if held:
            self._add(_bytes_line(held, (outcome.end or len(held)) - len(held)))
        error = None if outcome.error is None else travelling(outcome.error)
        self._done = True
        self._add(Line(ended=True, exit_code=outcome.exit_code, state=outcome.state, end=outcome.end, error=error))

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines, those that wait together, until the command has ended."""
        while True:
            await self._news.wait()
            self._news.clear()
            lines, self._lines = self._lines, []
            self._room.set()
            yield b"".join(lines)
            if self._done and not self._lines:
                return

    def _add(self, line: Line) -> None:
        document = msgspec.to_builtins(line, enc_hook=str, builtin_types=(bytes,))
        self._lines.append(orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE))
        self._news.set()


def _bytes_line(data: bytes, offset: int | None) -> Line:
    return Line(offset=offset, base64=base64.b64encode(data).decode())
