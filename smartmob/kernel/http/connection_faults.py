"""Texts for people that say why a request of the service to another server failed."""

from __future__ import annotations

import os

import aiohttp

from smartmob.kernel.http.address_filter import ForbiddenAddress


def connection_fault(error: Exception, server: str = "server", message: str = "answer") -> str | None:
    """Return why no connection was made or why it ended; None for any other kind of `error`.

    The texts contain no address. `server` and `message` are the words for the peer and for what it sends.
    """
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the host {error.host!r} is unknown"
        case aiohttp.ClientSSLError():
            return f"no secure connection: {error}"
        case aiohttp.ClientConnectorError(os_error=ForbiddenAddress() as cause):
            return str(cause.strerror)
        case aiohttp.ClientConnectorError(os_error=cause):
            return f"no connection: {os.strerror(cause.errno) if cause.errno else cause}"
        case aiohttp.ServerDisconnectedError():
            return f"the {server} closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return f"the connection ended before the {message} was complete"
    return None
