"""The WebSocket /echo, which transports the messages of a session."""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from smartmob.errors import NotAuthenticated, Unavailable
from smartmob.feature_settings import HostsSettings
from smartmob.hosts.service import HostsService
from smartmob.hosts.session import EchoSession, Subscribers
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.model import CONTROL, READ, Principal
from smartmob.kernel.auth.unauthenticated import UnauthenticatedConnection, UnauthenticatedConnections
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.peer_address import peer_address
from smartmob.kernel.http.ws_direct import DirectWebSocket
from smartmob.kernel.http.ws_frames import text_frame
from smartmob.kernel.runtime.events import ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry

_ITERATION_MESSAGES = 64
"""Messages that are handled before other tasks get a chance to run."""
_CLOSE_SECONDS = 2.0
"""Seconds that a client has to answer a close frame."""


class _WebSocketSink:
    """The message sink of a client's WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.send = socket.send_str
        self._socket = socket
        self._transport = transport

    def answer(self, text: str) -> None:
        if not (self._socket.closed or self._transport.is_closing()):
            self._transport.write(text_frame(text))

    def unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def drop(self) -> None:
        self._transport.abort()


class EchoRoute:
    """The handler of /echo, and the open WebSockets."""

    def __init__(
        self,
        service: HostsService,
        subscribers: Subscribers,
        tokens: TokenAuthenticator,
        settings: HostsSettings,
        tasks: TaskRegistry,
    ) -> None:
        self._service = service
        self._subscribers = subscribers
        self._tokens = tokens
        self._settings = settings
        self._tasks = tasks
        self._open: set[web.WebSocketResponse] = set()
        self._closing = False
        self._unproved = UnauthenticatedConnections(
            settings.prove_timeout, settings.unproved, settings.unproved_by_address
        )

    @property
    def connections(self) -> int:
        """Return the number of connected clients."""
        return len(self._open)

    async def echo(self, request: web.Request) -> web.StreamResponse:
        ws_upgrade.require(request)
        if self._closing or len(self._open) >= self._settings.connections:
            raise Unavailable("there are too many connections, or the service is stopping; try again in a moment", 5)
        principal = self._principal(request)
        trusted = self._settings.open_monitor or (principal is not None and principal.role in (READ, CONTROL))
        if principal is None or principal.token is None:
            return await self._serve(request, trusted)
        return await self._tokens.active_requests.track(
            principal, request, lambda request: self._serve(request, trusted)
        )

    async def _serve(self, request: web.Request, trusted: bool) -> web.StreamResponse:
        settings = self._settings
        socket = DirectWebSocket(
            timeout=_CLOSE_SECONDS, heartbeat=settings.heartbeat, max_msg_size=settings.max_message
        )
        await ws_upgrade.accept(request, socket)
        transport = request.transport
        if transport is None:
            return socket
        peer = peer_address(request)
        unproved = self._unproved.add(request.remote, transport.abort)
        session = EchoSession(
            self._service,
            self._subscribers,
            _WebSocketSink(socket, transport),
            rate=self._settings.message_rate,
            trusted=trusted,
            tries=self._tokens.tries,
            client=request.remote,
            address=None if peer is None else peer.address,
            # The time that the service takes to verify a client id does not count against the client.
            on_check=lambda: self._unproved.remove(unproved),
        )
        self._open.add(socket)
        socket.handle_by(session.receive_now)
        try:
            await self._receive_loop(socket, session, unproved)
        except ConnectionError:
            pass  # the client closed the connection
        finally:
            self._unproved.remove(unproved)
            self._open.discard(socket)
            session.end()
        return socket

    async def _receive_loop(
        self, socket: web.WebSocketResponse, session: EchoSession, unproved: UnauthenticatedConnection
    ) -> None:
        receive, text, binary, received = socket.receive, WSMsgType.TEXT, WSMsgType.BINARY, 0
        while not session.proved:
            message = await receive()
            if message.type is not text and message.type is not binary:
                return
            await session.receive(message.data)
            if not session.proved:
                self._unproved.start_timer(unproved)
            await asyncio.sleep(0)
        self._unproved.remove(unproved)
        while True:
            message = await receive()
            if message.type is text or message.type is binary:
                await session.receive(message.data)
                received += 1
                if not received % _ITERATION_MESSAGES:
                    await asyncio.sleep(0)
            else:
                return

    def stopping(self, _: ServiceStopping) -> None:
        """Start closing the WebSockets: the service waits for active requests, and each WebSocket is one."""
        self._tasks.start("hosts-close", self.close())

    async def close(self) -> None:
        """Accept no more connections and close the open ones."""
        self._closing = True
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"the service stops") for socket in self._open)
        await asyncio.gather(*tuple(closing), return_exceptions=True)

    def _principal(self, request: web.Request) -> Principal | None:
        """Return the principal of the request's token, or None: a machine authenticates later, by its client id."""
        try:
            cookie = self._tokens.cookie_of(request.cookies, request.secure)
            return self._tokens.authenticate_limited(
                request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path
            )
        except NotAuthenticated:
            return None
