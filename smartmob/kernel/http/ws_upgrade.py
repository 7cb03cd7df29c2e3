"""The handshake of a WebSocket (RFC 6455, section 4.2.1), and the end of one whose handler failed."""

from __future__ import annotations

from aiohttp import WSCloseCode, web

from smartmob.errors import SmartmobError, Unavailable

_SOCKET = web.RequestKey("socket", web.WebSocketResponse)
_MAX_REASON_BYTES = 123  # a control frame has at most 125 bytes, two of them for the code (RFC 6455, section 5.5)


def is_handshake(request: web.Request) -> bool:
    """Return whether the request asks for a WebSocket as RFC 6455 requires."""
    return bool(web.WebSocketResponse().can_prepare(request))


def require(request: web.Request) -> None:
    """Raise HTTPUpgradeRequired (426) unless the request is a WebSocket handshake."""
    if not is_handshake(request):
        raise web.HTTPUpgradeRequired(text="this address speaks WebSocket (RFC 6455): connect with ws://")


async def accept(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Answer the handshake. After that, an error of the handler closes the WebSocket; it cannot be an HTTP answer."""
    await socket.prepare(request)
    request[_SOCKET] = socket


async def close_failed(request: web.Request, error: Exception) -> web.WebSocketResponse | None:
    """Close the WebSocket of a request whose handler failed, and return it; None when it is not one yet.

    The code is 1013 (try again later) for Unavailable, else 1011 (internal error).
    """
    socket: web.WebSocketResponse | None = request.get(_SOCKET)
    if socket is None:
        return None
    code = WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.INTERNAL_ERROR
    text = str(error) if isinstance(error, SmartmobError) else "internal server error; see the log of the service"
    reason = text.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")
    await socket.close(code=code, message=reason.encode())
    return socket
