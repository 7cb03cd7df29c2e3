"""The worker's side of its link to the owner: events and attempts to both sides, orders, and requests to pass on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import hdrs, web
from yarl import URL

from smartmob.errors import DatabaseError, StartupError
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import AttemptMade
from smartmob.kernel.http.relay import Relay, StreamConnector, passed_on
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.workers import owner_access
from smartmob.kernel.workers.stream_socket import StreamOpener
from smartmob.kernel.workers.worker_messages import (
    MAX_LINE_BYTES,
    TO_WORKER,
    Attempt,
    Ping,
    Pong,
    Published,
    Reload,
    Stop,
    ToOwner,
    WorkerFailed,
    WorkerMetrics,
    WorkerStarted,
    WorkerWelcome,
    line,
)

_OWN_HEADERS = frozenset((owner_access.HEADER.lower(), hdrs.CONTENT_LENGTH.lower(), hdrs.EXPECT.lower()))

_HEARTBEAT_SECONDS = 30.0

Handle = Callable[[Any], Awaitable[object]]


class OwnerLink:
    """The link of a worker, with the worker's ends of its two sockets to the owner."""

    def __init__(self, messages: socket.socket, streams: socket.socket) -> None:
        self._messages = messages
        self._secret = ""
        self._opener = StreamOpener(streams)
        self._relay = Relay(StreamConnector(self._opener.open, keep=True), "the service", _HEARTBEAT_SECONDS)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._applying = False

    async def open(self) -> WorkerWelcome:
        """Return the first message of the owner. Raises StartupError."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._messages, limit=MAX_LINE_BYTES)
        data = await self._reader.readline()
        message = TO_WORKER.decode(data) if data else None
        if not isinstance(message, WorkerWelcome):
            raise StartupError("the service did not say which database to use")
        self._secret = message.secret
        return message

    def share(self, bus: EventBus, events: Iterable[type]) -> None:
        """Send these events and all attempts of this worker to the owner from now on."""
        for kind in events:
            bus.subscribe(kind, self._publish)
        bus.subscribe(AttemptMade, self._share_attempt)

    def _share_attempt(self, made: AttemptMade) -> None:
        self._send(Attempt(made.address, made.digest.hex(), made.accepted))

    def ready(self) -> None:
        """Tell the owner that this worker answers requests."""
        self._send(WorkerStarted())

    async def failed(self, error: Exception) -> None:
        """Tell the owner why this worker cannot start."""
        self._send(WorkerFailed(str(error), isinstance(error, DatabaseError)))
        if self._writer is not None:
            await self._writer.drain()

    async def follow(
        self, bus: EventBus, attempts: AttemptLimit, handlers: Mapping[type, Handle],
        metrics: Callable[[], WorkerMetrics], reload: Callable[[], object],
    ) -> bool:  # fmt: skip
        """Handle messages until the order to stop, then return True; return False when the owner has ended.

        Events are published on the bus and then passed to their handler, which is awaited before the next message.
        """
        assert self._reader is not None
        kinds = {kind.__name__: kind for kind in handlers}
        while data := await self._reader.readline():
            match TO_WORKER.decode(data):
                case Published(kind=kind, value=value):
                    event: object = msgspec.json.decode(value, type=kinds[kind])
                    self._applying = True
                    try:
                        bus.publish(event)
                    finally:
                        self._applying = False
                    await handlers[kinds[kind]](event)
                case Attempt(address=address, digest=digest, accepted=accepted):
                    attempts.record(address, bytes.fromhex(digest), accepted=accepted)
                case Ping(number=number):
                    self._send(Pong(number, metrics()))
                case Reload():
                    reload()
                case Stop():
                    return True
        return False

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Send a request to the owner, and its answer to the client. Raises Unavailable."""
        headers = passed_on(request.headers, _OWN_HEADERS)
        headers[owner_access.HEADER] = owner_access.value(self._secret, request.scheme, request.remote or "")
        headers.setdefault(hdrs.HOST, "")  # without it, the HTTP client would send that of the URL
        url = URL(f"http://localhost{request.rel_url.raw_path_qs}", encoded=True)
        return await self._relay.relay(request, url, headers)

    async def close(self) -> None:
        """Close the connections to the owner."""
        await self._relay.close()
        self._opener.close()
        if self._writer is not None:
            self._writer.close()

    def _publish(self, event: object) -> None:
        if not self._applying:
            self._send(Published(type(event).__name__, msgspec.Raw(msgspec.json.encode(event))))

    def _send(self, message: ToOwner) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line(message))
