"""Passes requests and WebSockets on to the HTTP server of a node, over streams that the node dials back."""

from __future__ import annotations

import socket as sockets

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from smartmob import authorities
from smartmob.kernel.auth.model import Principal
from smartmob.kernel.auth.node_access import authorization
from smartmob.kernel.http.relay import MessageFilter, Relay, passed_on

_OWN = frozenset(
    name.lower() for name in (hdrs.HOST, hdrs.AUTHORIZATION, hdrs.COOKIE, hdrs.ORIGIN, hdrs.CONTENT_LENGTH)
)
"""Headers that have been checked here, or that the client of the node sets itself."""

FORWARDED = "X-Smartmob-Forwarded"
"""The header of a request that another service has passed on, so that it is not passed on again."""


_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""Options that detect a vanished service, whose connections nothing else would end, after half a minute (tcp(7)).

Pings of WebSockets would also end the connection of a console if its client does not read for a while.
"""


def service_connector() -> aiohttp.BaseConnector:
    """Return a connector for the other services on the database."""
    return aiohttp.TCPConnector(ssl=authorities.verification(), limit=0, socket_factory=_kept_alive)


def _kept_alive(address: aiohttp.AddrInfoType) -> sockets.socket:
    """Return a new socket for an address; it notices when the other machine has vanished."""
    family, kind, protocol, _, _ = address
    made = sockets.socket(family, kind, protocol)
    made.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if (option := getattr(sockets, name, None)) is not None:  # macOS has another name for the first
            made.setsockopt(sockets.IPPROTO_TCP, option, value)
    return made


class NodeProxy:
    """The HTTP client of one node, or of the service that holds its link. `secret` authorises the requests."""

    def __init__(
        self, connector: aiohttp.BaseConnector, secret: str, base: str = "http://localhost", name: str = "the node"
    ) -> None:
        """`name` is the name of the other side in error messages."""
        self._secret = secret
        self._base = base
        self._relay = Relay(connector, name)

    async def close(self) -> None:
        """Close all connections after the last request has ended."""
        await self._relay.close()

    async def pass_on(
        self,
        request: web.Request,
        target: str,
        prefix: str,
        principal: Principal,
        message_filter: MessageFilter | None = None,
    ) -> web.StreamResponse:
        """Pass a request on to the path and query `target` of the node, and its answer back.

        `prefix` is put before paths in the header Location. `message_filter` is called with each text that the client
        of a WebSocket sends; a text that it returns is the answer, and the message is not passed on. Raises Unavailable
        when the node is not connected.
        """
        url = URL(f"{self._base}{target}", encoded=True)
        headers = passed_on(request.headers, _OWN)
        headers[FORWARDED] = "1"
        headers[hdrs.AUTHORIZATION] = authorization(self._secret, principal)
        return await self._relay.relay(request, url, headers, prefix, message_filter)
