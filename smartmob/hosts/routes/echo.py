"""The WebSocket /echo: carries the messages of a session."""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from smartmob.errors import NotAuthenticated, Unavailable
from smartmob.hosts.service import HostsService
from smartmob.hosts.session import EchoSession, Subscribers
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.model import CONTROL, READ, Principal
from smartmob.kernel.auth.unauthenticated import UnauthenticatedConnection, UnauthenticatedConnections
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.ws_frames import text_frame
from smartmob.kernel.runtime.events import ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import HostsSettings

_CLOSE_SECONDS = 2.0


class _Line:
    """A client's WebSocket."""

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
    """The handler of /echo, and the sockets that are open."""

    def __init__(
        self,
        service: HostsService,
        watchers: Subscribers,
        tokens: TokenAuthenticator,
        settings: HostsSettings,
        tasks: TaskRegistry,
    ) -> None:
        self._service = service
        self._watchers = watchers
        self._tokens = tokens
        self._settings = settings
        self._tasks = tasks
        self._open: set[web.WebSocketResponse] = set()
        self._closing = False
        self._arrivals = UnauthenticatedConnections(
            settings.prove_timeout, settings.unproved, settings.unproved_by_address
        )

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._open)

    async def echo(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            timeout=_CLOSE_SECONDS,
            heartbeat=self._settings.heartbeat,
            compress=False,
            max_msg_size=self._settings.max_message,
            decode_text=True,
        )
        ws_upgrade.require(request)
        if self._closing or len(self._open) >= self._settings.connections:
            raise Unavailable("there are too many connections, or the service stops; try again in a moment", 5)
        principal = self._principal(request)
        trusted = self._settings.open_monitor or (principal is not None and principal.role in (READ, CONTROL))
        if principal is None or principal.token is None:
            return await self._talk(request, socket, trusted)
        return await self._tokens.active_requests.track(
            principal, request, lambda request: self._talk(request, socket, trusted)
        )

    async def _talk(self, request: web.Request, socket: web.WebSocketResponse, trusted: bool) -> web.StreamResponse:
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        session = EchoSession(
            *(self._service, self._watchers, _Line(socket, transport)),
            rate=self._settings.message_rate,
            trusted=trusted,
            tries=self._tokens.tries,
            client=request.remote,
        )
        self._open.add(socket)
        arrival = self._arrivals.add(request.remote, transport.abort)
        try:
            await self._converse(socket, session, arrival)
        except ConnectionError:
            pass  # the client has left
        finally:
            self._arrivals.remove(arrival)
            self._open.discard(socket)
            session.end()
        return socket

    async def _converse(
        self, socket: web.WebSocketResponse, session: EchoSession, arrival: UnauthenticatedConnection
    ) -> None:
        receive, text, binary = socket.receive, WSMsgType.TEXT, WSMsgType.BINARY
        # The time that the service needs to check a proof is not the client's.
        session.checking = lambda: self._arrivals.remove(arrival)
        while not session.proved:
            message = await receive()
            if message.type is not text and message.type is not binary:
                return
            await session.receive(message.data)
            if not session.proved:
                self._arrivals.start_timer(arrival)
        self._arrivals.remove(arrival)
        while True:
            message = await receive()
            if message.type is text or message.type is binary:
                await session.receive(message.data)
            else:
                return

    def stopping(self, _: ServiceStopping) -> None:
        """Begin to say farewell: the service waits for requests under way, and each socket is one."""
        self._tasks.start("hosts-farewell", self.close())

    async def close(self) -> None:
        """Take no more connections and end those that are open."""
        self._closing = True
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"the service stops") for socket in self._open)
        await asyncio.gather(*tuple(closing), return_exceptions=True)

    def _principal(self, request: web.Request) -> Principal | None:
        """Return whose token is shown, if any is: a machine proves later who it is."""
        try:
            cookie = self._tokens.cookie_of(request.cookies, request.secure)
            return self._tokens.authenticate_limited(
                request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path
            )
        except NotAuthenticated:
            return None
