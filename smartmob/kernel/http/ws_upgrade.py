"""The check that a request is a WebSocket handshake (RFC 6455, section 4.2.1)."""

from __future__ import annotations

from aiohttp import web


def is_handshake(request: web.Request) -> bool:
    """Return whether the request asks for a WebSocket in the way that RFC 6455 demands."""
    return bool(web.WebSocketResponse().can_prepare(request))


def require(request: web.Request) -> None:
    """Raise HTTPUpgradeRequired (426) unless the request is a WebSocket handshake."""
    if not is_handshake(request):
        raise web.HTTPUpgradeRequired(text="this address speaks WebSocket (RFC 6455): connect with ws://")
