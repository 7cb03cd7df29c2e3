"""Passes requests and WebSockets on to another HTTP server, and its answers back to the client."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from smartmob.errors import Unavailable
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.bodies import send_continue
from smartmob.kernel.http.ws_stream import while_connected
from smartmob.kernel.runtime.tasks import TaskRegistry

_HOP_BY_HOP = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.PROXY_AUTHENTICATE, hdrs.PROXY_AUTHORIZATION, hdrs.TE, hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING, hdrs.UPGRADE,
    )
)  # fmt: skip
"""Headers that concern one connection only (RFC 9110, section 7.6.1)."""
_SOCKET_PREFIX = "sec-websocket-"
_MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The largest WebSocket message from either side, in bytes; the routes of the other server have lower limits."""

_OTHER_SIDE_LOST = aiohttp.WSCloseCode.GOING_AWAY
"""The close code for one side when the other side is lost."""
_NOT_SENT = (aiohttp.WSCloseCode.ABNORMAL_CLOSURE, 1005)
"""Codes that no close frame may contain (RFC 6455, section 7.4.1)."""

_CONNECT_SECONDS = 10.0
"""Seconds to connect to the other server; a machine that has vanished would take two minutes to fail."""

Open = Callable[[], Awaitable[sockets.socket]]
MessageFilter = Callable[[str], str | None]


class StreamConnector(aiohttp.BaseConnector):
    """Connects an HTTP client to a server. `open_socket` returns a connected socket.

    It overrides an internal of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when it changes.
    """

    def __init__(self, open_socket: Open, *, keep: bool = False) -> None:
        """With `keep` a connection serves several requests, one after the other."""
        super().__init__(limit=0, force_close=not keep)
        self._open_socket = open_socket

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        sock = await self._open_socket()
        _, protocol = await self._loop.create_connection(self._factory, sock=sock)
        return protocol


class Relay:
    """The HTTP client of another server."""

    def __init__(self, connector: aiohttp.BaseConnector, name: str, heartbeat: float | None = None) -> None:
        """`name` is the name of the server in error messages.

        With `heartbeat` clients of WebSockets get a ping every `heartbeat` seconds. The server's own pings are answered
        here, so it would not notice that a client has vanished.
        """
        self._name = name
        self._heartbeat = heartbeat
        self._active = 0
        self._closing = False
        self._tasks = TaskRegistry()
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        )

    async def close(self) -> None:
        """Close all connections after the last request has ended; each connection ends with its stream.

        A connection that is closed here while its answer is read would leave its reader waiting (aiohttp 3).
        """
        self._closing = True
        if not self._active:
            await self._session.close()

    async def relay(
        self,
        request: web.Request,
        url: URL,
        headers: CIMultiDict[str],
        prefix: str = "",
        message_filter: MessageFilter | None = None,
    ) -> web.StreamResponse:
        """Send a request with other `headers` to the server, and its answer to the client.

        `prefix` is put before paths in the header Location. `message_filter` is called with each text that the client
        of a WebSocket sends; a text that it returns is the answer, and the message is not passed on. A request of a
        client that disconnects is cancelled at the server too. Raises Unavailable when the server cannot be reached.
        """
        self._active += 1
        try:
            if ws_upgrade.is_handshake(request):
                return await self._websocket(request, url, headers, message_filter)
            async with while_connected(request, self._tasks):
                return await self._request(request, url, headers, prefix)
        except aiohttp.ClientError as error:
            raise Unavailable(f"{self._name} did not answer: {error}") from None
        finally:
            self._active -= 1
            if self._closing:
                await self.close()

    async def _request(
        self, request: web.Request, url: URL, headers: CIMultiDict[str], prefix: str
    ) -> web.StreamResponse:
        length = request.content_length
        if length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        body = _body(request) if request.body_exists else None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            location = answer.headers.get(hdrs.LOCATION, "")
            if location.startswith("/"):
                response.headers[hdrs.LOCATION] = prefix + location
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError):
                # The server or the client is gone. Cut the connection, so that a client does not wait for the rest.
                if request.transport is not None:
                    request.transport.abort()
            return response

    async def _websocket(
        self, request: web.Request, url: URL, headers: CIMultiDict[str], message_filter: MessageFilter | None
    ) -> web.StreamResponse:
        """Relay the messages of a WebSocket. A refusal of the server is the answer to the handshake."""
        protocols = [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",") if name]
        try:
            server = await self._session.ws_connect(
                url, headers=headers, protocols=protocols, max_msg_size=_MAX_FRAME_BYTES, autoclose=False
            )
        except aiohttp.WSServerHandshakeError:
            # Send the same request as a plain one: the server answers with a problem document that says why it refuses.
            return await self._request(request, url, headers, "")
        async with server:
            client = web.WebSocketResponse(
                protocols=[server.protocol] if server.protocol else (),
                compress=False,
                max_msg_size=_MAX_FRAME_BYTES,
                autoclose=False,
                heartbeat=self._heartbeat,
            )
            await ws_upgrade.accept(request, client)
            # A relay ends by closing the other side, which ends the other relay.
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(server, client))
                group.create_task(_relay(client, server, message_filter))
            return client


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    await send_continue(request)
    async for chunk in request.content.iter_any():
        yield chunk


async def _relay(source: Any, target: Any, message_filter: MessageFilter | None = None) -> None:
    """Send the messages of one WebSocket to another until it is closed, then close the other one with the same code."""
    code, reason = _OTHER_SIDE_LOST, b""
    with suppress(ConnectionError):
        while True:
            message = await source.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                refused = None if message_filter is None else message_filter(message.data)
                if refused is None:
                    await target.send_str(message.data)
                else:
                    await source.send_str(refused)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            else:
                if message.type is aiohttp.WSMsgType.CLOSE and message.data not in (None, 0, *_NOT_SENT):
                    code, reason = message.data, (message.extra or "").encode()
                    await source.close()  # before the other relay closes it, with another code
                break
    await target.close(code=code, message=reason)


def passed_on(headers: Mapping[str, str], own: Set[str] = frozenset()) -> CIMultiDict[str]:
    """Return the headers to pass on: those of the request except the hop-by-hop headers and `own`.

    A header that has several lines, such as X-Forwarded-For behind two proxies, keeps all of them in their order.
    """
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP | own and not name.lower().startswith(_SOCKET_PREFIX)
    )
