"""Reasons why the WebSocket of a client was not opened or broke, in words for a person."""

from __future__ import annotations

import aiohttp

from smartmob.client.http_answers import os_reason

OTHER_SCHEME = (aiohttp.ClientSSLError, aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError)
"""Errors of a client that speaks http with a server of https, or the reverse."""
_FORBIDDEN_STATUS = 403


def handshake_refusal(url: str, error: Exception) -> str:
    """Return why the server at `url` does not open the WebSocket, and what to do."""
    if not isinstance(error, aiohttp.WSServerHandshakeError):
        return f"{url!r} is not the address of a service, such as http://127.0.0.1:8080"
    if error.status == _FORBIDDEN_STATUS:
        return "the role read may not run commands; `smartmob token add` makes a token with another role"
    return f"{url} does not offer commands: it answered {error.status}"


def reason_of(error: BaseException) -> str:
    """Return why a connection failed: in the words of the system if that is the cause."""
    os_error = getattr(error, "os_error", error)
    return os_reason(os_error) if isinstance(os_error, OSError) else str(error) or type(error).__name__
